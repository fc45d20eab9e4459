"""The keys that sign links: those of the settings, or else those that the database keeps for all processes.

Of the database's keys the newest signs and all verify. Rules:
1. A process reads them again after `REREAD_S`, and at once for a link of a key that it does not know: no worker refuses what
   another has just signed with a new key.
2. A key that has been replaced is kept until its last link has expired. When that is follows from what is kept with it, the
   longest that a link of it may hold: whoever signs for longer writes so before the link is handed out.
"""

import itertools
import secrets
import time
from collections.abc import Sequence
from typing import Literal

import msgspec

from schemas import Code, ServiceError, Timestamp
from storage.catalog import KeptKey, SigningKeyTable
from storage.clock import seconds_of, timestamp
from storage.options import Options
from storage.signing import MIN_SECRET_BYTES, KeyRing, SigningKey

REREAD_S = 1.0
_SLACK_S = 60.0  # how far apart the clocks of processes may be, `REREAD_S` included


class SigningKeyInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What may be shown of a key: `until` is when the last link of a replaced one expires, then it is `spare`."""

    kid: str
    state: Literal["signs", "verifies", "spare"]
    created_at: Timestamp | None = None
    until: Timestamp | None = None


class Keys:
    """The keys of a server. Raises SERVICE_UNAVAILABLE when the database fails."""

    def __init__(self, table: SigningKeyTable, options: Options) -> None:
        self._table = table
        self._named = options.signing_keys
        self._ring = KeyRing(options.signing_keys)
        self._kept: list[KeptKey] = []
        self._read_at = float("-inf")
        self._lifetime_s = options.url_expiry_s + options.url_window_s

    async def signing(self, lifetime_s: int) -> KeyRing:
        """The ring to sign a link with that holds for up to `lifetime_s` seconds from now."""
        if self._named:
            return self._ring
        await self._refresh(REREAD_S)
        if not self._kept:
            self._take(await self._table.keys_or(_fresh_key(lifetime_s)))
        signer = self._kept[0]
        if signer.lifetime_s < lifetime_s:
            await self._table.lengthen(signer.kid, lifetime_s)
            await self._refresh(0)
        return self._ring

    async def verifying(self, kid: str | None) -> KeyRing:
        """The ring to verify a link with that names the key `kid`, or none."""
        if not self._named:
            await self._refresh(REREAD_S if kid in self._ring else 0)
        return self._ring

    async def _refresh(self, after_s: float) -> None:
        if time.monotonic() - self._read_at >= after_s:
            self._take(await self._table.keys())

    def _take(self, kept: list[KeptKey]) -> None:
        self._kept = kept
        self._ring = KeyRing([SigningKey(key.kid, key.secret) for key in kept])
        self._read_at = time.monotonic()

    async def describe(self) -> list[SigningKeyInfo]:
        """The keys, the one that signs first."""
        if self._named:
            return [
                SigningKeyInfo(kid=key.kid, state="verifies" if place else "signs") for place, key in enumerate(self._named)
            ]
        return _states(await self._table.keys(), time.time())

    async def rotate(self) -> tuple[str, list[str]]:
        """Let a new key sign, and remove those that no link needs any more. Gives the new key's id and those of the removed.

        Raises CONFLICT when the settings name the keys, or the clock is behind the newest key.
        """
        if self._named:
            raise ServiceError(
                Code.CONFLICT, "signing.keys names the keys: put a new one in front there, and restart the server"
            )
        key = _fresh_key(self._lifetime_s)
        return key.kid, await self._table.rotate(key, lambda kept: _spare(kept, time.time()))

    async def remove(self, kid: str) -> None:
        """Remove a key that does not sign, whatever links of it there are. Raises NOT_FOUND, CONFLICT when it signs."""
        if not any(info.kid == kid for info in await self.describe()):
            raise ServiceError(Code.NOT_FOUND, f"there is no signing key {kid}")
        if self._named:
            raise ServiceError(Code.CONFLICT, "signing.keys names the keys: take it out there, and restart the server")
        if not await self._table.remove(kid):
            raise ServiceError(Code.CONFLICT, f"the key {kid} signs: rotate first")


def _fresh_key(lifetime_s: int) -> KeptKey:
    return KeptKey(secrets.token_hex(4), secrets.token_bytes(MIN_SECRET_BYTES), timestamp(), lifetime_s)


def _states(kept: Sequence[KeptKey], now: float) -> list[SigningKeyInfo]:
    """What the keys are good for, newest first: each was replaced when the one before it in this order was made."""
    infos = [SigningKeyInfo(kid=key.kid, state="signs", created_at=key.created_at) for key in kept[:1]]
    for newer, key in itertools.pairwise(kept):
        until = seconds_of(newer.created_at) + _SLACK_S + key.lifetime_s
        state: Literal["verifies", "spare"] = "verifies" if now <= until else "spare"
        infos.append(SigningKeyInfo(kid=key.kid, state=state, created_at=key.created_at, until=timestamp(until)))
    return infos


def _spare(kept: Sequence[KeptKey], now: float) -> list[str]:
    return [info.kid for info in _states(kept, now) if info.state == "spare"]
