"""The attachment rows. Every change of a row, its event and the count of its organization are one transaction.

What a change is allowed to do is decided inside its transaction, by the rule that the caller passes: between a look-up before
it and the change, somebody else may have been faster.
"""

import functools
import json
from collections.abc import Callable, Sequence

from schemas import Attachment, AttachmentItem, ChangeType, Record, Timestamp, Usage
from storage.catalog import columns
from storage.catalog.engine import Database, Parameters, Script, in_turn, lookup, sql
from storage.catalog.events import log_event
from storage.catalog.names import search_name

# Of a row and its id (None when there is none of that id) gives the row as it shall be, or raises what the client is told.
Rule = Callable[[Record | None, str], Record]

_RECORD = f"SELECT {columns.RECORD} FROM attachments WHERE id = ?"  # noqa: S608 (constant)
_FIND = lookup(columns.RECORD, "attachments", "id")
_FIND_TO_CHANGE = sql(_RECORD, f"{_RECORD} FOR UPDATE")  # SQLite has one writer at a time
# Two who change the same rows must lock them in the same order.
_LOCK_MANY = sql(
    "", "SELECT 1 FROM attachments WHERE id = ANY (ARRAY(SELECT jsonb_array_elements_text(?::jsonb))) ORDER BY id FOR UPDATE"
)
_BY_CAPABILITY = lookup(f"{columns.RECORD}, capability_hash", "attachments", "capability_hash")
_SEEN = lookup(columns.SEEN, "attachments", "id")
_SEEN_MANY = sql(f"SELECT {columns.SEEN} FROM attachments WHERE id IN (SELECT value FROM json_each(?))")  # noqa: S608 (constant)
_LIST = sql(
    f"SELECT {columns.ITEM} FROM attachments INDEXED BY attachments_of_conversation"  # noqa: S608 (constant)
    " WHERE organization_id = ? AND conversation_id = ? AND deleted_at IS NULL ORDER BY created_at, id"
)
_COLUMNS = (
    "id, organization_id, conversation_id, ticket_id, owner_id, filename, search_name, content_type, size, sha256,"
    " storage_path, created_at, scope, inline, file_key, capability_hash, media"
)
_INSERT = sql(
    f"INSERT INTO attachments ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 (constant)
)
_TYPES = {"size": "bigint", "sha256": "bytea", "capability_hash": "bytea", "inline": "boolean", "media": "boolean"}
_LISTS = ", ".join(f"?::{_TYPES.get(column, 'text')}[]" for column in _COLUMNS.split(", "))
# All of an insert in one round trip, and of others with it. Each part reads all of the one before it, and so comes after it:
# rows that many want are locked in the order that `last` gives them elsewhere, the counts of organizations in that of their
# ids.
_INSERT_COUNT_AND_LOG = sql(
    "",
    f"WITH added AS (INSERT INTO attachments ({_COLUMNS}) SELECT * FROM unnest({_LISTS})"  # noqa: S608 (constant)
    " RETURNING id, organization_id, conversation_id, size, created_at),"
    " counted AS (INSERT INTO organization_usage AS kept (organization_id, attachments, bytes)"
    " SELECT organization_id, count(*), sum(size) FROM added GROUP BY organization_id ORDER BY organization_id"
    " ON CONFLICT (organization_id) DO UPDATE"
    " SET attachments = kept.attachments + excluded.attachments, bytes = kept.bytes + excluded.bytes RETURNING 1),"
    " numbered AS (UPDATE event_counter SET last = last + news.events"
    " FROM (SELECT count(*) AS events FROM added) AS news, (SELECT count(*) FROM counted) AS before"
    " RETURNING last - news.events AS end)"
    " INSERT INTO events (id, kind, attachment_id, organization_id, conversation_id, created_at)"
    " SELECT numbered.end + row_number() OVER (ORDER BY added.created_at, added.id), 'created', added.id,"
    " added.organization_id, added.conversation_id, added.created_at FROM numbered, added RETURNING 1",
    shared=True,
)
_UPDATE = sql("UPDATE attachments SET conversation_id = ?, filename = ?, search_name = ?, deleted_at = ? WHERE id = ?")
_COUNT = sql(
    "INSERT INTO organization_usage (organization_id, attachments, bytes) VALUES (?, ?, ?) ON CONFLICT (organization_id)"
    " DO UPDATE SET attachments = organization_usage.attachments + excluded.attachments,"
    " bytes = organization_usage.bytes + excluded.bytes",
    last=1,
)
_EXISTS = sql("SELECT 1 FROM attachments WHERE id = ?")
_ANY = sql("SELECT id FROM attachments LIMIT 1")
_USAGE = sql("SELECT attachments, bytes FROM organization_usage WHERE organization_id = ?")


