"""What is done on a connection: a read, a look-up of many keys at once, a transaction, a search with a limit of time.

The outcome of each goes to a future. Who waits for it may be cancelled; the job is finished all the same.
"""

import asyncio
import itertools
import time
from collections.abc import Callable
from typing import Any

import asyncpg

from schemas import Code, ServiceError
from storage.catalog.engine import Parameters, Row, Script, Statement, Step, unavailable
from storage.catalog.postgresql.connections import Connection

Begun = tuple[Script[Any], Step]  # a script and the step that it has yielded

_ALLOW = "SELECT set_config('statement_timeout', $1, true)"  # until the transaction ends
_RECOVER_S = 5.0  # for a connection to become good again after its query was stopped


def client_error(error: Exception) -> ServiceError:
    """What a client is told of a failure; the failure is its cause."""
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, asyncpg.CharacterNotInRepertoireError) or isinstance(error.__cause__, UnicodeError):
        told = ServiceError(Code.BAD_REQUEST, "a text has a character that cannot be kept, such as NUL: remove it")
    else:
        told = unavailable()
    told.__cause__ = error
    return told


class _Settled:
    """A job with one who waits for it."""

    __slots__ = ("future",)

    repeatable = True

    def __init__(self, future: asyncio.Future[Any]) -> None:
        self.future = future

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(client_error(error))


class Read(_Settled):
    """All rows of a statement."""

    __slots__ = ("_parameters", "_statement")

    def __init__(self, future: asyncio.Future[list[Row]], statement: str, parameters: Parameters) -> None:
        super().__init__(future)
        self._statement = statement
        self._parameters = parameters

    async def run(self, connection: Connection) -> None:
        """Read them."""
        rows = await connection.fetch(self._statement, *self._parameters)
        if not self.future.done():
            self.future.set_result(rows)


class Search(_Settled):
    """All rows of a statement, or TIMEOUT from `deadline` on (of the monotonic clock).

    The server ends a statement after `usual_s`, unless it is told otherwise.
    """

    __slots__ = ("_deadline", "_parameters", "_statement", "_usual_s")

    def __init__(
        self, future: asyncio.Future[list[Row]], statement: str, parameters: Parameters, deadline: float, usual_s: float
    ) -> None:
        super().__init__(future)
        self._statement = statement
        self._parameters = parameters
        self._deadline = deadline
        self._usual_s = usual_s

    async def run(self, connection: Connection) -> None:
        """Search; a search that takes too long is stopped in the server too."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            self.fail(TimeoutError())
            return
        try:
            rows = await self._rows(connection, left)
        except (TimeoutError, asyncpg.QueryCanceledError) as error:
            self.fail(error)
            await connection.fetchval("SELECT 1", timeout=_RECOVER_S)
            return
        if not self.future.done():
            self.future.set_result(rows)

    async def _rows(self, connection: Connection, left: float) -> list[Row]:
        if left <= self._usual_s:
            rows: list[Any] = await connection.fetch(self._statement, *self._parameters, timeout=left)
        else:
            async with connection.transaction(readonly=True):
                await connection.execute(_ALLOW, str(round(left * 1000)))
                rows = await connection.fetch(self._statement, *self._parameters, timeout=left)
        return rows

    def fail(self, error: Exception) -> None:
        """Tell who waits; what took too long by the words of the search."""
        super().fail(_too_long(error) if isinstance(error, TimeoutError | asyncpg.QueryCanceledError) else error)


def _too_long(error: Exception) -> ServiceError:
    told = ServiceError(Code.TIMEOUT, "the search took too long (database.search_seconds): ask for less, or without filters")
    told.__cause__ = error
    return told


class Write(_Settled):
    """A script in a transaction, which was begun already. `committed` is called after the commit."""

    __slots__ = ("_began", "_begun", "_committed", "_make", "repeatable")

    def __init__(
        self, future: asyncio.Future[Any], make: Callable[[], Script[Any]], committed: Callable[[], None], begun: Begun
    ) -> None:
        super().__init__(future)
        self._make = make
        self._begun: Begun | None = begun
        self._began = False
        self._committed = committed
        self.repeatable = True

    async def run(self, connection: Connection) -> None:
        """Run it, and commit."""
        self._began = False
        script, first = self._begin()
        try:
            result = await self._steps(script, first, connection)
            if self._began:
                self.repeatable = False  # from here on it may be done, whatever becomes of the answer
                await connection.execute("COMMIT")
        except TimeoutError:
            script.close()
            connection.terminate()  # who does not answer would not answer to ROLLBACK, either
            raise
        except BaseException as error:
            script.close()
            await self._roll_back(connection)
            if not isinstance(error, _ScriptError):
                raise
            if not self.future.done():
                self.future.set_exception(error.error)
            return
        if not self.future.done():
            self.future.set_result(result)
        self._committed()

    def _begin(self) -> Begun:
        """The script, begun, and its first step; a new one each time."""
        begun, self._begun = self._begun, None
        if begun is not None:
            return begun
        script = self._make()
        return script, next(script)

    async def _steps(self, script: Script[Any], first: Step, connection: Connection) -> Any:
        """What the script returns, all of whose statements but COMMIT were executed."""
        last: list[Step] = []
        rows: list[Any] = []
        result = None
        try:
            statement, parameters = first
            while True:
                if statement.last:
                    last.append((statement, parameters))
                elif statement.postgresql:
                    rows = await self._execute(statement, parameters, connection)
                statement, parameters = script.send(rows)
                rows = []
        except StopIteration as end:
            result = end.value
        except (_ScriptError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
            raise
        except Exception as error:
            raise _ScriptError(error) from error
        for statement, of_statement in itertools.groupby(sorted(last, key=_rank), key=_text):
            many = [parameters for _, parameters in of_statement]
            if len(many) == 1:
                await self._execute(statement, many[0], connection)
            else:  # one round trip
                await connection.executemany(statement.postgresql, many)
        return result

    async def _execute(self, statement: Statement, parameters: Parameters, connection: Connection) -> list[Any]:
        if statement.shared:
            raise TypeError(f"only the first statement of a script can be shared: {statement.postgresql}")
        if not self._began:
            if statement.alone:
                self.repeatable = False
            else:
                await connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
                self._began = True
        return await connection.fetch(statement.postgresql, *parameters)

    async def _roll_back(self, connection: Connection) -> None:
        if self._began and not connection.is_closed():
            try:
                await connection.execute("ROLLBACK", timeout=_RECOVER_S)
            except Exception:  # noqa: BLE001 (the server undoes what a lost connection began)
                connection.terminate()


class _ScriptError(Exception):
    """What a script itself raised."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


def _rank(step: Step) -> int:
    return step[0].last


def _text(step: Step) -> Statement:
    return step[0]
