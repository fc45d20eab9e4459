"""The rows of sessions, of API keys and of widgets' sessions. Only the SHA-256 of a token is kept, which is 256 random bits."""

import msgspec

from schemas import Principal, Role, Timestamp
from storage.catalog.engine import Database, Script, lookup, one_step, sql

_SESSION = lookup("token_hash, user_id, organization_id, role, expires_at", "sessions", "token_hash")
_KEY = lookup("secret_hash, id, organization_id, role", "api_keys", "secret_hash", " AND revoked_at IS NULL")
_INSERT_SESSION = sql(
    "INSERT INTO sessions (token_hash, user_id, organization_id, role, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)"
)
_DELETE_SESSION = sql("DELETE FROM sessions WHERE token_hash = ? RETURNING 1", alone=True)
_DELETE_EXPIRED = sql("DELETE FROM sessions WHERE expires_at <= ?")
_WIDGET = lookup("token_hash, id, organization_id, conversation_id, expires_at", "widget_sessions", "token_hash")
_INSERT_WIDGET = sql(
    "INSERT INTO widget_sessions (token_hash, id, organization_id, conversation_id, created_by, created_at, expires_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_DELETE_EXPIRED_WIDGETS = sql("DELETE FROM widget_sessions WHERE expires_at <= ?")
_INSERT_KEY = sql(
    "INSERT INTO api_keys (id, secret_hash, name, organization_id, role, created_at) VALUES (?, ?, ?, ?, ?, ?)", alone=True
)
_LIST_KEYS = sql("SELECT id, name, organization_id, role, created_at, revoked_at FROM api_keys ORDER BY created_at, id")
_REVOKE_KEY = sql("UPDATE api_keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL RETURNING 1", alone=True)


class KeyInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What may be shown of an API key: everything but the secret, which only its creation gives."""

    id: str
    name: str
    organization_id: str
    role: Role
    created_at: Timestamp
    revoked_at: Timestamp | None


class WidgetSession(msgspec.Struct, frozen=True, kw_only=True):
    """A session of a widget, for one conversation; `created_by` is the user or the API key that let the visitor in."""

    id: str
    organization_id: str
    conversation_id: str
    created_by: str
    created_at: Timestamp
    expires_at: Timestamp


class CredentialTable:
    """Sessions and API keys by the hash of their token. Raises SERVICE_UNAVAILABLE when the database fails."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def session(self, token_hash: bytes, now: Timestamp) -> tuple[bytes, Principal] | None:
        """The kept hash and the principal of a session that has not expired."""
        row = await self._database.row(_SESSION, token_hash)
        if row is None or row[4] <= now:
            return None
        kept, user_id, organization_id, role, _ = row
        return kept, Principal(kind="session", user_id=user_id, organization_id=organization_id, role=role)

    async def key(self, secret_hash: bytes) -> tuple[bytes, Principal] | None:
        """The kept hash and the principal of a key that is not revoked."""
        row = await self._database.row(_KEY, secret_hash)
        if row is None:
            return None
        kept, id, organization_id, role = row
        return kept, Principal(kind="key", user_id=id, organization_id=organization_id, role=role)

    async def widget(self, token_hash: bytes, now: Timestamp) -> tuple[bytes, Principal] | None:
        """The kept hash and the principal of a session of a widget that has not expired."""
        row = await self._database.row(_WIDGET, token_hash)
        if row is None or row[4] <= now:
            return None
        kept, id, organization_id, conversation_id, _ = row
        principal = Principal(
            kind="widget", user_id=id, organization_id=organization_id, role="member", conversation_id=conversation_id
        )
        return kept, principal

    async def insert_widget(self, token_hash: bytes, session: WidgetSession) -> None:
        """Add a session of a widget, and remove the expired ones."""
        values = (token_hash, *msgspec.structs.astuple(session))

        def script() -> Script[None]:
            yield _DELETE_EXPIRED_WIDGETS, (session.created_at,)
            yield _INSERT_WIDGET, values

        await self._database.write(script)

    async def insert_session(self, token_hash: bytes, principal: Principal, now: Timestamp, expires_at: Timestamp) -> None:
        """Add a session, and remove the expired ones."""
        values = (token_hash, principal.user_id, principal.organization_id, principal.role, now, expires_at)

        def script() -> Script[None]:
            yield _DELETE_EXPIRED, (now,)
            yield _INSERT_SESSION, values

        await self._database.write(script)

    async def delete_session(self, token_hash: bytes) -> bool:
        """Remove a session; False if there is none."""
        return bool(await self._database.write(one_step(_DELETE_SESSION, (token_hash,))))

    async def insert_key(self, secret_hash: bytes, info: KeyInfo) -> None:
        """Add an API key."""
        values = (info.id, secret_hash, info.name, info.organization_id, info.role, info.created_at)
        await self._database.write(one_step(_INSERT_KEY, values))

    async def keys(self) -> list[KeyInfo]:
        """All keys, oldest first, the revoked ones too."""
        return [
            KeyInfo(id=id, name=name, organization_id=organization, role=role, created_at=created, revoked_at=revoked)
            for id, name, organization, role, created, revoked in await self._database.rows(_LIST_KEYS, ())
        ]

    async def revoke_key(self, id: str, now: Timestamp) -> bool:
        """Mark a key revoked; False if there is none or it was revoked before."""
        return bool(await self._database.write(one_step(_REVOKE_KEY, (now, id))))
