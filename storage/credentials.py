"""Sessions and API keys: made, revoked, and recognised.

A token is 256 random bits and only its SHA-256 is kept: guessing is hopeless, so no slow hash is needed, and a copy of the
database opens nothing. What was recognised is remembered in memory for `cache_s` seconds at most, the longest that a
revocation can take to be felt.
"""

import hashlib
import hmac
import secrets
import time

from schemas import Principal, Role, Timestamp
from storage.access import check_staff
from storage.catalog import CredentialTable, KeyInfo, WidgetSession
from storage.clock import timestamp
from storage.ids import fresh_id

MAX_TOKEN_CHARACTERS = 512  # longer ones are not hashed: none of ours is longer than 50
CACHE_ENTRIES = 16_384  # about 6 MB; past it the oldest are forgotten
CALLER_REMEMBERS_S = 1.0  # enough to save a busy caller nearly all of the work
KEY_PREFIX = "attachd_"  # so that scanners of leaked secrets can tell what they found


WIDGET_PREFIX = KEY_PREFIX + "widget_"


def is_widget_token(token: str) -> bool:
    """Whether that would be the token of a widget's session."""
    return token.startswith(WIDGET_PREFIX)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


class Credentials:
    """The credentials of all organizations."""

    def __init__(self, table: CredentialTable, cache_s: float) -> None:
        self._table = table
        self.remember_s = min(cache_s / 2, CALLER_REMEMBERS_S)  # how long a caller may remember what it was told
        self._cache_s = cache_s - self.remember_s  # the two together keep a revoked credential for `cache_s` at most
        self._cache: dict[bytes, tuple[float, Principal]] = {}

    async def create_session(self, *, user_id: str, organization_id: str, role: Role, ttl_s: float) -> str:
        """The token of a new session that lasts `ttl_s` seconds. It is shown here only."""
        token = secrets.token_urlsafe(32)
        principal = Principal(kind="session", user_id=user_id, organization_id=organization_id, role=role)
        now = time.time()
        await self._table.insert_session(_hash(token), principal, timestamp(now), timestamp(now + ttl_s))
        return token

    async def revoke_session(self, token: str) -> bool:
        """End a session; False if there is none of that token."""
        self._cache.pop(_hash(token), None)
        return await self._table.delete_session(_hash(token))

    async def create_key(self, *, organization_id: str, role: Role, name: str) -> tuple[KeyInfo, str]:
        """A new API key and its secret, which is shown here only."""
        secret = KEY_PREFIX + secrets.token_urlsafe(32)
        info = KeyInfo(
            id=fresh_id(), name=name, organization_id=organization_id, role=role, created_at=timestamp(), revoked_at=None
        )
        await self._table.insert_key(_hash(secret), info)
        return info, secret

    async def list_keys(self) -> list[KeyInfo]:
        """All API keys, oldest first, the revoked ones too."""
        return await self._table.keys()

    async def revoke_key(self, id: str) -> bool:
        """Revoke an API key; False if there is none of that id or it was revoked before."""
        for token_hash, (_, principal) in list(self._cache.items()):
            if principal.kind == "key" and principal.user_id == id:
                del self._cache[token_hash]
        return await self._table.revoke_key(id, timestamp())

    async def create_widget_session(self, principal: Principal, conversation_id: str, ttl_s: float) -> tuple[str, Timestamp]:
        """The token of a new session of a widget, which sees that conversation only, and when it ends. It is shown here only.

        Raises FORBIDDEN when a widget asks.
        """
        check_staff(principal, "make sessions of widgets")
        token = WIDGET_PREFIX + secrets.token_urlsafe(32)
        now = time.time()
        session = WidgetSession(
            id=fresh_id(),
            organization_id=principal.organization_id,
            conversation_id=conversation_id.lower(),
            created_by=principal.user_id,
            created_at=timestamp(now),
            expires_at=timestamp(now + ttl_s),
        )
        await self._table.insert_widget(_hash(token), session)
        return token, session.expires_at

    async def widget_principal(self, token: str) -> Principal | None:
        """The widget whose session that is; None if it is unknown or expired. Raises SERVICE_UNAVAILABLE."""
        if len(token) > MAX_TOKEN_CHARACTERS:
            return None
        hashed = _hash(token)
        known = self._remembered("widget", hashed)
        return known if known is not None else self._remember(hashed, await self._table.widget(hashed, timestamp()))

    async def session_principal(self, token: str) -> Principal | None:
        """Whose session that is; None if it is unknown, expired or ended. Raises SERVICE_UNAVAILABLE."""
        if len(token) > MAX_TOKEN_CHARACTERS:
            return None
        hashed = _hash(token)
        known = self._remembered("session", hashed)
        return known if known is not None else self._remember(hashed, await self._table.session(hashed, timestamp()))

    async def key_principal(self, token: str) -> Principal | None:
        """Whose API key that is; None if it is unknown or revoked. Raises SERVICE_UNAVAILABLE."""
        if len(token) > MAX_TOKEN_CHARACTERS:
            return None
        hashed = _hash(token)
        known = self._remembered("key", hashed)
        return known if known is not None else self._remember(hashed, await self._table.key(hashed))

    def _remembered(self, kind: str, hashed: bytes) -> Principal | None:
        entry = self._cache.get(hashed)
        if entry is None or entry[0] <= time.monotonic() or entry[1].kind != kind:
            return None
        return entry[1]

    def _remember(self, hashed: bytes, found: tuple[bytes, Principal] | None) -> Principal | None:
        if found is None or not hmac.compare_digest(found[0], hashed):
            self._cache.pop(hashed, None)
            return None
        if len(self._cache) >= CACHE_ENTRIES:
            del self._cache[next(iter(self._cache))]
        self._cache[hashed] = (time.monotonic() + self._cache_s, found[1])
        return found[1]
