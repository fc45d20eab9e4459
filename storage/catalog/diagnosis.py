"""How it is with the database, for operators: looked at from outside the engines, and changing nothing."""

import asyncio
import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from schemas import ServiceError
from storage.catalog.options import DatabaseOptions
from storage.catalog.schema import HEAD, is_postgresql, sqlite_path
from storage.diagnosis import Diagnosis, file_system, is_remote, space

CHECK = "database.url"
NEWEST = f"the schema is the newest, {HEAD}"
_VERSION = "SELECT version_num FROM alembic_version"
_LARGE_WAL_BYTES = 2**30
_LEAST_BYTES = 2**30


def examine_sqlite(database_url: str, options: DatabaseOptions) -> list[Diagnosis]:
    """What is found out about the file; nothing is created. Blocks."""
    path = sqlite_path(database_url)
    if not path.exists():
        return [_missing(path)]
    found = list(_place(path))
    try:
        with contextlib.closing(
            sqlite3.connect(
                f"{path.resolve().as_uri()}?mode=rw", uri=True, timeout=options.lock_timeout_s, isolation_level=None
            )
        ) as connection:
            return [*_file(connection, path), *found]
    except sqlite3.Error as error:
        mend = "restore a backup" if isinstance(error, sqlite3.DatabaseError) and "not a database" in str(error) else ""
        mend = mend or f"let uid {os.geteuid()} write the file and its folder; see that no other program holds it"
        return [Diagnosis(CHECK, "fail", f"{path}: {error}", mend), *found]


def _missing(path: Path) -> Diagnosis:
    parent = next(parent for parent in path.absolute().parents if parent.exists())
    if os.access(parent, os.W_OK | os.X_OK):
        return Diagnosis(CHECK, "warn", f"{path} does not exist; `attachd serve` makes it", "is its disk mounted?")
    return Diagnosis(
        CHECK, "fail", f"{path} does not exist, and {parent} cannot be written", f"let uid {os.geteuid()} write there"
    )


def _file(connection: sqlite3.Connection, path: Path) -> Iterator[Diagnosis]:
    begun = time.perf_counter()
    connection.execute("BEGIN IMMEDIATE")  # whoever writes is waited for, as uploads wait
    waited_ms = (time.perf_counter() - begun) * 1000
    connection.execute("ROLLBACK")
    yield Diagnosis(CHECK, "ok", f"{path}: SQLite {sqlite3.sqlite_version}, may be written after {waited_ms:.0f} ms")
    yield schema_diagnosis(_revision(connection), "`attachd serve` brings it up to date, or `attachd migrate`", "warn")
    ((mode,),) = connection.execute("PRAGMA journal_mode").fetchall()
    if mode != "wal":
        yield Diagnosis(CHECK, "warn", f"the journal mode is {mode}, not wal", "it is set when attachd opens it")
    wal = path.with_name(f"{path.name}-wal")
    if wal.exists() and wal.stat().st_size > _LARGE_WAL_BYTES:
        size = wal.stat().st_size / 2**30
        yield Diagnosis(CHECK, "warn", f"{wal} has grown to {size:.1f} GiB", "find what reads the database for so long")


def _revision(connection: sqlite3.Connection) -> str | None:
    try:
        found: list[tuple[str]] = connection.execute(_VERSION).fetchall()
    except sqlite3.OperationalError:  # no such table
        return None
    return found[0][0] if found else None


def _place(path: Path) -> Iterator[Diagnosis]:
    if is_remote(kind := file_system(path.parent)):
        text = f"{path} is on {kind}: SQLite's write-ahead log does not work over a network"
        yield Diagnosis(CHECK, "fail", text, "move it to a local disk, or use PostgreSQL")
    if path.stat().st_mode & 0o007:
        yield Diagnosis(CHECK, "warn", f"{path} is open to every user of this machine", f"chmod o-rwx {path}")
    room = os.statvfs(path.parent)
    yield space(CHECK, room.f_bavail * room.f_frsize, room.f_blocks * room.f_frsize, "bytes", _LEAST_BYTES)


def schema_diagnosis(revision: str | None, mend: str, health: str) -> Diagnosis:
    """How it is with the schema: what `mend` says is for an old one, which is as bad as `health` says."""
    if revision == HEAD:
        return Diagnosis(CHECK, "ok", NEWEST)
    if revision is not None and revision > HEAD:
        return Diagnosis(CHECK, "fail", f"the schema is {revision}, newer than {HEAD}", "install the newer attachd")
    text = f"the schema is {revision}, not the newest, {HEAD}" if revision else "there is no schema yet"
    return Diagnosis(CHECK, "warn" if health == "warn" else "fail", text, mend)


async def examine_database(database_url: str, options: DatabaseOptions, connections: int) -> list[Diagnosis]:
    """What is found out about the database; `connections` is how many this machine's processes would hold."""
    if not is_postgresql(database_url):
        return await asyncio.to_thread(examine_sqlite, database_url, options)
    from storage.catalog.postgresql.diagnosis import examine_postgresql  # noqa: PLC0415 (8 MB that SQLite does not need)

    try:
        return await examine_postgresql(database_url, options, connections)
    except ServiceError as error:
        return [Diagnosis(CHECK, "fail", error.message, "start it, or name another")]
