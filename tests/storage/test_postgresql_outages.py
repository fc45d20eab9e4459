"""The engine when PostgreSQL fails: what is tried again, what must not be, and that every wait ends."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import asyncpg
import msgspec
import pytest

from schemas import Code, ServiceError
from storage.catalog import DatabaseOptions
from storage.catalog.engine import Script, lookup, one_step, sql
from storage.catalog.postgresql.connections import Connection
from storage.catalog.postgresql.engine import Postgresql
from storage.catalog.postgresql.pool import ATTEMPTS, DOWN_S
from tests.engines.backing import PATIENT as PATIENT_OF_MANY
from tests.engines.postgresql import SharedPostgresql
from tests.faults.database_proxy import DatabaseProxy, Fault
from tests.storage.conftest import comes_to
from tests.storage.locks import waiting

INSERT = sql("INSERT INTO t (n) VALUES (?)")
INSERT_ALONE = sql("INSERT INTO t (n) VALUES (?) RETURNING n", alone=True)
NUMBERS = sql("SELECT n FROM t ORDER BY n")
ROW = lookup("n", "t", "n")
# What fails here fails by the proxy, not because the machine is slow; and short times, for the test of a silent network.
PATIENT = msgspec.structs.replace(PATIENT_OF_MANY, connections=4)
HASTY = DatabaseOptions(connections=4, connect_timeout_s=3, pool_timeout_s=3, statement_timeout_s=3)


@pytest.fixture
def proxy(postgresql: SharedPostgresql) -> Iterator[DatabaseProxy]:
    with DatabaseProxy(postgresql.server.port) as running:
        yield running


@pytest.fixture
async def other(postgresql: SharedPostgresql) -> AsyncIterator[Connection]:
    """Somebody else's connection, which goes past the proxy, to a database with one table."""
    url = postgresql.empty_database()
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE t (n TEXT PRIMARY KEY)")
    yield connection
    await connection.close()
    postgresql.drop_database(url)


@pytest.fixture
async def database(postgresql: SharedPostgresql, proxy: DatabaseProxy, other: Connection) -> AsyncIterator[Postgresql]:
    name = await other.fetchval("SELECT current_database()")
    opened = Postgresql(postgresql.server.url(name, port=proxy.port), PATIENT)
    yield opened
    await opened.aclose()


@pytest.fixture
async def hasty(postgresql: SharedPostgresql, proxy: DatabaseProxy, other: Connection) -> AsyncIterator[Postgresql]:
    """The same, and whoever waits gives up soon."""
    name = await other.fetchval("SELECT current_database()")
    opened = Postgresql(postgresql.server.url(name, port=proxy.port), HASTY)
    yield opened
    await opened.aclose()


@pytest.fixture
async def direct(postgresql: SharedPostgresql, other: Connection) -> AsyncIterator[Postgresql]:
    """The same database without the proxy."""
    opened = Postgresql(postgresql.server.url(await other.fetchval("SELECT current_database()")), PATIENT)
    yield opened
    await opened.aclose()


async def limit_connections(other: Connection, limit: int) -> None:
    """Have the server refuse more connections to the database than that."""
    await other.execute(f"ALTER DATABASE {await other.fetchval('SELECT current_database()')} CONNECTION LIMIT {limit}")


class Inserting:
    """A script, and how often it was begun."""

    def __init__(self, *values: str) -> None:
        self.values = values
        self.begun = 0

    def __call__(self) -> Script[None]:
        self.begun += 1
        for value in self.values:
            yield INSERT, (value,)


async def kept(other: Connection) -> list[str]:
    return [n for (n,) in await other.fetch(NUMBERS.postgresql)]


async def code_of(awaitable: Any) -> Code | None:
    try:
        await awaitable
    except ServiceError as error:
        return error.code
    return None


