"""What the other APIs keep of an attachment: whom it is for, if a text shows it, its documented key, its public link."""

from storage.catalog.migrations.dialects import run

revision = "0003"
down_revision = "0002"

_STATEMENTS = (
    "ALTER TABLE attachments ADD COLUMN scope TEXT",
    "ALTER TABLE attachments ADD COLUMN inline BOOLEAN NOT NULL DEFAULT FALSE",
    "ALTER TABLE attachments ADD COLUMN file_key TEXT",
    "ALTER TABLE attachments ADD COLUMN capability_hash BLOB",
    # Public links of API D. Partial: uploads of other APIs do not pay for it.
    "CREATE UNIQUE INDEX attachments_by_capability ON attachments (capability_hash) WHERE capability_hash IS NOT NULL",
)


def upgrade() -> None:
    """Add the columns."""
    run(_STATEMENTS)
