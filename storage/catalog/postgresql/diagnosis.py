"""How it is with PostgreSQL: what it promises of commits, how many connections it has, its clock."""

import time
from collections.abc import Iterator

import asyncpg

from schemas import Code, ServiceError
from storage.catalog.diagnosis import CHECK, schema_diagnosis
from storage.catalog.options import DatabaseOptions
from storage.catalog.postgresql.connections import Connection, connect, place_of, reason_of
from storage.catalog.postgresql.schema import revision_of
from storage.diagnosis import Diagnosis, clock

_SETTINGS = (
    "SELECT name, setting FROM pg_settings WHERE name IN"
    " ('fsync', 'full_page_writes', 'synchronous_commit', 'server_encoding', 'max_connections',"
    " 'superuser_reserved_connections', 'transaction_read_only')"
)
_NOW = "SELECT extract(epoch FROM clock_timestamp())::float8"
_RECOVERY = "SELECT pg_is_in_recovery()"
_HELD = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"


async def examine_postgresql(url: str, options: DatabaseOptions, connections: int) -> list[Diagnosis]:
    """What is found out on one connection. Raises SERVICE_UNAVAILABLE, with what to mend."""
    connection = await connect(url, options, "attachd doctor")
    try:
        return await _examine(connection, url, connections)
    except asyncpg.PostgresError as error:
        raise ServiceError(Code.SERVICE_UNAVAILABLE, f"{place_of(url)}: {reason_of(error)}") from error
    finally:
        connection.terminate()


async def _examine(connection: Connection, url: str, connections: int) -> list[Diagnosis]:
    version = connection.get_server_version()
    begun = time.perf_counter()
    before = time.time()
    theirs: float = await connection.fetchval(_NOW)
    after = time.time()
    took_ms = (time.perf_counter() - begun) * 1000
    settings = {row["name"]: row["setting"] for row in await connection.fetch(_SETTINGS)}
    found = [
        Diagnosis(CHECK, "ok", f"{place_of(url)}: PostgreSQL {version.major}.{version.minor}, answers in {took_ms:.1f} ms")
    ]
    found.append(schema_diagnosis(await revision_of(connection), "attachd migrate", "fail"))
    if await connection.fetchval(_RECOVERY) or settings["transaction_read_only"] == "on":
        found.append(Diagnosis(CHECK, "fail", "it takes no writes: a standby, or read-only", "name the primary"))
    found += _promises(settings)
    found.append(_connections(settings, await connection.fetchval(_HELD), connections))
    found.append(clock(CHECK, (before + after) / 2 - theirs, "PostgreSQL's"))
    return found


def _promises(settings: dict[str, str]) -> Iterator[Diagnosis]:
    for name in ("fsync", "full_page_writes", "synchronous_commit"):
        if settings[name] == "off":
            text = f"{name} is off: what was acknowledged is lost when its machine fails"
            yield Diagnosis(CHECK, "fail", text, f"set {name} = on in postgresql.conf")
    if settings["server_encoding"] != "UTF8":
        text = f"the encoding of the database is {settings['server_encoding']}: not every file name can be kept"
        yield Diagnosis(CHECK, "fail", text, "make a database with ENCODING 'UTF8'")


def _connections(settings: dict[str, str], held: int, wanted: int) -> Diagnosis:
    most = int(settings["max_connections"]) - int(settings["superuser_reserved_connections"])
    text = f"{wanted} connections for this machine, {held} in use of {most}"
    if wanted > most:
        mend = "raise max_connections, or lower database.connections or server.workers"
        return Diagnosis("database.connections", "fail", text, mend)
    if wanted > most - held:
        return Diagnosis(
            "database.connections", "warn", text, "see that this machine's own are among them, or raise max_connections"
        )
    return Diagnosis("database.connections", "ok", text)
