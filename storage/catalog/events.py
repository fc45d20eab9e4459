"""The log of events: what happened to attachments, in the order in which it was committed.

SQLite has one writer at a time and AUTOINCREMENT gives each event the next number inside the writing transaction, so the
numbers are in the order of the commits, without gaps, in all processes.
"""

import sqlite3

from schemas import Record, Timestamp
from storage.catalog.sqlite import Sqlite

_INSERT = "INSERT INTO events (kind, attachment_id, organization_id, conversation_id, created_at) VALUES (?, ?, ?, ?, ?)"
# The events are in the order of time, so this reads what it removes and one more. The end of the log lives on without them.
_FORGET = (
    "DELETE FROM events WHERE id < coalesce((SELECT id FROM events WHERE created_at >= ? ORDER BY id LIMIT 1),"
    " (SELECT max(id) + 1 FROM events))"
)


def log_event(connection: sqlite3.Connection, kind: str, record: Record, now: Timestamp) -> None:
    """Add an event to the transaction of the change that it tells of."""
    connection.execute(_INSERT, (kind, record.id, record.organization_id, record.conversation_id, now))


class EventTable:
    """The events of all organizations. Raises SERVICE_UNAVAILABLE when the database fails."""

    def __init__(self, database: Sqlite) -> None:
        self._database = database

    async def forget(self, before: Timestamp) -> None:
        """Remove the events older than that time."""
        await self._database.write(lambda connection: connection.execute(_FORGET, (before,)))
