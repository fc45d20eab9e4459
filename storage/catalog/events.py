"""The log of events: what happened to attachments, in the order in which it was committed.

The numbers of events are in the order of the commits, without gaps, in all processes. SQLite has one writer at a time, and
AUTOINCREMENT gives each event the next number inside the writing transaction; it keeps the last number apart from the rows, so
the end of the log is known when all of it was forgotten. On PostgreSQL the last number is a row, `event_counter`: who adds an
event locks it until the commit, so it is the last thing that a transaction does. (A sequence gives numbers that others, with
higher ones, may be committed before, and leaves gaps.)
"""

import json
from collections.abc import Sequence
from typing import NamedTuple

from schemas import AttachmentItem, ChangeType, Record, Timestamp
from storage.catalog import columns
from storage.catalog.engine import Database, Script, one_step, sql

_INSERT = sql(
    "INSERT INTO events (kind, attachment_id, organization_id, conversation_id, created_at) VALUES (?, ?, ?, ?, ?)",
    "WITH numbered AS (UPDATE event_counter SET last = last + 1 RETURNING last)"
    " INSERT INTO events (id, kind, attachment_id, organization_id, conversation_id, created_at)"
    " SELECT last, ?, ?, ?, ?, ? FROM numbered",
    last=2,
)
# The events are in the order of time, or nearly so when machines write them, and only what is in front is forgotten.
_FORGET = sql(
    "WITH front AS (SELECT id, created_at FROM events ORDER BY id LIMIT ?)"
    " DELETE FROM events WHERE id <= (SELECT max(id) FROM front)"
    " AND id < coalesce((SELECT min(id) FROM front WHERE created_at >= ?), (SELECT max(id) + 1 FROM front)) RETURNING 1",
    alone=True,
)
_FORGET_AT_ONCE = 10_000  # a transaction of some 50 ms
_END = sql("SELECT seq FROM sqlite_sequence WHERE name = 'events'", "SELECT last FROM event_counter")
_FORGOTTEN = sql(
    "SELECT coalesce((SELECT min(id) FROM events) - 1, (SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0)",
    "SELECT coalesce((SELECT min(id) FROM events) - 1, (SELECT last FROM event_counter))",
)
_EVENT = "SELECT id, kind, organization_id, conversation_id, attachment_id, created_at FROM events"
_AFTER = sql(f"{_EVENT} WHERE id > ? ORDER BY id LIMIT ?")
OF_CONVERSATION = sql(
    f"{_EVENT} INDEXED BY events_of_conversation WHERE organization_id = ? AND conversation_id = ? AND id > ?"
    " ORDER BY id LIMIT ?"
)
_ITEMS = sql(
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


def log_event(kind: ChangeType, record: Record, now: Timestamp) -> Script[None]:
    """Add an event to the transaction of the change that it tells of; the last step of it."""
    yield _INSERT, (kind, record.id, record.organization_id, record.conversation_id, now)


class EventTable:
    """The events of all organizations. Raises SERVICE_UNAVAILABLE when the database fails."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def end(self) -> int:
        """The number of the last event that was committed, kept or not; 0 before the first."""
        rows = await self._database.rows(_END, ())
        return int(rows[0][0]) if rows else 0

    async def forgotten(self) -> int:
        """The number of the last event that is no longer kept; 0 if all are."""
        ((last,),) = await self._database.rows(_FORGOTTEN, ())
        return int(last)

    async def after(self, id: int, limit: int) -> list[Event]:
        """Up to `limit` events behind that number, of all organizations."""
        return [Event(*row) for row in await self._database.rows(_AFTER, (id, limit))]

    async def of_conversation(self, organization_id: str, conversation_id: str, id: int, limit: int) -> list[Event]:
        """Up to `limit` events of the conversation of that organization behind that number."""
        rows = await self._database.rows(OF_CONVERSATION, (organization_id, conversation_id, id, limit))
        return [Event(*row) for row in rows]

    async def items(self, ids: Sequence[str]) -> dict[str, AttachmentItem]:
        """Those attachments as they are now, by id; deleted ones are left out."""
        found = map(columns.item, await self._database.rows(_ITEMS, (json.dumps(ids),)))
        return {attachment.id: attachment for attachment in found}

    async def forget(self, before: Timestamp) -> None:
        """Remove the events older than that time."""
        while len(await self._database.write(one_step(_FORGET, (_FORGET_AT_ONCE, before)))) == _FORGET_AT_ONCE:
            pass
