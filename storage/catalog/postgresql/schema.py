"""Which schema a PostgreSQL database has, and bringing it to the newest.

Any number of machines may migrate at once: one has the advisory lock, the others wait for it and find nothing left to do. All
is one transaction. A migration waits a short time only for locks of tables, because whatever reads them queues up behind it.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import asyncpg

from schemas import Code, ServiceError
from storage.catalog.options import DatabaseOptions
from storage.catalog.postgresql.connections import Connection, connect, place_of, reason_of

WAIT_S = 60.0  # how long to wait for a database that does not answer yet
_RETRY_S = 0.5
_OTHERS_S = 600.0  # how long to wait for another process that migrates the same database
_TABLE_LOCK = "10s"
_LOCK = 0x61747461636864  # "attachd"; advisory locks have numbers only
_OPTIONS = DatabaseOptions(connections=1, statement_timeout_s=86_400.0, lock_timeout_s=_OTHERS_S)
_HAS_VERSION = "SELECT to_regclass('alembic_version') IS NOT NULL"
_VERSION = "SELECT version_num FROM alembic_version"


async def revision_of(connection: Connection) -> str | None:
    """The revision that the database has; None when it was never migrated."""
    if not await connection.fetchval(_HAS_VERSION):
        return None
    revision: str | None = await connection.fetchval(_VERSION)
    return revision


async def read_revision(url: str, *, wait_s: float = 0.0) -> str | None:
    """As `revision_of`, on a connection of its own; waits so long for a database that does not answer yet.

    Raises SERVICE_UNAVAILABLE, for operators.
    """
    connection = await connect_within(url, _OPTIONS, wait_s)
    try:
        return await revision_of(connection)
    except asyncpg.PostgresError as error:
        raise _failed(url, error) from error
    finally:
        connection.terminate()


async def connect_within(url: str, options: DatabaseOptions, wait_s: float) -> Connection:
    """A connection, tried again for so long while the server is not there or starts. Raises SERVICE_UNAVAILABLE."""
    deadline = time.monotonic() + wait_s
    while True:
        try:
            return await connect(url, options, "attachd migrate")
        except ServiceError as error:
            passes = isinstance(error.__cause__, OSError | asyncpg.CannotConnectNowError | asyncpg.TooManyConnectionsError)
            if not passes or time.monotonic() >= deadline:
                raise
        await asyncio.sleep(_RETRY_S)


async def migrate(url: str, upgrade: Callable[[Any], None]) -> None:
    """Call `upgrade` with a SQLAlchemy connection, in a transaction that no other migration runs beside.

    Raises SERVICE_UNAVAILABLE, for operators.
    """
    import sqlalchemy  # noqa: PLC0415 (25 MB that no serving process needs)
    from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415

    async def create(*_: object, **__: object) -> Connection:
        return await connect_within(url, _OPTIONS, WAIT_S)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=create, poolclass=sqlalchemy.NullPool)
    try:
        async with engine.begin() as connection:
            await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
            await connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_TABLE_LOCK}'")
            await connection.run_sync(upgrade)
    except sqlalchemy.exc.DBAPIError as error:
        raise _failed(url, (error.orig and error.orig.__cause__) or error) from error
    finally:
        await engine.dispose()


def _failed(url: str, error: BaseException) -> ServiceError:
    return ServiceError(Code.SERVICE_UNAVAILABLE, f"cannot migrate the database {place_of(url)}: {reason_of(error)}")
