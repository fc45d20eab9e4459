"""The engine on PostgreSQL: transactions that others are in the way of, look-ups that share queries, waits that end."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import msgspec
import pytest

from schemas import Code, ServiceError
from storage.catalog import DatabaseOptions
from storage.catalog.engine import Script, lookup, one_step, sql
from storage.catalog.postgresql.connections import Connection, connect
from storage.catalog.postgresql.engine import Postgresql
from storage.catalog.postgresql.groups import Groups
from storage.catalog.postgresql.jobs import Write
from storage.catalog.postgresql.lookups import Lookups
from storage.catalog.postgresql.pool import Pool
from tests.engines.backing import PATIENT as PATIENT_OF_MANY
from tests.engines.postgresql import SharedPostgresql
from tests.storage.conftest import comes_to
from tests.storage.locks import waiting

INSERT = sql("INSERT INTO t (n, name) VALUES (?, ?)")
ADD = sql("UPDATE t SET n = n + 1 WHERE name = ?")
NUMBER = sql("SELECT n FROM t WHERE name = ?")
NUMBER_TO_CHANGE = sql("SELECT n FROM t WHERE name = ? FOR UPDATE")
SET = sql("UPDATE t SET n = ? WHERE name = ?")
NUMBERS = sql("SELECT n FROM t ORDER BY n")
INSERT_ALONE = sql("INSERT INTO t (n, name) VALUES (?, ?) RETURNING n", alone=True)
INSERT_TOGETHER = sql("", "INSERT INTO t (n, name) SELECT * FROM unnest(?::bigint[], ?::text[]) RETURNING n", shared=True)
ROW = lookup("name, n", "t", "name")
# Nothing ends before its time on a machine that is busy with other tests; and single short times, for tests of what ends.
PATIENT = msgspec.structs.replace(PATIENT_OF_MANY, connections=4)
HASTY_LOCKS = msgspec.structs.replace(PATIENT, lock_timeout_s=1)
HASTY_POOL = msgspec.structs.replace(PATIENT, pool_timeout_s=1)
HASTY_STATEMENTS = msgspec.structs.replace(PATIENT, connections=2, statement_timeout_s=2, search_s=0.1)


@pytest.fixture
async def url(postgresql: SharedPostgresql) -> AsyncIterator[str]:
    """A database with one table."""
    url = postgresql.empty_database()
    connection = await asyncpg.connect(url)
    await connection.execute('CREATE TABLE t (n BIGINT NOT NULL, name TEXT COLLATE "C" PRIMARY KEY)')
    await connection.close()
    yield url
    postgresql.drop_database(url)


@pytest.fixture
async def database(url: str) -> AsyncIterator[Postgresql]:
    opened = Postgresql(url, PATIENT)
    yield opened
    await opened.aclose()


@pytest.fixture
async def hasty(request: pytest.FixtureRequest, url: str) -> AsyncIterator[Postgresql]:
    """With the options that the test is marked with."""
    opened = Postgresql(url, request.param)
    yield opened
    await opened.aclose()


@pytest.fixture
async def other(url: str) -> AsyncIterator[Connection]:
    """Somebody else's connection."""
    connection = await asyncpg.connect(url)
    yield connection
    await connection.close()


def insert(n: int, name: str) -> Callable[[], Script[int]]:
    def script() -> Script[int]:
        yield INSERT, (n, name)
        return n

    return script


async def numbers(database: Postgresql) -> list[int]:
    return [n for (n,) in await database.rows(NUMBERS, ())]


