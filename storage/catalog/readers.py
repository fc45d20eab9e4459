"""Reads of unknown cost, in threads of their own: the event loop must not wait for them, nor they for all of each other."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from schemas import Code, ServiceError
from storage.threads import Threads

READERS = 2  # what waits for one search must not wait for all
_STEPS = 100_000  # of SQLite's machine between two looks at the clock, about a millisecond


class Readers:
    """Threads with a connection each, both made when they are first needed. `connect` makes a connection."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._threads: Threads | None = None
        self._own = threading.local()
        self._connections: list[sqlite3.Connection] = []

    def run(self, sql: str, parameters: Sequence[Any], within_s: float | None = None) -> asyncio.Future[list[Any]]:
        """All rows of a statement. Raises sqlite3.Error, and TIMEOUT when it takes longer, the wait for a thread included."""
        if self._threads is None:
            self._threads = Threads(READERS, "attachd-reader")
        deadline = None if within_s is None else time.monotonic() + within_s
        return self._threads.run(self._read, sql, parameters, deadline)

    def _read(self, sql: str, parameters: Sequence[Any], deadline: float | None) -> list[Any]:
        reader = self._connection()
        if deadline is None:
            return reader.execute(sql, parameters).fetchall()
        reader.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
        try:
            if time.monotonic() > deadline:
                raise _too_long()
            return reader.execute(sql, parameters).fetchall()
        except sqlite3.OperationalError as error:
            raise (_too_long() if time.monotonic() > deadline else error) from error
        finally:
            reader.set_progress_handler(None, 0)

    def _connection(self) -> sqlite3.Connection:
        found: sqlite3.Connection | None = getattr(self._own, "connection", None)
        if found is None:
            found = self._own.connection = self._connect()
            self._connections.append(found)
        return found

    def close(self) -> None:
        """Finish what was begun, then close."""
        if self._threads is not None:
            self._threads.close()
        for connection in self._connections:
            connection.close()


def _too_long() -> ServiceError:
    return ServiceError(Code.TIMEOUT, "the search took too long (database.search_seconds): ask for less, or without filters")
