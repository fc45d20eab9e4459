"""The log of events: what happened to attachments, in the order in which it was committed.

SQLite has one writer at a time and AUTOINCREMENT gives each event the next number inside the writing transaction, so the
numbers are in the order of the commits, without gaps, in all processes. SQLite keeps the last number apart from the rows, so
the end of the log is known when all of it was forgotten.
"""

import json
import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from schemas import AttachmentItem, ChangeType, Record, Timestamp
from storage.catalog import columns
from storage.catalog.sqlite import Sqlite

_INSERT = "INSERT INTO events (kind, attachment_id, organization_id, conversation_id, created_at) VALUES (?, ?, ?, ?, ?)"
# The events are in the order of time, so this reads what it removes and one more.
_FORGET = (
    "DELETE FROM events WHERE id < coalesce((SELECT id FROM events WHERE created_at >= ? ORDER BY id LIMIT 1),"
    " (SELECT max(id) + 1 FROM events))"
)
_END = "SELECT seq FROM sqlite_sequence WHERE name = 'events'"
_FIRST = "SELECT min(id) FROM events"
_EVENT = "SELECT id, kind, organization_id, conversation_id, attachment_id, created_at FROM events"
_AFTER = f"{_EVENT} WHERE id > ? ORDER BY id LIMIT ?"
_OF_CONVERSATION = (
    f"{_EVENT} INDEXED BY events_of_conversation WHERE organization_id = ? AND conversation_id = ? AND id > ?"
    " ORDER BY id LIMIT ?"
)
_ITEMS = (
    f"SELECT {columns.ITEM} FROM attachments"  # noqa: S608 (constant)
    " WHERE id IN (SELECT value FROM json_each(?)) AND deleted_at IS NULL"
)


class Event(NamedTuple):
    """An event of the log; `id` is its number."""

    id: int
    kind: ChangeType
    organization_id: str
    conversation_id: str
    attachment_id: str
    created_at: Timestamp


def log_event(connection: sqlite3.Connection, kind: ChangeType, record: Record, now: Timestamp) -> None:
    """Add an event to the transaction of the change that it tells of."""
    connection.execute(_INSERT, (kind, record.id, record.organization_id, record.conversation_id, now))


class EventTable:
    """The events of all organizations. Raises SERVICE_UNAVAILABLE when the database fails.

    What reads does so at once, in one turn of the event loop: few rows, found by an index.
    """

    def __init__(self, database: Sqlite) -> None:
        self._database = database

    def end(self) -> int:
        """The number of the last event that was committed, kept or not; 0 before the first."""
        rows = self._database.rows(_END, ())
        return int(rows[0][0]) if rows else 0

    def forgotten(self) -> int:
        """The number of the last event that is no longer kept; 0 if all are."""
        ((first,),) = self._database.rows(_FIRST, ())
        return self.end() if first is None else int(first) - 1

    def after(self, id: int, limit: int) -> list[Event]:
        """Up to `limit` events behind that number, of all organizations."""
        return [Event(*row) for row in self._database.rows(_AFTER, (id, limit))]

    def of_conversation(self, organization_id: str, conversation_id: str, id: int, limit: int) -> list[Event]:
        """Up to `limit` events of the conversation of that organization behind that number."""
        return [Event(*row) for row in self._database.rows(_OF_CONVERSATION, (organization_id, conversation_id, id, limit))]

    def items(self, ids: Sequence[str]) -> dict[str, AttachmentItem]:
        """Those attachments as they are now, by id; deleted ones are left out."""
        found = map(columns.item, self._database.rows(_ITEMS, (json.dumps(ids),)))
        return {attachment.id: attachment for attachment in found}

    async def forget(self, before: Timestamp) -> None:
        """Remove the events older than that time."""
        await self._database.write(lambda connection: connection.execute(_FORGET, (before,)))
