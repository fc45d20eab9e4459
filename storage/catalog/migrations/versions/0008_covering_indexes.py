"""Lists and pages read from their indexes alone.

Each row of a page would else be a look-up somewhere in the table: the larger it is, the fewer of them hit a page that is in a
cache. `attachments_by_time` stays as it is, because rows are kept in that order. SQLite also wants the column of the index's
own condition, or it keeps the table at hand.
"""

from storage.catalog.migrations.dialects import run

revision = "0008"
down_revision = "0007"

_CONVERSATION = (
    "attachments_of_conversation",
    "organization_id, conversation_id, created_at, id",
    "filename, content_type, size",
)
_NAME = ("attachments_by_name", "organization_id, filename, id", "conversation_id, content_type, size, created_at")
_SIZE = ("attachments_by_size", "organization_id, size, id", "conversation_id, filename, content_type, created_at")
_WHERE = {_CONVERSATION: "deleted_at IS NULL AND conversation_id IS NOT NULL"}


def upgrade() -> None:
    """Make the indexes anew, with all columns of an item behind those that they are ordered by."""
    for index in (_CONVERSATION, _NAME, _SIZE):
        name, key, more = index
        where = _WHERE.get(index, "deleted_at IS NULL")
        run(
            [f"DROP INDEX {name}"],
            sqlite=[f"CREATE INDEX {name} ON attachments ({key}, {more}, owner_id, deleted_at) WHERE {where}"],
            postgresql=[f"CREATE INDEX {name} ON attachments ({key}) INCLUDE ({more}, owner_id) WHERE {where}"],
        )
