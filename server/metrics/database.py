"""The database with a meter around it: how long it takes, and how often it fails, whatever it is."""

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from schemas import Code, ServiceError
from server.metrics import families as names
from server.metrics.failures import database_kind
from server.metrics.meters import Meters
from storage import Database, Lookup, Parameters, Row, Script, Statement, TellsFailures

T = TypeVar("T")


class MeteredDatabase:
    """A database as it is, and counted; see `Database`.

    A look-up in an embedded one takes microseconds, and is on the path of every call: nothing stands in the way of one that
    tells of its failures itself.
    """

    def __init__(self, database: Database, meters: Meters) -> None:
        self._database = database
        self._meters = meters
        self._times = {name: meters.histogram(names.DATABASE_TIME, name) for name in names.DATABASE_OPERATIONS}
        self.on_commit = database.on_commit
        self.aclose = database.aclose
        self._is_told = isinstance(database, TellsFailures)
        self.rows = database.rows if self._is_told else self._timed_rows
        self.row = database.row if self._is_told else self._timed_row
        if isinstance(database, TellsFailures):
            database.on_failure(self._note)

    async def _timed_rows(self, statement: Statement, parameters: Parameters) -> list[Row]:
        return await self._timed("read", self._database.rows(statement, parameters))

    async def _timed_row(self, lookup: Lookup, key: str | bytes) -> Row | None:
        return await self._timed("read", self._database.row(lookup, key))

    async def rows_of_any_length(self, statement: Statement, parameters: Parameters) -> list[Row]:
        """Rows by an index."""
        return await self._timed("read", self._database.rows_of_any_length(statement, parameters))

    async def rows_apart(self, statement: Statement, parameters: Parameters, within_s: float | None = None) -> list[Row]:
        """Rows of a statement of unknown cost."""
        return await self._timed("scan", self._database.rows_apart(statement, parameters, within_s))

    async def write(self, script: Callable[[], Script[T]]) -> T:
        """What the script returns."""
        return await self._timed("write", self._database.write(script))

    async def _timed(self, operation: str, work: Awaitable[T]) -> T:
        started = time.perf_counter()
        try:
            result = await work
        except ServiceError as error:
            if error.code is Code.TIMEOUT:
                self._failed("timeout")
            elif error.code is Code.SERVICE_UNAVAILABLE and not self._is_told:
                self._note(error.origin)
            raise
        self._times[operation].since(started)
        return result

    def _note(self, error: BaseException | None) -> None:
        self._failed(database_kind(error))

    def _failed(self, kind: str) -> None:
        self._meters.counter(names.DATABASE_FAILURES, kind).add()
