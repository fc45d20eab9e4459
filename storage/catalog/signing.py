"""The signing keys that the program makes for itself when the settings have none."""

import sqlite3
from collections.abc import Callable, Sequence
from typing import NamedTuple

from schemas import Code, ServiceError, Timestamp
from storage.catalog.sqlite import Sqlite

_KEYS = "SELECT kid, secret, created_at, lifetime_s FROM signing_keys ORDER BY created_at DESC, kid"
_INSERT = "INSERT INTO signing_keys (kid, secret, created_at, lifetime_s) VALUES (?, ?, ?, ?)"
_LENGTHEN = "UPDATE signing_keys SET lifetime_s = ? WHERE kid = ? AND lifetime_s < ?"
_DELETE = "DELETE FROM signing_keys WHERE kid = ?"
_DELETE_REPLACED = "DELETE FROM signing_keys WHERE kid = ? AND created_at < (SELECT max(created_at) FROM signing_keys)"


class KeptKey(NamedTuple):
    """A key; a link of it holds for `lifetime_s` seconds at most."""

    kid: str
    secret: bytes
    created_at: Timestamp
    lifetime_s: int


class SigningKeyTable:
    """Keys, newest first. Raises SERVICE_UNAVAILABLE when the database fails."""

    def __init__(self, database: Sqlite) -> None:
        self._database = database

    async def keys(self) -> list[KeptKey]:
        """All keys."""
        return [KeptKey(*row) for row in self._database.rows(_KEYS, ())]

    async def keys_or(self, key: KeptKey) -> list[KeptKey]:
        """All keys; if there are none, this one, which is kept from now on for all processes."""

        def change(connection: sqlite3.Connection) -> list[KeptKey]:
            if found := _all(connection):
                return found
            connection.execute(_INSERT, key)
            return [key]

        return await self._database.write(change)

    async def rotate(self, key: KeptKey, spare: Callable[[Sequence[KeptKey]], Sequence[str]]) -> list[str]:
        """Add a key as the newest and remove those that are `spare` then; gives their ids.

        Raises CONFLICT when a kept key is as new or newer.
        """

        def change(connection: sqlite3.Connection) -> list[str]:
            kept = _all(connection)
            if kept and kept[0].created_at >= key.created_at:
                message = f"the key {kept[0].kid} was made at {kept[0].created_at}, which is not past: set this machine's clock"
                raise ServiceError(Code.CONFLICT, message)
            connection.execute(_INSERT, key)
            removed = list(spare([key, *kept]))
            connection.executemany(_DELETE, [(kid,) for kid in removed])
            return removed

        return await self._database.write(change)

    async def lengthen(self, kid: str, lifetime_s: int) -> None:
        """Note that links of the key hold for so long."""
        await self._database.write(lambda connection: connection.execute(_LENGTHEN, (lifetime_s, kid, lifetime_s)))

    async def remove(self, kid: str) -> bool:
        """Remove a key, unless it is the newest or there is none; whether it was removed."""
        return await self._database.write(lambda connection: connection.execute(_DELETE_REPLACED, (kid,)).rowcount == 1)


def _all(connection: sqlite3.Connection) -> list[KeptKey]:
    return [KeptKey(*row) for row in connection.execute(_KEYS).fetchall()]
