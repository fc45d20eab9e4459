"""Seeing who waits for a lock of PostgreSQL."""

from storage.catalog.postgresql.connections import Connection
from tests.storage.conftest import comes_to

_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


async def waiting(connection: Connection, count: int) -> None:
    """Until so many wait for a lock in the database, and no more; the connection may be in a transaction."""

    async def count_them() -> int:
        await connection.execute("SELECT pg_stat_clear_snapshot()")  # else a transaction sees the same again and again
        found: int = await connection.fetchval(_WAITING)
        return found

    await comes_to(count_them, lambda found: found == count)
