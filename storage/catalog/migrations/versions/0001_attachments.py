"""Attachments, their events, sessions and API keys."""

from storage.catalog.migrations.dialects import run

revision = "0001"
down_revision = None

_STATEMENTS = (
    """
    CREATE TABLE attachments (
        id TEXT PRIMARY KEY NOT NULL,
        organization_id TEXT NOT NULL,
        conversation_id TEXT,
        ticket_id TEXT,
        owner_id TEXT NOT NULL,
        filename TEXT NOT NULL,
        content_type TEXT NOT NULL,
        size BIGINT NOT NULL,
        sha256 BLOB NOT NULL,
        storage_path TEXT NOT NULL UNIQUE,
        created_at TEXT NOT NULL,
        deleted_at TEXT
    )
    """,
    "CREATE INDEX attachments_of_conversation ON attachments (conversation_id, created_at, id)",
    "CREATE INDEX attachments_deleted ON attachments (deleted_at, id) WHERE deleted_at IS NOT NULL",
    """
    CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL,
        attachment_id TEXT NOT NULL,
        organization_id TEXT NOT NULL,
        conversation_id TEXT,
        created_at TEXT NOT NULL
    )
    """,
    "CREATE INDEX events_by_time ON events (created_at)",
    """
    CREATE TABLE sessions (
        token_hash BLOB PRIMARY KEY NOT NULL,
        user_id TEXT NOT NULL,
        organization_id TEXT NOT NULL,
        role TEXT NOT NULL,
        created_at TEXT NOT NULL,
        expires_at TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE api_keys (
        id TEXT PRIMARY KEY NOT NULL,
        secret_hash BLOB NOT NULL UNIQUE,
        name TEXT NOT NULL,
        organization_id TEXT NOT NULL,
        role TEXT NOT NULL,
        created_at TEXT NOT NULL,
        revoked_at TEXT
    )
    """,
)
# The number of the last event: one row, which every change updates at its end (storage/catalog/events.py).
_POSTGRESQL = (
    "CREATE TABLE event_counter (one BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one), last BIGINT NOT NULL)",
    "INSERT INTO event_counter (last) VALUES (0)",
)


def upgrade() -> None:
    """Create the tables."""
    run(_STATEMENTS, postgresql=_POSTGRESQL)