async def codes(database: Postgresql, times: int) -> set[Code | None]:
    """What becomes of so many of each kind of request at once."""
    asked = [
        code_of(each)
        for _ in range(times)
        for each in (database.rows(NUMBERS, ()), database.row(ROW, "a"), database.write(Inserting("b")))
    ]
    return set(await asyncio.gather(*asked))


async def test_connections_that_broke_while_nobody_used_them_are_replaced(
    database: Postgresql, proxy: DatabaseProxy, other: Connection
) -> None:
    await asyncio.gather(*(database.rows(NUMBERS, ()) for _ in range(8)))
    for value in range(3):
        proxy.reset()
        if value != 1:
            assert await database.row(ROW, "x") is None
        await database.write(Inserting(str(value)))
    assert await kept(other) == ["0", "1", "2"]


@pytest.mark.parametrize("pattern", ["BEGIN", "INSERT"])
@pytest.mark.parametrize("fault", ["cut-before", "cut-after", ("40001", "could not serialize"), ("57P01", "shut down")])
async def test_a_transaction_that_broke_before_its_commit_is_begun_anew(
    database: Postgresql, proxy: DatabaseProxy, other: Connection, pattern: str, fault: Fault
) -> None:
    script = Inserting("a", "b")
    with proxy.at(pattern, fault, times=1) as hits:
        await database.write(script)
    assert len(hits) == 1
    assert script.begun == 2
    assert await kept(other) == ["a", "b"]


@pytest.mark.parametrize(("fault", "done"), [("cut-before", []), ("cut-after", ["a"])])
@pytest.mark.parametrize("alone", [False, True])
async def test_what_may_have_been_committed_is_not_done_again(
    database: Postgresql, proxy: DatabaseProxy, other: Connection, fault: Fault, done: list[str], alone: bool
) -> None:
    script: Callable[[], Script[Any]] = one_step(INSERT_ALONE, ("a",)) if alone else Inserting("a")
    with proxy.at("INSERT" if alone else "COMMIT", fault) as hits:
        assert await code_of(database.write(script)) is Code.SERVICE_UNAVAILABLE
    assert len(hits) == 1
    await asyncio.sleep(0.1)
    assert await kept(other) == done
    await database.write(Inserting("c"))
    assert await kept(other) == [*done, "c"]


async def test_a_read_that_broke_is_asked_again(database: Postgresql, proxy: DatabaseProxy, other: Connection) -> None:
    await other.execute("INSERT INTO t VALUES ('a')")
    for fault in ("cut-before", "cut-after"):
        with proxy.at("SELECT n", fault, times=1) as hits:
            assert [tuple(row) for row in await database.rows(NUMBERS, ())] == [("a",)]
        assert len(hits) == 1
        with proxy.at("SELECT n", fault, times=2) as hits:
            rows = await asyncio.gather(*(database.row(ROW, name) for name in "ab"))
        assert [row and tuple(row) for row in rows] == [("a",), None]
        assert len(hits) == 2


async def test_trying_again_comes_to_an_end(database: Postgresql, proxy: DatabaseProxy) -> None:
    for ask in (lambda: database.rows(NUMBERS, ()), lambda: database.row(ROW, "a")):
        with proxy.at("SELECT n", "cut-before") as hits:
            assert await code_of(ask()) is Code.SERVICE_UNAVAILABLE
        assert len(hits) == ATTEMPTS
    script = Inserting("a")
    with proxy.at("INSERT", ("40P01", "deadlock")):
        assert await code_of(database.write(script)) is Code.SERVICE_UNAVAILABLE
    assert script.begun == ATTEMPTS
    assert await code_of(database.rows(NUMBERS, ())) is None


async def test_a_server_that_is_down_fails_at_once_and_is_back_at_once(
    database: Postgresql, proxy: DatabaseProxy, other: Connection
) -> None:
    await database.write(Inserting("a"))
    with proxy.down():
        started = time.monotonic()
        assert await codes(database, 20) == {Code.SERVICE_UNAVAILABLE}
        assert time.monotonic() - started < PATIENT.connect_timeout_s / 2
    await asyncio.sleep(DOWN_S)
    await database.write(Inserting("c"))
    assert await kept(other) == ["a", "c"]


