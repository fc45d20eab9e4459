"""Look-ups by key that share round trips.

A query costs this process 25 us and more whatever it asks, and a key in it 2 us (docs/decisions/0027). So the keys that are
asked for while queries of the same kind are under way go together into the next one: the busier the process, the less a look-up
costs.
"""

import asyncio
from typing import Any

from storage.catalog.engine import Lookup, Row
from storage.catalog.postgresql.connections import Connection
from storage.catalog.postgresql.jobs import client_error
from storage.catalog.postgresql.pool import Lane, Pool

KEYS_AT_ONCE = 256
QUERIES = 2  # of one kind at once, so that one slow answer does not hold up everybody

Key = str | bytes
Asked = dict[Key, list[asyncio.Future[Any]]]


class Lookups:
    """The look-ups of one kind."""

    def __init__(self, lookup: Lookup, pool: Pool, lane: Lane) -> None:
        self.text = lookup.statement.postgresql
        self.place = lookup.place
        self._pool = pool
        self._lane = lane
        self._asked: Asked = {}
        self._queries = 0
        self._coming = False  # one of them has not taken yet, and will take what was asked

    def ask(self, key: Key) -> asyncio.Future[Row | None]:
        """The row of that key, or None."""
        future: asyncio.Future[Row | None] = asyncio.get_running_loop().create_future()
        if not can_be_kept(key):
            future.set_result(None)  # alone: PostgreSQL would refuse the keys of all
            return future
        asked = self._asked.get(key)
        if asked is not None:
            asked.append(future)
            return future
        self._asked[key] = [future]
        if not self._coming and self._queries < QUERIES:
            self._send()
        return future

    def _send(self) -> None:
        self._queries += 1
        self._coming = True
        self._pool.submit(self._lane, _Query(self))

    def take(self) -> Asked:
        """What a query asks for that is about to be sent: all that was asked until now."""
        self._coming = False
        asked = self._asked
        if len(asked) <= KEYS_AT_ONCE:
            self._asked = {}
            return asked
        return {key: asked.pop(key) for key in list(asked)[:KEYS_AT_ONCE]}

    def end(self) -> None:
        """A query came to its end; another one goes for what was asked meanwhile."""
        self._queries -= 1
        if self._asked and not self._coming:
            self._send()


class _Query:
    """A query for many keys."""

    __slots__ = ("_asked", "_lookups")

    repeatable = True

    def __init__(self, lookups: Lookups) -> None:
        self._lookups = lookups
        self._asked: Asked | None = None

    async def run(self, connection: Connection) -> None:
        """Read the rows and give each to those who asked for it."""
        if self._asked is None:
            self._asked = self._lookups.take()
        rows = await connection.fetch(self._lookups.text, list(self._asked))
        place = self._lookups.place
        for row in rows:
            for future in self._asked.pop(row[place]):
                if not future.done():
                    future.set_result(row)
        for futures in self._asked.values():
            for future in futures:
                if not future.done():
                    future.set_result(None)
        self._lookups.end()

    def fail(self, error: Exception) -> None:
        """Tell all who asked."""
        for futures in (self._asked if self._asked is not None else self._lookups.take()).values():
            for future in futures:
                if not future.done():
                    future.set_exception(client_error(error))
        self._lookups.end()


def can_be_kept(key: Key) -> bool:
    """Whether a row may have that key: a text of PostgreSQL has no NUL and no half of a surrogate pair."""
    if isinstance(key, bytes):
        return True
    if not key.isascii():
        try:
            key.encode()
        except UnicodeEncodeError:
            return False
    return "\0" not in key
