"""Media: how long links of a signing key may hold, sessions of widgets, and which attachments go when nothing links them."""

from storage.catalog.migrations.dialects import run

revision = "0004"
down_revision = "0003"

_STATEMENTS = (
    # For keys that there are already: the longest that the settings allow, because nothing tells how long their links hold.
    "ALTER TABLE signing_keys ADD COLUMN lifetime_s BIGINT NOT NULL DEFAULT 31622400",
    """
    CREATE TABLE widget_sessions (
        token_hash BLOB PRIMARY KEY NOT NULL,
        id TEXT NOT NULL,
        organization_id TEXT NOT NULL,
        conversation_id TEXT NOT NULL,
        created_by TEXT NOT NULL,
        created_at TEXT NOT NULL,
        expires_at TEXT NOT NULL
    )
    """,
    "CREATE INDEX widget_sessions_expired ON widget_sessions (expires_at)",
    "ALTER TABLE attachments ADD COLUMN media BOOLEAN NOT NULL DEFAULT FALSE",
    # Read by sweep alone; a row leaves it when it is linked, so it stays small.
    """
    CREATE INDEX attachments_unlinked_media ON attachments (created_at, id)
    WHERE media AND conversation_id IS NULL AND deleted_at IS NULL
    """,
)


def upgrade() -> None:
    """Create the table, the columns and the index."""
    run(_STATEMENTS)
