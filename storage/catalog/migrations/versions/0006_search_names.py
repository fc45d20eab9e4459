"""File names as searches compare them, in place of a function that only SQLite connections of this program have."""

import sqlalchemy
from alembic import op

from storage.catalog.migrations.dialects import run
from storage.catalog.names import search_name

revision = "0006"
down_revision = "0005"

_BATCH = 1000
_PAGE = "SELECT id, filename FROM attachments WHERE id > :after ORDER BY id LIMIT :limit"
_SET = "UPDATE attachments SET search_name = :name WHERE id = :id"


def upgrade() -> None:
    """Add the column and fill it where the name is not ASCII."""
    run(["ALTER TABLE attachments ADD COLUMN search_name TEXT"])
    connection, after = op.get_bind(), ""
    while rows := connection.execute(sqlalchemy.text(_PAGE), {"after": after, "limit": _BATCH}).fetchall():
        after = rows[-1][0]
        names = [{"id": id, "name": name} for id, filename in rows if (name := search_name(filename)) is not None]
        if names:
            connection.execute(sqlalchemy.text(_SET), names)
