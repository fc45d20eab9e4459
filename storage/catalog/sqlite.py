"""The embedded engine: one SQLite file, one connection that reads on the event loop, one thread that writes.

Rules:
1. Reads of a known, small cost run on the caller's thread: a look-up by key takes 6 µs, a hop to another thread 50 µs and
   more (docs/decisions/0001-sqlite-connections.md). In WAL mode a reader waits for nobody.
2. A read of unknown length is cut after `INLINE_ROWS`; the whole is then read again in a worker thread. A read of unknown cost
   runs there at once.
3. All writes of a process go through one thread. What waits in its queue shares one transaction, hence one fsync. When one
   script of several fails, all are run anew with a savepoint each, so that it fails alone.
4. A write is acknowledged after COMMIT with `synchronous=FULL` has returned, never before.
5. No snapshot outlives a turn of the event loop, and every statement is read to its end, because an old snapshot pins the
   write-ahead log and hides what was written since.
"""

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from schemas import ServiceError
from storage.catalog.engine import Lookup, Parameters, Row, Script, Statement, T, unavailable
from storage.catalog.readers import Readers
from storage.threads import Outcome, settle_all

INLINE_ROWS = 256  # rows; about 0.4 ms on the event loop
GROUP_LIMIT = 128  # writes in one transaction, so that the first of a group does not wait for ever
_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "trusted_schema=OFF")

Queued = tuple[Callable[[], Script[Any]], asyncio.Future[Any]]


def connect(path: Path, busy_timeout_s: float) -> sqlite3.Connection:
    """A connection with the pragmas of this program; SQLite keeps them per connection. Raises sqlite3.Error."""
    connection = sqlite3.connect(path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False)
    try:
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}").fetchall()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


class _ScriptError(Exception):
    """A script raised what is the cause of this."""


