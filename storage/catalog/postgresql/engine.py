"""The engine for many machines: a few held connections to PostgreSQL, on asyncpg.

Rules:
1. Every wait has an end: for a connection to be made, for a free one, for a lock, for the answer to a statement, for a
   transaction to go on. The settings name each.
2. What can have been committed is never done again. When the answer to a COMMIT is lost, the caller is told SERVICE_UNAVAILABLE
   and must reckon with both; before it, a transaction is begun anew after a deadlock or on another connection.
3. The planner is held to the indexes, as INDEXED BY holds SQLite: a plan that was made when a table was small stays right when
   it has grown by a million rows since.
"""

import asyncio
import time
from collections.abc import Callable

from storage.catalog.engine import Lookup, Parameters, Row, Script, Statement, T
from storage.catalog.options import DatabaseOptions
from storage.catalog.postgresql.connections import PROGRAM, Connection, connect, session_timeout_s
from storage.catalog.postgresql.groups import Groups
from storage.catalog.postgresql.jobs import Read, Search, Write
from storage.catalog.postgresql.lookups import Lookups
from storage.catalog.postgresql.news import News
from storage.catalog.postgresql.pool import Pool


class Postgresql:
    """The open database of one process; see `Database`. Belongs to the event loop that it is made on."""

    def __init__(self, url: str, options: DatabaseOptions) -> None:
        """Opens nothing yet."""
        self._url = url
        self._options = options
        size = options.connections
        wait_s = options.pool_timeout_s
        self._usual_s = session_timeout_s(options)
        self._pool = Pool(self._connect, size)
        # Look-ups may use all connections. Writes and searches leave some to them, also when each of those waits for seconds.
        self._reads = self._pool.lane(size, wait_s)
        self._writes = self._pool.lane(size // 2, wait_s)
        self._searches = self._pool.lane(size // 4, max(options.search_s, wait_s))
        self._lookups: dict[Lookup, Lookups] = {}
        self._groups: dict[Statement, Groups] = {}
        self._news = News(lambda: connect(url, options, f"{PROGRAM} events"), self._pool, self._reads)
        self._create_future = asyncio.get_running_loop().create_future

    async def _connect(self) -> Connection:
        return await connect(self._url, self._options)

    async def rows(self, statement: Statement, parameters: Parameters) -> list[Row]:
        """All rows of a statement."""
        future: asyncio.Future[list[Row]] = self._create_future()
        self._pool.submit(self._reads, Read(future, statement.postgresql, parameters))
        return await future

    rows_of_any_length = rows

    async def row(self, lookup: Lookup, key: str | bytes) -> Row | None:
        """The row of that key, or None."""
        lookups = self._lookups.get(lookup)
        if lookups is None:
            lookups = self._lookups[lookup] = Lookups(lookup, self._pool, self._reads)
        return await lookups.ask(key)

    async def rows_apart(self, statement: Statement, parameters: Parameters, within_s: float | None = None) -> list[Row]:
        """All rows of a statement of unknown cost."""
        deadline = time.monotonic() + (self._options.statement_timeout_s if within_s is None else within_s)
        future: asyncio.Future[list[Row]] = self._create_future()
        self._pool.submit(self._searches, Search(future, statement.postgresql, parameters, deadline, self._usual_s))
        return await future

    async def write(self, script: Callable[[], Script[T]]) -> T:
        """What the script returns."""
        future: asyncio.Future[T] = self._create_future()
        begun = script()
        try:
            statement, parameters = next(begun)
        except StopIteration as end:
            result: T = end.value
            return result
        if statement.shared:
            self._groups_of(statement).add(parameters, begun, future)
        else:
            write = Write(future, script, self._news.committed, (begun, (statement, parameters)))
            self._pool.submit(self._writes, write)
        return await future

    def _groups_of(self, statement: Statement) -> Groups:
        groups = self._groups.get(statement)
        if groups is None:
            groups = self._groups[statement] = Groups(statement, self._pool, self._writes, self._news.committed)
        return groups

    def on_commit(self, listener: Callable[[], None] | None) -> None:
        """Call `listener` on the event loop after writes of this process and upon news of others', or nothing any more."""
        self._news.on_commit(listener)

    async def aclose(self) -> None:
        """Finish the writes under way and close."""
        try:
            await self._news.aclose()
        finally:
            await self._pool.aclose(self._options.statement_timeout_s)
