"""Pages, usage, subscriptions and signed links.

Every index below is paid for by every upload, so each says what reads it. Keys hold the id and not the rowid, which VACUUM may
change: a cursor must stay true.
"""

from storage.catalog.migrations.dialects import run

revision = "0002"
down_revision = "0001"

_STATEMENTS = (
    # attachments.list, and attachments.page of a conversation by time. In place of the one without the organization and with
    # deleted rows: what a caller may not see must not cost reads either.
    "DROP INDEX attachments_of_conversation",
    """
    CREATE INDEX attachments_of_conversation ON attachments (organization_id, conversation_id, created_at, id)
    WHERE deleted_at IS NULL AND conversation_id IS NOT NULL
    """,
    # attachments.page of an organization, one for each order that it can be asked in.
    "CREATE INDEX attachments_by_time ON attachments (organization_id, created_at, id) WHERE deleted_at IS NULL",
    "CREATE INDEX attachments_by_name ON attachments (organization_id, filename, id) WHERE deleted_at IS NULL",
    "CREATE INDEX attachments_by_size ON attachments (organization_id, size, id) WHERE deleted_at IS NULL",
    # attachments.onChange that connects again: the events of one conversation from an id on (the rowid ends every index).
    # In place of the one by time: events are in the order of time, so the old ones are the first ones.
    "DROP INDEX events_by_time",
    "CREATE INDEX events_of_conversation ON events (organization_id, conversation_id) WHERE conversation_id IS NOT NULL",
    # attachments.usage: counters, written in the transaction of the change that they count (docs/decisions/0016).
    """
    CREATE TABLE organization_usage (
        organization_id TEXT PRIMARY KEY NOT NULL,
        attachments BIGINT NOT NULL,
        bytes BIGINT NOT NULL
    )
    """,
    """
    INSERT INTO organization_usage (organization_id, attachments, bytes)
    SELECT organization_id, COUNT(*), SUM(size) FROM attachments WHERE deleted_at IS NULL GROUP BY organization_id
    """,
    """
    CREATE TABLE signing_keys (
        kid TEXT PRIMARY KEY NOT NULL,
        secret BLOB NOT NULL,
        created_at TEXT NOT NULL
    )
    """,
)


def upgrade() -> None:
    """Create the indexes and tables."""
    run(_STATEMENTS)
