"""What a statement costs the serving process on PostgreSQL: asyncpg's own pool, and the engine (docs/decisions/0027).

python benchmarks/postgresql_engine.py

Prints microseconds of this process's processor time for each look-up by key and each insert. Time by the clock says little
here: client and server share the machine.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

import asyncpg
import uvloop

from schemas import Record
from storage import fresh_id, migrate, timestamp
from storage.catalog import AttachmentTable, DatabaseOptions, columns, open_database
from tests.engines.postgresql_server import PostgresqlServer

COUNT = 6400
SIDE_BY_SIDE = (1, 32)
_ONE = f"SELECT {columns.SEEN} FROM attachments WHERE id = $1"  # noqa: S608 (constant)
Ask = Callable[[int], Awaitable[object]]


async def measure(name: str, ask: Ask) -> None:
    """Ask so often, so many at a time."""

    async def ask_often(first: int, step: int) -> None:
        for number in range(first, COUNT, step):
            await ask(number)

    for count in SIDE_BY_SIDE:
        cpu, clock = time.process_time(), time.perf_counter()
        await asyncio.gather(*(ask_often(first, count) for first in range(count)))
        cpu, clock = time.process_time() - cpu, time.perf_counter() - clock
        print(f"{name:45} {count:3} at a time: {cpu / COUNT * 1e6:6.1f} us of processor, {COUNT / clock:7.0f} a second")


def record() -> Record:
    """An attachment that was not yet inserted."""
    return Record(
        id=(id := fresh_id()),
        organization_id="organization",
        conversation_id="conversation",
        ticket_id=None,
        owner_id="owner",
        filename="a.png",
        content_type="image/png",
        size=5,
        sha256=bytes(32),
        storage_path=id,
        created_at=timestamp(),
        deleted_at=None,
        scope=None,
        inline=False,
        file_key=None,
    )


async def run(url: str) -> None:
    """The table."""
    database = await open_database(url, DatabaseOptions())
    table = AttachmentTable(database)
    records = [record() for _ in range(COUNT * len(SIDE_BY_SIDE))]
    unused = iter(records)
    await measure("insert, engine (those at the same time share)", lambda _: table.insert(next(unused)))
    ids = [each.id for each in records]
    async with asyncpg.create_pool(url, min_size=8, max_size=8) as pool:
        await measure("look-up, asyncpg's pool", lambda number: pool.fetch(_ONE, ids[number]))
    async with asyncpg.create_pool(url, min_size=8, max_size=8, reset=_no_reset) as pool:
        await measure("look-up, asyncpg's pool without its reset", lambda number: pool.fetch(_ONE, ids[number]))
    await measure("look-up, engine (those at the same time share)", lambda number: table.seen(ids[number]))
    await database.aclose()


async def _no_reset(_: object) -> None:
    pass


def main() -> None:
    """Start a server, fill it, measure."""
    with PostgresqlServer() as server:
        url = server.create_database("engine")
        migrate(url)
        uvloop.run(run(url))


if __name__ == "__main__":
    main()
