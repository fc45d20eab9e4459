"""Direct uploads that are under way, or were, while their URLs may still be used."""

from storage.catalog.migrations.dialects import run

revision = "0007"
down_revision = "0006"

_STATEMENTS = (
    # `id` is that of the attachment that it becomes; `multipart_id` the store's, of a file that comes in parts of `part_bytes`.
    """
    CREATE TABLE direct_uploads (
        id TEXT PRIMARY KEY NOT NULL,
        organization_id TEXT NOT NULL,
        owner_id TEXT NOT NULL,
        state TEXT NOT NULL,
        filename TEXT NOT NULL,
        size BIGINT NOT NULL,
        sha256 BLOB,
        conversation_id TEXT,
        ticket_id TEXT,
        multipart_id TEXT,
        part_bytes BIGINT,
        expires_at TEXT NOT NULL
    )
    """,
    # How many a caller has open.
    "CREATE INDEX direct_uploads_open ON direct_uploads (organization_id, owner_id, expires_at) WHERE state = 'open'",
    # What sweep looks for.
    "CREATE INDEX direct_uploads_expired ON direct_uploads (expires_at, id)",
)


def upgrade() -> None:
    """Create the table."""
    run(_STATEMENTS)
