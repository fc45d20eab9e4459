"""The embedded engine: grouped writes that fail apart, reads of any length, many processes on one file."""

import asyncio
import contextlib
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from schemas import Code, ServiceError
from storage.catalog.engine import Script, done, in_turn, sql
from storage.catalog.sqlite import GROUP_LIMIT, INLINE_ROWS, Sqlite, connect

INSERT = sql("INSERT INTO t VALUES (?) RETURNING 1")
ALL = sql("SELECT n FROM t ORDER BY n")
BY_NUMBER = sql("SELECT n FROM t WHERE n = ?")
BROKEN = sql("SELECT nothing FROM t")


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Sqlite]:
    path = tmp_path / "test.db"
    with contextlib.closing(connect(path, 1)) as connection:
        connection.execute("CREATE TABLE t (n INTEGER PRIMARY KEY)")
    opened = Sqlite(path, busy_timeout_s=60)
    yield opened
    await opened.aclose()


def insert(number: int, gate: threading.Event | None = None) -> Callable[[], Script[int]]:
    def script() -> Script[int]:
        if gate is not None:
            gate.wait(60)
        yield INSERT, (number,)
        return number

    return script


async def fill(database: Sqlite, numbers: Sequence[int]) -> None:
    assert all(await database.write(lambda: in_turn(done(INSERT, (number,)) for number in numbers)))


async def numbers(database: Sqlite) -> list[int]:
    return [n for (n,) in await database.rows(ALL, ())]


async def test_connections_are_durable_and_check_foreign_keys(tmp_path: Path) -> None:
    with contextlib.closing(connect(tmp_path / "p.db", 2.5)) as connection:
        read = {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in PRAGMAS}
    assert read == PRAGMAS


PRAGMAS = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 2500, "trusted_schema": 0}


async def test_a_write_is_readable_when_it_is_acknowledged(database: Sqlite) -> None:
    assert await database.write(insert(1)) == 1
    assert await numbers(database) == [1]


async def test_writes_of_a_group_fail_apart(database: Sqlite) -> None:
    gate = threading.Event()
    tasks = [asyncio.create_task(database.write(insert(n, gate))) for n in (1, 2, 1, 3)]
    await asyncio.sleep(0.05)  # all of them are queued behind the first, which waits
    gate.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert outcomes[:2] == [1, 2]
    assert isinstance(outcomes[2], ServiceError)
    assert outcomes[3] == 3
    assert await numbers(database) == [1, 2, 3]


async def test_a_change_that_raises_undoes_only_itself(database: Sqlite) -> None:
    def fail() -> Script[None]:
        yield INSERT, (7,)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await database.write(fail)
    await database.write(insert(8))
    assert await numbers(database) == [8]


async def test_a_cancelled_caller_does_not_undo_its_write(database: Sqlite) -> None:
    gate = threading.Event()
    task = asyncio.create_task(database.write(insert(1, gate)))
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.set()
    await database.write(insert(2))
    assert await numbers(database) == [1, 2]


@pytest.mark.parametrize("count", [0, 1, INLINE_ROWS - 1, INLINE_ROWS, INLINE_ROWS + 1, 3 * INLINE_ROWS])
async def test_reads_of_any_length(database: Sqlite, count: int) -> None:
    await fill(database, range(count))
    assert await database.rows_of_any_length(ALL, ()) == [(n,) for n in range(count)]


async def test_no_read_stays_open(database: Sqlite, tmp_path: Path) -> None:
    """A cursor that is not read to its end would keep the write-ahead log from being folded back."""
    await fill(database, range(600))
    await database.rows_of_any_length(ALL, ())
    await database.rows(BY_NUMBER, (1,))
    await asyncio.sleep(0)  # reads share a snapshot until the loop comes round
    with contextlib.closing(connect(tmp_path / "test.db", 1)) as connection:
        busy, log, folded = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert (busy, log, folded) == (0, 0, 0)


async def test_a_read_sees_every_write_that_was_acknowledged_before(database: Sqlite) -> None:
    """Reads of others keep beginning snapshots meanwhile."""

    async def read_always() -> None:
        while True:
            await database.rows(BY_NUMBER, (-1,))
            await asyncio.sleep(0)

    readers = [asyncio.create_task(read_always()) for _ in range(3)]
    for number in range(200):
        await database.write(insert(number))
        assert await database.rows(BY_NUMBER, (number,)) == [(number,)]
    for reader in readers:
        reader.cancel()


async def test_a_broken_statement_is_an_outage_not_a_crash(database: Sqlite) -> None:
    with pytest.raises(ServiceError) as caught:
        await database.rows(BROKEN, ())
    assert caught.value.code is Code.SERVICE_UNAVAILABLE
    assert caught.value.__cause__ is not None
    with pytest.raises(ServiceError):
        await database.rows_of_any_length(BROKEN, ())


async def test_a_lock_that_another_process_holds_too_long_is_an_outage_and_passes(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    with contextlib.closing(connect(path, 1)) as other:
        other.execute("CREATE TABLE t (n INTEGER PRIMARY KEY)")
        database = Sqlite(path, busy_timeout_s=0.1)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ServiceError) as caught:
            await database.write(insert(1))
        assert caught.value.code is Code.SERVICE_UNAVAILABLE
        assert await numbers(database) == []  # readers wait for nobody
        other.execute("ROLLBACK")
        await database.write(insert(2))
        assert await numbers(database) == [2]
        await database.aclose()


WRITER = """
import asyncio, sys
from pathlib import Path
from storage.catalog.engine import one_step, sql
from storage.catalog.sqlite import Sqlite

INSERT = sql("INSERT INTO t VALUES (?)")

async def main():
    database = Sqlite(Path(sys.argv[1]), 60)
    start = int(sys.argv[2])
    await asyncio.gather(*(
        database.write(one_step(INSERT, (n,))) for n in range(start, start + 200)
    ))
    await database.aclose()

asyncio.run(main())
"""


async def test_several_processes_write_one_file(database: Sqlite, tmp_path: Path) -> None:
    commands = [[sys.executable, "-c", WRITER, str(tmp_path / "test.db"), str(start)] for start in (0, 1000, 2000)]
    processes = [subprocess.Popen(command) for command in commands]
    assert [process.wait(300) for process in processes] == [0, 0, 0]
    assert len(await numbers(database)) == 600


async def test_all_that_wait_for_another_process_give_up_together(tmp_path: Path) -> None:
    """Else each group would wait for the whole time-out after those before it: eighty times as long here."""
    path, wait_s = tmp_path / "test.db", 0.3
    with contextlib.closing(connect(path, 1)) as other:
        other.execute("CREATE TABLE t (n INTEGER PRIMARY KEY)")
        other.execute("BEGIN IMMEDIATE")
        database = Sqlite(path, wait_s)
        began = asyncio.get_running_loop().time()
        outcomes = await asyncio.gather(*(database.write(insert(n)) for n in range(80 * GROUP_LIMIT)), return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {ServiceError}
        assert asyncio.get_running_loop().time() - began < 40 * wait_s
        other.execute("ROLLBACK")
        assert await database.write(insert(1)) == 1
        await database.aclose()
