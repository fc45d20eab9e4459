r"""The rows of direct uploads, which decide what an upload becomes: whoever ends one first, wins.

    open --complete--> completed          in the transaction that adds the row of the attachment
        \--abort-----> aborted            by its caller, because its file is refused, or by sweep when it has expired

A row is kept until its URLs are good no more, so that what is written to them until then is removed with it.
"""

import json
from collections.abc import Sequence
from typing import Literal

import msgspec

from schemas import Record, Timestamp
from storage.catalog.attachments import insert_one, values_of
from storage.catalog.engine import Database, Row, Script, done, one_step, sql

DirectState = Literal["open", "completed", "aborted"]

_COLUMNS = (
    "id, organization_id, owner_id, state, filename, size, sha256, conversation_id, ticket_id, multipart_id, part_bytes,"
    " expires_at"
)
_OPEN = sql(
    "SELECT count(*) FROM direct_uploads WHERE organization_id = ? AND owner_id = ? AND state = 'open' AND expires_at > ?"
)
# Nobody else opens one of the caller's between the count and the row. SQLite has one writer at a time.
_LOCK_OWNER = sql("", "SELECT pg_advisory_xact_lock(hashtextextended(?, 0))")
_INSERT = sql(f"INSERT INTO direct_uploads ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")  # noqa: S608 (constant)
_FIND = sql(f"SELECT {_COLUMNS} FROM direct_uploads WHERE id = ?")  # noqa: S608 (constant)
_END = sql("UPDATE direct_uploads SET state = ? WHERE id = ? AND state = 'open' RETURNING 1")
_CLOSE_EXPIRED = sql(
    "UPDATE direct_uploads SET state = 'aborted' WHERE id IN"
    " (SELECT id FROM direct_uploads WHERE state = 'open' AND expires_at < ? ORDER BY expires_at, id LIMIT ?)"
    " AND state = 'open' RETURNING 1"  # again: on PostgreSQL somebody may have ended it while its row was waited for
)
_ALIVE = sql("SELECT id FROM direct_uploads WHERE id IN (SELECT value FROM json_each(?)) AND expires_at >= ?")
_FORGET_EXPIRED = sql(
    "DELETE FROM direct_uploads WHERE id IN"
    " (SELECT id FROM direct_uploads WHERE expires_at < ? ORDER BY expires_at, id LIMIT ?) RETURNING 1"
)


class DirectUpload(msgspec.Struct, frozen=True, kw_only=True):
    """An upload under way; `id` is that of the attachment that it becomes. Sizes are in bytes.

    `multipart_id` and `part_bytes` are of a file that comes in parts; `sha256` is what the client announced, 32 bytes.
    """

    id: str
    organization_id: str
    owner_id: str
    state: DirectState
    filename: str
    size: int
    sha256: bytes | None
    conversation_id: str | None
    ticket_id: str | None
    multipart_id: str | None
    part_bytes: int | None
    expires_at: Timestamp


class DirectTable:
    """Direct uploads of all organizations. Raises SERVICE_UNAVAILABLE when the database fails."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(self, organization_id: str, owner_id: str, now: Timestamp) -> int:
        """How many of them a caller has that can still be sent."""
        ((count,),) = await self._database.rows(_OPEN, (organization_id, owner_id, now))
        return int(count)

    async def insert(self, upload: DirectUpload, now: Timestamp, most: int) -> bool:
        """Add one, unless the caller has `most` open ones already."""

        def script() -> Script[bool]:
            yield _LOCK_OWNER, (f"direct_uploads {upload.organization_id} {upload.owner_id}",)
            ((count,),) = yield _OPEN, (upload.organization_id, upload.owner_id, now)
            if count >= most:
                return False
            yield _INSERT, msgspec.structs.astuple(upload)
            return True

        return await self._database.write(script)

    async def find(self, id: str) -> DirectUpload | None:
        """The upload of that id, in whichever state."""
        rows = await self._database.rows(_FIND, (id,))
        return _upload(rows[0]) if rows else None

    async def complete(self, record: Record) -> bool:
        """End an open upload and add the row of its attachment, which has its id; False when it was ended before."""
        values = values_of(record)

        def script() -> Script[bool]:
            if not (yield from done(_END, ("completed", record.id))):
                return False
            yield from insert_one(record, values)
            return True

        return await self._database.write(script)

    async def abort(self, id: str) -> bool:
        """End an open upload; False when it was ended before."""
        return bool(await self._database.write(one_step(_END, ("aborted", id))))

    async def close_expired(self, before: Timestamp, limit: int) -> int:
        """End up to `limit` uploads that are open and expired before that time; gives how many there were."""
        return len(await self._database.write(one_step(_CLOSE_EXPIRED, (before, limit))))

    async def alive(self, ids: Sequence[str], before: Timestamp) -> set[str]:
        """Which of the ids are of uploads, in whichever state, that did not expire before that time."""
        return {id for (id,) in await self._database.rows(_ALIVE, (json.dumps(ids), before))}

    async def forget_expired(self, before: Timestamp, limit: int) -> int:
        """Remove up to `limit` rows of uploads that expired before that time; gives how many there were."""
        return len(await self._database.write(one_step(_FORGET_EXPIRED, (before, limit))))


def _upload(row: Row) -> DirectUpload:
    return DirectUpload(**dict(zip(DirectUpload.__struct_fields__, row, strict=True)))
