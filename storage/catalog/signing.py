"""The signing key that the program makes for itself when the settings have none."""

import sqlite3

from schemas import Timestamp
from storage.catalog.sqlite import Sqlite

_KEYS = "SELECT kid, secret FROM signing_keys ORDER BY created_at DESC, kid"
_INSERT = "INSERT INTO signing_keys (kid, secret, created_at) VALUES (?, ?, ?)"


class SigningKeyTable:
    """Keys by their id, newest first. Raises SERVICE_UNAVAILABLE when the database fails."""

    def __init__(self, database: Sqlite) -> None:
        self._database = database

    async def keys(self) -> list[tuple[str, bytes]]:
        """The ids and secrets of all keys."""
        return [(kid, secret) for kid, secret in self._database.rows(_KEYS, ())]

    async def keys_or(self, kid: str, secret: bytes, now: Timestamp) -> list[tuple[str, bytes]]:
        """The ids and secrets of all keys; if there are none, of this one, which is kept from now on for all processes."""

        def change(connection: sqlite3.Connection) -> list[tuple[str, bytes]]:
            if found := connection.execute(_KEYS).fetchall():
                return found
            connection.execute(_INSERT, (kid, secret, now))
            return [(kid, secret)]

        return await self._database.write(change)
