"""The same migrations on SQLite and PostgreSQL: written in SQLite's words, of which these few are other ones there.

Texts are compared as bytes on both, so that orders, pages and cursors are the same: that is SQLite's own way, and the collation
"C" of PostgreSQL, whatever the database's is.
"""

import re
from collections.abc import Iterable

from alembic import op

_WORDS = {
    "BLOB": "BYTEA",
    "TEXT": 'TEXT COLLATE "C"',
    # Numbers of events come from a counter that is a part of the transaction: a sequence's are not in the order of the commits.
    "INTEGER PRIMARY KEY AUTOINCREMENT": "BIGINT PRIMARY KEY",
}
_WORD = re.compile("|".join(rf"\b{word}\b" for word in sorted(_WORDS, key=len, reverse=True)))


def run(statements: Iterable[str], *, sqlite: Iterable[str] = (), postgresql: Iterable[str] = ()) -> None:
    """Execute the statements that are for both, then those that are for the engine at hand, which are taken as they are."""
    on_postgresql = op.get_bind().dialect.name == "postgresql"
    for statement in statements:
        op.execute(in_words_of_postgresql(statement) if on_postgresql else statement)
    for statement in postgresql if on_postgresql else sqlite:
        op.execute(statement)


def in_words_of_postgresql(statement: str) -> str:
    """A statement of SQLite's as PostgreSQL takes it."""
    return _WORD.sub(lambda match: _WORDS[match[0]], statement)
