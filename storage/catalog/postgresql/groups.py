"""Writes that share a commit.

A transaction that logs an event holds the lock on the number of the last event until its commit is on the disk, so that all
machines take turns. What one process is asked to insert meanwhile goes into one statement, its next: 32 uploads at once are ten
times as fast (docs/decisions/0027). When PostgreSQL refuses it because of one of them, each is tried apart.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import asyncpg

from storage.catalog.engine import Parameters, Script, Statement
from storage.catalog.postgresql.connections import Connection
from storage.catalog.postgresql.jobs import client_error
from storage.catalog.postgresql.pool import Lane, Pool

AT_ONCE = 128
TRANSACTIONS = 2  # at once: one gets as far as the lock while the other is on its way to the disk


class _Waiting(NamedTuple):
    parameters: Parameters
    script: Script[Any]
    future: asyncio.Future[Any]

    def settle(self, row: Any) -> None:
        """Give the script its row, upon which it ends, and who waits its result."""
        try:
            self.script.send([row])
        except StopIteration as end:
            if not self.future.done():
                self.future.set_result(end.value)

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(client_error(error))


class Groups:
    """The transactions of one statement that is `shared`. `committed` is called after each."""

    def __init__(self, statement: Statement, pool: Pool, lane: Lane, committed: Callable[[], None]) -> None:
        self.text = statement.postgresql
        self.committed = committed
        self._pool = pool
        self._lane = lane
        self._waiting: list[_Waiting] = []
        self._transactions = 0
        self._coming = False  # one of them has not taken yet, and will take what waits

    def add(self, parameters: Parameters, script: Script[Any], future: asyncio.Future[Any]) -> None:
        """Have the statement done soon; the script has yielded it and waits for its rows."""
        self._waiting.append(_Waiting(parameters, script, future))
        self._begin()

    def _begin(self) -> None:
        """Begin a transaction, unless there are enough or one is about to take."""
        if self._coming or self._transactions >= TRANSACTIONS:
            return
        self._transactions += 1
        self._coming = True
        self._pool.submit(self._lane, _Group(self))

    def take(self) -> list[_Waiting]:
        """What the next transaction does."""
        self._coming = False
        taken, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
        return taken

    def end(self) -> None:
        """A transaction ended; another one does what was asked meanwhile."""
        self._transactions -= 1
        if self._waiting:
            self._begin()


class _Group:
    """One transaction."""

    __slots__ = ("_groups", "_taken", "repeatable")

    def __init__(self, groups: Groups) -> None:
        self._groups = groups
        self._taken: list[_Waiting] | None = None
        self.repeatable = True

    async def run(self, connection: Connection) -> None:
        """Do all, in one transaction if that goes."""
        taken = self._taken = self._groups.take() if self._taken is None else self._taken
        if not taken:
            self._groups.end()
            return
        self.repeatable = False
        try:
            rows = await self._together(connection, taken)
        except (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError, ValueError):  # ValueError: it was not even sent
            await self._apart(connection, taken)
        else:
            for each, row in zip(taken, rows, strict=True):
                each.settle(row)
        self._groups.committed()
        self._groups.end()

    async def _together(self, connection: Connection, taken: Sequence[_Waiting]) -> list[Any]:
        lists = zip(*(each.parameters for each in taken), strict=True)
        return await connection.fetch(self._groups.text, *map(list, lists))

    async def _apart(self, connection: Connection, taken: list[_Waiting]) -> None:
        """One after the other; those that the database refuses fail alone."""
        while taken:
            try:
                (row,) = await self._together(connection, taken[:1])
                taken[0].settle(row)
            except (asyncpg.PostgresError, ValueError) as error:
                taken[0].fail(error)
            del taken[0]

    def fail(self, error: Exception) -> None:
        """Tell all who wait."""
        for each in self._groups.take() if self._taken is None else self._taken:
            each.fail(error)
        self._groups.end()