async def backends(other: Connection) -> list[asyncpg.Record]:
    """What the server knows of the engine's connections."""
    return await other.fetch(
        "SELECT pid, state, query, application_name FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )


async def idle(other: Connection) -> list[asyncpg.Record]:
    """The engine's connections, once none of them does anything."""
    return await comes_to(lambda: backends(other), lambda found: {row["state"] for row in found} == {"idle"})


async def code_of(awaitable: Any) -> Code | None:
    try:
        await awaitable
    except ServiceError as error:
        return error.code
    return None


async def test_a_write_is_readable_when_it_is_acknowledged(database: Postgresql) -> None:
    assert await database.write(insert(1, "a")) == 1
    assert await numbers(database) == [1]
    assert (await database.row(ROW, "a")) is not None


async def test_what_a_script_raises_undoes_it(database: Postgresql) -> None:
    def script() -> Script[None]:
        yield INSERT, (1, "a")
        raise KeyError("mine")

    for _ in range(6):
        with pytest.raises(KeyError, match="mine"):
            await database.write(script)
    await database.write(insert(2, "b"))
    assert await numbers(database) == [2]


async def test_a_statement_that_fails_undoes_the_script(database: Postgresql) -> None:
    def script() -> Script[None]:
        yield INSERT, (1, "a")
        yield INSERT, (2, "a")

    assert await code_of(database.write(script)) is Code.SERVICE_UNAVAILABLE
    assert await numbers(database) == []


async def test_last_statements_come_last_in_their_order(database: Postgresql) -> None:
    """Whatever order a script yields them in, so that all transactions take the locks of busy rows in one order."""
    early = sql("UPDATE t SET name = name || 'e' WHERE n = ?", last=1)
    late = sql("UPDATE t SET name = name || 'l' WHERE n = ?", last=2)

    def script() -> Script[None]:
        yield late, (1,)
        yield INSERT, (1, "-")
        yield early, (1,)
        yield late, (1,)
        yield sql("", ""), ()

    await database.write(script)
    assert await database.row(ROW, "-ell") is not None


async def test_a_statement_alone_is_one_round_trip(url: str) -> None:
    sent: list[str] = []

    async def connect_and_log() -> Connection:
        connection = await connect(url, PATIENT)
        connection.add_query_logger(lambda query: sent.append(query.query))
        return connection

    pool = Pool(connect_and_log, 1)
    lane = pool.lane(1, 60)
    for script in (one_step(INSERT_ALONE, (1, "a")), insert(2, "b")):
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        begun = script()
        pool.submit(lane, Write(done, script, lambda: None, (begun, next(begun))))
        await done
    await pool.aclose(60)
    assert sent == [INSERT_ALONE.postgresql, "BEGIN ISOLATION LEVEL READ COMMITTED", INSERT.postgresql, "COMMIT"]


async def test_no_update_is_lost(url: str) -> None:
    """Several connections of several engines read and write the same row."""
    engines = [Postgresql(url, PATIENT) for _ in range(3)]
    await engines[0].write(insert(0, "a"))

    def add() -> Script[None]:
        ((n,),) = yield NUMBER_TO_CHANGE, ("a",)
        yield SET, (n + 1, "a")

    await asyncio.gather(*(engine.write(add) for engine in engines for _ in range(40)))
    assert await numbers(engines[0]) == [120]
    for engine in engines:
        await engine.aclose()


async def test_a_deadlock_is_tried_again(database: Postgresql) -> None:
    await asyncio.gather(database.write(insert(0, "a")), database.write(insert(0, "b")))
    runs = 0
    held: set[str] = set()

    def add(*names: str) -> Callable[[], Script[None]]:
        def script() -> Script[None]:
            nonlocal runs
            runs += 1
            yield ADD, (names[0],)
            held.add(names[0])
            while len(held) < 2:  # until the other has its first row, too
                yield sql("SELECT pg_sleep(0.01)"), ()
            yield ADD, (names[1],)

        return script

    await asyncio.gather(database.write(add("a", "b")), database.write(add("b", "a")))
    assert runs == 3
    assert await numbers(database) == [2, 2]


async def test_look_ups_at_the_same_time_share_queries(database: Postgresql, other: Connection) -> None:
    names = [f"n{number}" for number in range(200)]
    await other.executemany("INSERT INTO t VALUES ($1, $2)", list(enumerate(names)))
    asked = [*names, *names, "missing", "n\0", "\ud800", "ö"]
    rows = await asyncio.gather(*(database.row(ROW, name) for name in asked))
    assert [row and row[1] for row in rows] == [*range(200), *range(200), None, None, None, None]
    calls = await other.fetchval("SELECT count(*) FROM pg_stat_activity WHERE query = $1", ROW.statement.postgresql)
    assert calls <= 2


async def test_what_shares_queries_asks_for_something_with_each_and_keeps_its_connections(url: str) -> None:
    """Eight at once with pauses, so that there is more to do when a query is on its way to a connection and another ends."""
    opened = 0
    sent: list[tuple[Any, ...]] = []

    async def connect_and_log() -> Connection:
        nonlocal opened
        opened += 1
        connection = await connect(url, PATIENT)
        connection.add_query_logger(lambda query: sent.append(query.args))
        return connection

    pool = Pool(connect_and_log, 4)
    writes = Groups(INSERT_TOGETHER, pool, pool.lane(2, 60), lambda: None)
    reads = Lookups(ROW, pool, pool.lane(4, 60))

    async def work(worker: int) -> None:
        for turn in range(100):
            begun = one_step(INSERT_TOGETHER, (turn, f"{worker} {turn}"))()
            done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            writes.add(next(begun)[1], begun, done)
            assert len(await done) == 1
            assert await reads.ask(f"{worker} {turn}") is not None
            await asyncio.sleep((worker * turn) % 7 / 1000)

    await asyncio.gather(*(work(worker) for worker in range(8)))
    await pool.aclose(60)
    assert opened <= 4
    assert [arguments for arguments in sent if not all(arguments)] == []


async def test_a_look_up_sees_what_was_acknowledged_before(database: Postgresql) -> None:
    """Others keep asking meanwhile, and share its queries."""

    async def ask_always() -> None:
        while True:
            await database.row(ROW, "n0")

    others = [asyncio.create_task(ask_always()) for _ in range(8)]
    for number in range(100):
        await database.write(insert(number, f"n{number}"))
        row = await database.row(ROW, f"n{number}")
        assert row is not None
        assert row[1] == number
    for task in others:
        task.cancel()


async def test_more_keys_than_one_query_takes(database: Postgresql, other: Connection) -> None:
    await other.executemany("INSERT INTO t VALUES ($1, $2)", [(n, f"n{n}") for n in range(1500)])
    rows = await asyncio.gather(*(database.row(ROW, f"n{n}") for n in range(1500)))
    assert [row and row[1] for row in rows] == list(range(1500))


async def test_a_cancelled_caller_does_not_undo_its_write(database: Postgresql, other: Connection) -> None:
    async with other.transaction():
        await other.execute("LOCK TABLE t IN SHARE MODE")
        task = asyncio.create_task(database.write(insert(1, "a")))
        await waiting(other, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await numbers(database) == []
    await comes_to(lambda: numbers(database), lambda found: found == [1])
    await idle(other)


async def test_cancelled_reads_leak_no_connection(database: Postgresql, other: Connection) -> None:
    await database.write(insert(1, "a"))
    for _ in range(50):
        tasks = [
            asyncio.create_task(database.rows(NUMBERS, ())),
            asyncio.create_task(database.row(ROW, "a")),
            asyncio.create_task(database.rows_apart(NUMBERS, (), 1.0)),
        ]
        await asyncio.sleep(0.001)
        for task in tasks:
            task.cancel()
    assert await numbers(database) == [1]
    await comes_to(lambda: backends(other), lambda found: len(found) <= PATIENT.connections)


async def test_a_search_that_takes_too_long_is_stopped_in_the_server_too(database: Postgresql, other: Connection) -> None:
    started = time.monotonic()
    assert await code_of(database.rows_apart(sql("SELECT pg_sleep(60)"), (), 0.3)) is Code.TIMEOUT
    assert time.monotonic() - started < 30
    assert await database.rows_apart(NUMBERS, (), 60.0) == []  # on the same connection
    assert len(await idle(other)) == 1


async def test_a_search_may_be_given_longer_than_statements_usually_have(url: str) -> None:
    database = Postgresql(url, msgspec.structs.replace(PATIENT, connections=1, statement_timeout_s=2, search_s=2))
    usual = await database.rows(sql("SHOW statement_timeout"), ())
    assert await database.rows_apart(sql("SELECT 1 FROM pg_sleep(2.5)"), (), 60.0) == [(1,)]
    assert await code_of(database.rows_apart(sql("SELECT pg_sleep(60)"), (), 2.2)) is Code.TIMEOUT
    assert await database.rows(sql("SHOW statement_timeout"), ()) == usual == [("2s",)]
    assert await code_of(database.rows(sql("SELECT pg_sleep(60)"), ())) is Code.SERVICE_UNAVAILABLE
    assert await database.rows_apart(sql("SELECT 1"), (), 60.0) == [(1,)]
    assert await database.rows(sql("SHOW statement_timeout"), ()) == usual
    await database.aclose()


async def test_searches_and_writes_leave_connections_to_look_ups(database: Postgresql, other: Connection) -> None:
    await database.write(insert(1, "a"))
    async with other.transaction():
        await other.execute("SELECT n FROM t FOR UPDATE")
        writes = [asyncio.create_task(database.write(one_step(ADD, ("a",)))) for _ in range(8)]
        searches = [asyncio.create_task(database.rows_apart(sql("SELECT n FROM t FOR UPDATE"), (), 60.0)) for _ in range(8)]
        await waiting(other, 3)
        assert await database.row(ROW, "a") is not None
        assert not any(task.done() for task in [*writes, *searches])
    await asyncio.gather(*writes, *searches)
    assert await numbers(database) == [9]


@pytest.mark.parametrize("hasty", [HASTY_LOCKS], indirect=True, ids=["locks"])
async def test_a_lock_that_another_holds_too_long_is_an_outage_and_passes(hasty: Postgresql, other: Connection) -> None:
    await hasty.write(insert(1, "a"))
    async with other.transaction():
        await other.execute("SELECT n FROM t FOR UPDATE")
        started = time.monotonic()
        assert await code_of(hasty.write(one_step(ADD, ("a",)))) is Code.SERVICE_UNAVAILABLE
        assert 0.9 < time.monotonic() - started < 30
    await hasty.write(one_step(ADD, ("a",)))
    assert await numbers(hasty) == [2]


@pytest.mark.parametrize("hasty", [HASTY_POOL], indirect=True, ids=["pool"])
async def test_a_wait_for_a_connection_ends(hasty: Postgresql, other: Connection) -> None:
    """All are busy for longer than one may wait."""
    async with other.transaction():
        await other.execute("LOCK TABLE t")
        busy = [asyncio.create_task(hasty.rows(NUMBERS, ())) for _ in range(4)]
        await waiting(other, 4)
        started = time.monotonic()
        assert await code_of(hasty.row(ROW, "a")) is Code.SERVICE_UNAVAILABLE
        assert 0.9 < time.monotonic() - started < 30
    assert await asyncio.gather(*busy) == [[]] * 4
    assert await hasty.row(ROW, "a") is None


async def test_a_statement_ends_in_its_time(url: str) -> None:
    database = Postgresql(url, HASTY_STATEMENTS)
    started = time.monotonic()
    assert await code_of(database.rows(sql("SELECT pg_sleep(60)"), ())) is Code.SERVICE_UNAVAILABLE
    assert time.monotonic() - started < 30
    assert await numbers(database) == []
    await database.aclose()


async def test_a_broken_statement_is_an_outage_not_a_crash(database: Postgresql) -> None:
    broken = sql("SELECT nothing FROM t")
    for asked in (database.rows(broken, ()), database.rows_apart(broken, ()), database.write(one_step(broken, ()))):
        with pytest.raises(ServiceError) as caught:
            await asked
        assert caught.value.code is Code.SERVICE_UNAVAILABLE
        assert caught.value.__cause__ is not None
    with pytest.raises(ServiceError):
        await database.row(lookup("nothing", "t", "nothing"), "a")
    assert await numbers(database) == []


async def test_a_text_with_nul_is_refused(database: Postgresql) -> None:
    assert await code_of(database.write(insert(1, "a\0"))) is Code.BAD_REQUEST
    assert await code_of(database.write(insert(1, "a\ud800"))) is Code.BAD_REQUEST
    assert await code_of(database.rows(sql("SELECT n FROM t WHERE name = ?"), ("\0",))) is Code.BAD_REQUEST
    assert await numbers(database) == []
    assert await numbers(database) == []  # on the same connection


async def test_a_parameter_of_a_wrong_type_breaks_no_connection(database: Postgresql, other: Connection) -> None:
    await database.write(insert(1, "a"))
    before = {row["pid"] for row in await backends(other)}
    assert await code_of(database.write(insert("1", "b"))) is Code.SERVICE_UNAVAILABLE  # type: ignore[arg-type]  # a mistake
    assert await numbers(database) == [1]
    assert before <= {row["pid"] for row in await backends(other)}  # others are told of the first commit on one more, perhaps


async def test_a_shared_statement_that_is_not_the_first_is_a_mistake(database: Postgresql) -> None:
    def script() -> Script[None]:
        yield INSERT, (1, "a")
        yield sql("", "SELECT ?::bigint[]", shared=True), (1,)

    with pytest.raises(TypeError, match="shared"):
        await database.write(script)
    assert await numbers(database) == []


async def test_what_is_queued_is_finished_before_closing(url: str) -> None:
    database = Postgresql(url, PATIENT)
    writes = [asyncio.create_task(database.write(insert(n, f"n{n}"))) for n in range(20)]
    await asyncio.sleep(0)
    await database.aclose()
    assert await asyncio.gather(*writes) == list(range(20))
    assert await code_of(database.rows(NUMBERS, ())) is Code.SERVICE_UNAVAILABLE


async def test_it_is_closed_also_when_a_statement_hangs(url: str, other: Connection) -> None:
    database = Postgresql(url, DatabaseOptions(connections=2, statement_timeout_s=0.5, search_s=60, lock_timeout_s=60))
    await other.execute("INSERT INTO t VALUES (1, 'a')")
    async with other.transaction():
        await other.execute("SELECT n FROM t FOR UPDATE")
        hanging = asyncio.create_task(code_of(database.write(one_step(ADD, ("a",)))))
        await asyncio.sleep(0.1)
        started = time.monotonic()
        await database.aclose()
        assert time.monotonic() - started < 40
        assert await hanging is Code.SERVICE_UNAVAILABLE


@contextlib.asynccontextmanager
async def told(database: Postgresql) -> AsyncIterator[asyncio.Event]:
    """Set when the database tells of a commit."""
    event = asyncio.Event()
    database.on_commit(event.set)
    yield event
    database.on_commit(None)


async def test_commits_are_told_to_other_processes(url: str, other: Connection) -> None:
    writer, hearer = Postgresql(url, PATIENT), Postgresql(url, PATIENT)
    async with told(hearer) as event, told(writer) as own:
        for n in range(3):  # the third time after the connection that listens was lost
            await asyncio.wait_for(event.wait(), 60)  # it has begun to listen, which counts as news
            await asyncio.sleep(0.1)
            event.clear()
            own.clear()
            await writer.write(insert(n, f"n{n}"))
            assert own.is_set()
            await asyncio.wait_for(event.wait(), 60)
            event.clear()
            if n == 0:
                await writer.write(insert(10, "more"))
            else:
                await other.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'attachd events'"
                )
    await writer.aclose()
    await hearer.aclose()


class OddError(BaseException):
    """What nothing catches."""


async def test_the_connections_are_closed_also_when_listening_ended_with_an_error(url: str, other: Connection) -> None:
    database = Postgresql(url, PATIENT)
    heard = asyncio.Event()

    def fail() -> None:
        heard.set()
        raise OddError

    await database.write(insert(1, "a"))
    database.on_commit(fail)
    await asyncio.wait_for(heard.wait(), 60)
    with pytest.raises(OddError):
        await database.aclose()
    assert await code_of(database.rows(NUMBERS, ())) is Code.SERVICE_UNAVAILABLE
    await comes_to(lambda: backends(other), lambda found: not found)