class Sqlite:
    """The open database of one process; see `Database`."""

    def __init__(self, path: Path, busy_timeout_s: float) -> None:
        """Opens the file and starts the writer thread. Raises sqlite3.Error when the file cannot be opened."""
        self._path = path
        self._busy_timeout_s = busy_timeout_s
        self._reader = connect(path, busy_timeout_s)
        self._execute = self._reader.cursor().execute
        self._in_snapshot = False
        self._committed: Callable[[], None] | None = None
        self._failed: Callable[[BaseException], None] | None = None
        self._readers = Readers(lambda: connect(path, busy_timeout_s))
        self._writer = connect(path, busy_timeout_s)
        self._change = self._writer.cursor().execute  # a statement is read to its end before the next
        self._queue: queue.SimpleQueue[Queued | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_forever, name="attachd-writer", daemon=True)
        self._thread.start()

    async def rows(self, statement: Statement, parameters: Parameters) -> list[Row]:
        """All rows of a statement that is known to give few: at once, without giving way to other tasks."""
        try:
            if not self._in_snapshot:
                self._begin_snapshot()
            return self._execute(statement.sqlite, parameters).fetchall()
        except sqlite3.Error as error:
            raise self._unavailable(error) from error

    async def row(self, lookup: Lookup, key: str | bytes) -> Row | None:
        """The row of that key, or None: at once, as `rows`."""
        try:
            if not self._in_snapshot:
                self._begin_snapshot()
            rows: list[Row] = self._execute(lookup.statement.sqlite, (key,)).fetchall()
            return rows[0] if rows else None
        except sqlite3.Error as error:
            raise self._unavailable(error) from error

    def _begin_snapshot(self) -> None:
        """One read transaction for all reads until the event loop comes round: its locks cost 2.4 us, a look-up 3.5.

        A write that is acknowledged is seen by its caller all the same: the acknowledgement runs on the loop too, so what
        reads after it either began its snapshot after the commit, or comes after the end that the older snapshot queued.
        """
        self._execute("BEGIN")
        self._in_snapshot = True
        asyncio.get_running_loop().call_soon(self._end_snapshot)

    def _end_snapshot(self) -> None:
        if self._in_snapshot:
            self._in_snapshot = False
            if self._reader.in_transaction:  # unless SQLite itself ended it, upon an I/O error
                self._execute("COMMIT")

    async def rows_of_any_length(self, statement: Statement, parameters: Parameters) -> list[Row]:
        """All rows of a statement: at once if there are at most `INLINE_ROWS`, else from a worker thread."""
        try:
            with contextlib.closing(self._reader.execute(statement.sqlite, parameters)) as cursor:
                found = cursor.fetchmany(INLINE_ROWS)
            if len(found) < INLINE_ROWS:
                return found
        except sqlite3.Error as error:
            raise self._unavailable(error) from error
        return await self.rows_apart(statement, parameters)

    async def rows_apart(self, statement: Statement, parameters: Parameters, within_s: float | None = None) -> list[Row]:
        """All rows of a statement, read in a worker thread."""
        try:
            return await self._readers.run(statement.sqlite, parameters, within_s)
        except sqlite3.Error as error:
            raise self._unavailable(error) from error

    async def write(self, script: Callable[[], Script[T]]) -> T:
        """What the script returns, from the writer thread."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.put((script, future))
        try:
            return await future
        except sqlite3.Error as error:
            raise self._unavailable(error) from error

    def _write_forever(self) -> None:
        while (first := self._queue.get()) is not None:
            group = [first]
            while len(group) < GROUP_LIMIT and not self._queue.empty():
                if (item := self._queue.get()) is None:
                    self._commit(group)
                    return
                group.append(item)
            self._commit(group)

    def _commit(self, group: list[Queued]) -> None:
        """Run the scripts of a group in one transaction and settle their futures after it is durable."""
        behind = self._queue.qsize()
        try:
            outcomes = self._outcomes(group)
        except sqlite3.Error as error:
            if _is_busy(error):  # what came behind the group has waited as long for the other process
                group = [*group, *self._take(behind)]
            outcomes = [(future, None, error) for _, future in group]
        # One wake-up of the loop for the group. A loop that was closed meanwhile has nobody waiting.
        with contextlib.suppress(RuntimeError):
            group[0][1].get_loop().call_soon_threadsafe(self._settle, outcomes)

    def _take(self, count: int) -> list[Queued]:
        """The first scripts of the queue, which has so many at least."""
        items = [self._queue.get() for _ in range(count)]
        if None in items:
            self._queue.put(None)
        return [item for item in items if item is not None]

    def _outcomes(self, group: list[Queued]) -> list[Outcome]:
        """What became of each. Raises sqlite3.Error when the transaction failed, and none of it was done."""
        try:
            return self._transact(group, self._together)
        except _ScriptError as failure:
            if len(group) == 1:
                return [(group[0][1], None, failure.__cause__)]
            return self._transact(group, self._apart)

    def _transact(self, group: list[Queued], run: Callable[[list[Queued]], list[Outcome]]) -> list[Outcome]:
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            outcomes = run(group)
            self._writer.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # SQLite ends some transactions by itself, upon an I/O error
                self._writer.execute("ROLLBACK")
            raise
        return outcomes

    def _together(self, group: list[Queued]) -> list[Outcome]:
        """The outcomes when every script succeeds. Raises _ScriptError."""
        try:
            return [(future, _run(script(), self._change), None) for script, future in group]
        except Exception as error:  # not swallowed: it is the cause
            raise _ScriptError from error

    def _apart(self, group: list[Queued]) -> list[Outcome]:
        """The outcomes of scripts, each in a savepoint of its own."""
        return [self._apply(script, future) for script, future in group]

    def _settle(self, outcomes: list[Outcome]) -> None:
        """Give each write of a group its outcome; runs on the event loop."""
        settle_all(outcomes)
        if self._committed is not None:
            self._committed()

    def on_commit(self, listener: Callable[[], None] | None) -> None:
        """Call `listener` on the event loop after each transaction of this process, or nothing any more."""
        self._committed = listener

    def on_failure(self, listener: Callable[[BaseException], None] | None) -> None:
        """Call `listener` on the event loop with what SQLite raised, each time that it fails."""
        self._failed = listener

    def _unavailable(self, error: sqlite3.Error) -> ServiceError:
        if self._failed is not None:
            self._failed(error)
        return unavailable()

    def _apply(self, script: Callable[[], Script[Any]], future: asyncio.Future[Any]) -> Outcome:
        self._change("SAVEPOINT change")
        try:
            result = _run(script(), self._change)
        except Exception as error:  # noqa: BLE001 (not swallowed: it becomes the outcome of this write alone)
            self._change("ROLLBACK TO change")
            self._change("RELEASE change")
            return future, None, error
        self._change("RELEASE change")
        return future, result, None

    async def aclose(self) -> None:
        """Finish the queued writes, then close; the last connection to close folds the WAL into the file."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)
        self._readers.close()
        self._end_snapshot()
        self._reader.close()
        self._writer.close()


def _is_busy(error: sqlite3.Error) -> bool:
    """Whether another process wrote, and did so for the whole busy time-out."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def _run(script: Script[T], execute: Callable[[str, Parameters], sqlite3.Cursor]) -> T:
    """What a script returns."""
    try:
        statement, parameters = next(script)
        while True:
            rows = execute(statement.sqlite, parameters).fetchall() if statement.sqlite else []
            statement, parameters = script.send(rows)
    except StopIteration as end:
        result: T = end.value
        return result
