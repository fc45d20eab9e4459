"""The signing keys that the program makes for itself when the settings have none."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from schemas import Code, ServiceError, Timestamp
from storage.catalog.engine import Database, Script, Statement, one_step, sql

_KEYS = sql("SELECT kid, secret, created_at, lifetime_s FROM signing_keys ORDER BY created_at DESC, kid")
_LOCK = Statement("", "LOCK TABLE signing_keys IN SHARE ROW EXCLUSIVE MODE")  # SQLite has one writer at a time
_INSERT = sql("INSERT INTO signing_keys (kid, secret, created_at, lifetime_s) VALUES (?, ?, ?, ?)")
_LENGTHEN = sql("UPDATE signing_keys SET lifetime_s = ? WHERE kid = ? AND lifetime_s < ?", alone=True)
_DELETE = sql("DELETE FROM signing_keys WHERE kid = ?")
_DELETE_REPLACED = sql(
    "DELETE FROM signing_keys WHERE kid = ? AND created_at < (SELECT max(created_at) FROM signing_keys) RETURNING 1",
    alone=True,
)


class KeptKey(NamedTuple):
    """A key; a link of it holds for `lifetime_s` seconds at most."""

    kid: str
    secret: bytes
    created_at: Timestamp
    lifetime_s: int


class SigningKeyTable:
    """Keys, newest first. Raises SERVICE_UNAVAILABLE when the database fails."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keys(self) -> list[KeptKey]:
        """All keys."""
        return [KeptKey(*row) for row in await self._database.rows(_KEYS, ())]

    async def keys_or(self, key: KeptKey) -> list[KeptKey]:
        """All keys; if there are none, this one, which is kept from now on for all processes."""

        def script() -> Script[list[KeptKey]]:
            if found := (yield from _all()):
                return found
            yield _INSERT, key
            return [key]

        return await self._database.write(script)

    async def rotate(self, key: KeptKey, spare: Callable[[Sequence[KeptKey]], Sequence[str]]) -> list[str]:
        """Add a key as the newest and remove those that are `spare` then; gives their ids.

        Raises CONFLICT when a kept key is as new or newer.
        """

        def script() -> Script[list[str]]:
            kept = yield from _all()
            if kept and kept[0].created_at >= key.created_at:
                message = f"the key {kept[0].kid} was made at {kept[0].created_at}, which is not past: set this machine's clock"
                raise ServiceError(Code.CONFLICT, message)
            yield _INSERT, key
            removed = list(spare([key, *kept]))
            for kid in removed:
                yield _DELETE, (kid,)
            return removed

        return await self._database.write(script)

    async def lengthen(self, kid: str, lifetime_s: int) -> None:
        """Note that links of the key hold for so long."""
        await self._database.write(one_step(_LENGTHEN, (lifetime_s, kid, lifetime_s)))

    async def remove(self, kid: str) -> bool:
        """Remove a key, unless it is the newest or there is none; whether it was removed."""
        return bool(await self._database.write(one_step(_DELETE_REPLACED, (kid,))))


def _all() -> Script[list[KeptKey]]:
    """All keys, which stay so until the transaction ends."""
    yield _LOCK, ()
    rows = yield _KEYS, ()
    return [KeptKey(*row) for row in rows]