class AttachmentTable:
    """The rows of attachments, deleted ones included where a method says so.

    Every method raises SERVICE_UNAVAILABLE when the database fails.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, id: str) -> Record | None:
        """The row of that id, also when it is deleted; None if there is none."""
        row = await self._database.row(_FIND, id)
        return None if row is None else columns.record(row)

    async def of_capability(self, capability_hash: bytes) -> Record | None:
        """The row that a public link leads to, also when it is deleted; None if there is none."""
        row = await self._database.row(_BY_CAPABILITY, capability_hash)
        return None if row is None else columns.record(row)

    async def seen(self, id: str) -> Attachment | None:
        """The attachment of that id as clients see it, also when it is deleted; None if there is none."""
        row = await self._database.row(_SEEN, id)
        return None if row is None else columns.seen(row)

    async def seen_many(self, ids: Sequence[str]) -> dict[str, Attachment]:
        """The attachments of those ids as clients see them, by id, also deleted ones; ids without one are left out."""
        found = map(columns.seen, await self._database.rows(_SEEN_MANY, (json.dumps(ids),)))
        return {attachment.id: attachment for attachment in found}

    async def of_conversation(self, organization_id: str, conversation_id: str) -> list[AttachmentItem]:
        """The attachments of a conversation of that organization, oldest first, without the deleted ones."""
        rows = await self._database.rows_of_any_length(_LIST, (organization_id, conversation_id))
        return [columns.item(row) for row in rows]

    async def usage(self, organization_id: str) -> Usage:
        """How many attachments the organization has and how many bytes they are, without the deleted ones."""
        for count, size in await self._database.rows(_USAGE, (organization_id,)):
            return Usage(count=count, bytes=size)
        return Usage(count=0, bytes=0)

    async def insert(self, record: Record, capability_hash: bytes | None = None, *, media: bool = False) -> None:
        """Add the row and its `created` event; durable when this returns.

        The hash is that of its public link; `media` goes when nothing links it in time.
        """
        # Not a function of its own in here: to make one for every upload, and its annotation, takes longer than to call it.
        await self._database.write(functools.partial(_insert_alone, record, values_of(record, capability_hash, media=media)))

    async def change(self, event: ChangeType, ids: Sequence[str], rule: Rule, now: Timestamp) -> list[Record]:
        """Make of each row what `rule` says and log the event for it, all or nothing; gives the rows as they became.

        A rule may change `conversation_id`, `filename` and `deleted_at`. Raises what it raises.
        """

        def script() -> Script[list[Record]]:
            yield from lock(ids)
            return (yield from in_turn(change_one(event, id, rule, now) for id in ids))

        return await self._database.write(script)

    async def check(self) -> None:
        """Read a row, to know that the database answers."""
        await self._database.rows(_ANY, ())


def values_of(record: Record, capability_hash: bytes | None = None, *, media: bool = False) -> Parameters:
    """What the row of a new attachment has."""
    return (
        *(record.id, record.organization_id, record.conversation_id, record.ticket_id, record.owner_id, record.filename),
        *(search_name(record.filename), record.content_type, record.size, record.sha256, record.storage_path),
        *(record.created_at, record.scope, record.inline, record.file_key, capability_hash, media),
    )


def insert_one(record: Record, values: Parameters) -> Script[None]:
    """As `AttachmentTable.insert`, within a transaction, as its last step; the values are those of `values_of`."""
    yield _INSERT, values
    yield from count(record, 1)
    yield from log_event("created", record, record.created_at)


def _insert_alone(record: Record, values: Parameters) -> Script[None]:
    if not (yield _INSERT_COUNT_AND_LOG, values):
        yield from insert_one(record, values)


def count(record: Record, sign: int) -> Script[None]:
    """Add the attachment to what its organization keeps, or with -1 take it from that."""
    yield _COUNT, (record.organization_id, sign, sign * record.size)


def lock(ids: Sequence[str]) -> Script[None]:
    """Hold the rows of those ids against others until the transaction ends."""
    if len(ids) > 1:
        yield _LOCK_MANY, (json.dumps(ids),)


def exists(id: str) -> Script[bool]:
    """Whether there is a row of that id, deleted or not."""
    rows = yield _EXISTS, (id,)
    return bool(rows)


def change_one(event: ChangeType, id: str, rule: Rule, now: Timestamp) -> Script[Record]:
    """As `AttachmentTable.change`, of one row, within a transaction; a rule that gives the row itself changes nothing."""
    rows = yield _FIND_TO_CHANGE, (id,)
    before = columns.record(rows[0]) if rows else None
    after = rule(before, id)
    if after is before:
        return after
    yield _UPDATE, (after.conversation_id, after.filename, search_name(after.filename), after.deleted_at, id)
    if before is not None and (before.deleted_at is None) != (after.deleted_at is None):
        yield from count(after, 1 if after.deleted_at is None else -1)
    yield from log_event(event, after, now)
    return after