@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_fewer_connections_than_the_pool_would_open_do_all_the_work(
    direct: Postgresql, other: Connection, limit: int
) -> None:
    await limit_connections(other, limit + 1)  # `other` is one
    for turn in range(3):
        writes = [direct.write(Inserting(f"{turn} {n:02}")) for n in range(30)]
        reads = [direct.row(ROW, f"{turn} {n:02}") for n in range(30)]
        lists = [direct.rows(NUMBERS, ()) for _ in range(30)]
        outcomes = await asyncio.gather(*(code_of(each) for each in (*writes, *reads, *lists)))
        assert set(outcomes) == {None}
        await asyncio.sleep(DOWN_S * turn)
    assert len(await kept(other)) == 90
    opened = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND backend_type = 'client backend'"
    )
    await comes_to(lambda: other.fetchval(opened), lambda count: 1 <= count <= limit)  # those that are refused go


async def test_what_waits_is_done_as_soon_as_one_more_connection_may_be_opened(direct: Postgresql, other: Connection) -> None:
    """Nothing else is asked meanwhile, and the only connection that there is stays busy."""
    await limit_connections(other, 2)
    await other.execute("SELECT pg_advisory_lock(1)")
    busy = asyncio.create_task(direct.rows(sql("SELECT 1 FROM pg_advisory_xact_lock(1)"), ()))
    await waiting(other, 1)
    later = asyncio.create_task(direct.rows(NUMBERS, ()))
    await asyncio.sleep(0.3)
    assert not later.done()
    await limit_connections(other, -1)
    assert await later == []
    assert not busy.done()
    await other.execute("SELECT pg_advisory_unlock(1)")
    await busy


async def test_a_network_that_swallows_everything_is_found_out_in_time(
    hasty: Postgresql, proxy: DatabaseProxy, other: Connection
) -> None:
    """Of a statement that waits for its answer, and of a connection that is being made."""
    await hasty.write(Inserting("a"))
    with proxy.silent():
        for limit_s in (HASTY.statement_timeout_s + 1, HASTY.connect_timeout_s):
            started = time.monotonic()
            assert await codes(hasty, 4) == {Code.SERVICE_UNAVAILABLE}
            assert time.monotonic() - started < limit_s + HASTY.pool_timeout_s + 20
    await asyncio.sleep(DOWN_S)
    await hasty.write(Inserting("c"))
    assert {"a", "c"} <= set(await kept(other))  # what was on its way may have come through afterwards


async def test_slow_answers_are_waited_for(database: Postgresql, proxy: DatabaseProxy, other: Connection) -> None:
    with proxy.slow(0.1):
        await database.write(Inserting("a"))
        assert [tuple(row) for row in await database.rows(NUMBERS, ())] == [("a",)]
    assert await kept(other) == ["a"]


async def test_it_listens_again_after_whatever_failed_and_logs_each_outage_once(
    database: Postgresql, proxy: DatabaseProxy, other: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """The server refuses to listen, as a standby does, or is gone when it is asked to."""
    caplog.set_level("INFO", "attachd.database")
    heard = asyncio.Event()
    for fault in (("25006", "cannot execute LISTEN during recovery"), "cut-before"):
        proxy.reset()
        with proxy.at("LISTEN", fault) as hits:
            database.on_commit(heard.set)
            async with asyncio.timeout(60):
                while len(hits) < 2:  # noqa: ASYNC110 (the proxy is on another thread)
                    await asyncio.sleep(0.05)
            heard.clear()
        await asyncio.wait_for(heard.wait(), 60)
    said = [record.getMessage().partition(";")[0] for record in caplog.records if record.name == "attachd.database"]
    assert said == ["cannot listen for changes of other processes", "changes of other processes are listened for again"] * 2
