"""Messages of conversations, and the outbox that they are sent from."""

from storage.catalog.migrations.dialects import run

revision = "0005"
down_revision = "0004"

_STATEMENTS = (
    """
    CREATE TABLE messages (
        id TEXT PRIMARY KEY NOT NULL,
        organization_id TEXT NOT NULL,
        conversation_id TEXT NOT NULL,
        author_id TEXT NOT NULL,
        message_id TEXT NOT NULL,
        subject TEXT NOT NULL,
        content TEXT NOT NULL,
        attachments TEXT NOT NULL,
        created_at TEXT NOT NULL
    )
    """,
    # `due_at` is from when on a worker may take the row: the next attempt, or the end of the lease of the one who has it.
    # `handed_over_at` stands while a mail is on its way whose answer is not known.
    """
    CREATE TABLE outbox (
        id TEXT PRIMARY KEY NOT NULL REFERENCES messages (id),
        state TEXT NOT NULL,
        recipients TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        unanswered INTEGER NOT NULL,
        due_at TEXT NOT NULL,
        lease TEXT,
        handed_over_at TEXT,
        error TEXT NOT NULL,
        created_at TEXT NOT NULL,
        changed_at TEXT NOT NULL
    )
    """,
    # What a worker looks for, many times a minute; what is sent is not in it.
    "CREATE INDEX outbox_due ON outbox (due_at, id) WHERE state = 'queued'",
    # `attachd outbox list`: what needs somebody to look at it.
    "CREATE INDEX outbox_unsent ON outbox (id) WHERE state <> 'sent'",
)


def upgrade() -> None:
    """Create the tables."""
    run(_STATEMENTS)
