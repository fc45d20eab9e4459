"""The events of a conversation from a number on, by an index that ends with the number.

Every index of SQLite ends with the rowid, which is that number. On PostgreSQL without it a subscriber that came again had all
events of all organizations read that it had not heard.
"""

from storage.catalog.migrations.dialects import run

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Make the index anew on PostgreSQL."""
    create = "CREATE INDEX events_of_conversation ON events (organization_id, conversation_id, id)"
    run([], postgresql=["DROP INDEX events_of_conversation", f"{create} WHERE conversation_id IS NOT NULL"])
