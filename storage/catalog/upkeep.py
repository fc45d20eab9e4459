"""The rows as `sweep` reads and removes them."""

import itertools
import json

from schemas import Record, Timestamp
from storage.catalog import columns
from storage.catalog.attachments import count, lock
from storage.catalog.engine import Database, Script, done, in_turn, sql
from storage.catalog.events import log_event

PATHS_AT_ONCE = 500

_EXPIRED = sql(
    f"SELECT {columns.RECORD} FROM attachments WHERE deleted_at < ? AND (deleted_at, id) > (?, ?)"  # noqa: S608 (constant)
    " ORDER BY deleted_at, id LIMIT ?"
)
_PURGE = sql("DELETE FROM attachments WHERE id = ? AND deleted_at < ? RETURNING 1")
_IS_UNLINKED = "media AND conversation_id IS NULL AND deleted_at IS NULL AND created_at < ?"
_UNLINKED = sql(
    f"SELECT {columns.RECORD} FROM attachments INDEXED BY attachments_unlinked_media WHERE {_IS_UNLINKED}"  # noqa: S608 (constant)
    " AND (created_at, id) > (?, ?) ORDER BY created_at, id LIMIT ?"
)
_PURGE_UNLINKED = sql(f"DELETE FROM attachments WHERE id = ? AND {_IS_UNLINKED} RETURNING 1")  # noqa: S608 (constant)
_KNOWN_PATHS = sql("SELECT storage_path FROM attachments WHERE storage_path IN (SELECT value FROM json_each(?))")
_BY_ID = sql(f"SELECT {columns.RECORD} FROM attachments WHERE id > ? ORDER BY id LIMIT ?")  # noqa: S608 (constant)

# Whoever changes the count of the organization now waits; what it has changed already is seen by the statement behind this.
_HOLD = sql(
    "INSERT INTO organization_usage (organization_id, attachments, bytes) VALUES (?, 0, 0) ON CONFLICT (organization_id)"
    " DO UPDATE SET attachments = organization_usage.attachments"
)
_RECOUNT = sql(
    "UPDATE organization_usage SET (attachments, bytes) = (SELECT COUNT(*), COALESCE(SUM(size), 0) FROM attachments"
    " WHERE organization_id = ? AND deleted_at IS NULL) WHERE organization_id = ?"
)


class UpkeepTable:
    """The attachments of all organizations, deleted ones included. Raises SERVICE_UNAVAILABLE when the database fails."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def deleted_before(self, time: Timestamp, after: tuple[str, str], limit: int) -> list[Record]:
        """Up to `limit` rows deleted before `time`, in order of (deleted_at, id), from behind `after`."""
        return [columns.record(row) for row in await self._database.rows(_EXPIRED, (time, *after, limit))]

    async def purge(self, records: list[Record], before: Timestamp) -> list[Record]:
        """Remove the rows for good that are still deleted, before that time; gives those, not what was restored meanwhile."""

        def script() -> Script[list[Record]]:
            yield from lock([record.id for record in records])
            gone = yield from in_turn(done(_PURGE, (record.id, before)) for record in records)
            return list(itertools.compress(records, gone))

        return await self._database.write(script)

    async def unlinked_before(self, time: Timestamp, after: tuple[str, str], limit: int) -> list[Record]:
        """Up to `limit` media of no conversation from before `time`, in order of (created_at, id), from behind `after`."""
        return [columns.record(row) for row in await self._database.rows(_UNLINKED, (time, *after, limit))]

    async def purge_unlinked(self, records: list[Record], before: Timestamp, now: Timestamp) -> list[Record]:
        """Remove the rows for good that still have no conversation; gives those, not what was linked meanwhile."""

        def script() -> Script[list[Record]]:
            yield from lock([record.id for record in records])
            done_to = yield from in_turn(done(_PURGE_UNLINKED, (record.id, before)) for record in records)
            gone = list(itertools.compress(records, done_to))
            for record in sorted(gone, key=lambda record: record.organization_id):  # as all who change several counts
                yield from count(record, -1)
            for record in gone:
                yield from log_event("deleted", record, now)
            return gone

        return await self._database.write(script)

    async def by_id(self, after: str, limit: int) -> list[Record]:
        """Up to `limit` rows by id from behind `after`."""
        return [columns.record(row) for row in await self._database.rows(_BY_ID, (after, limit))]

    async def known_paths(self, paths: list[str]) -> set[str]:
        """Which of up to `PATHS_AT_ONCE` storage paths have a row, deleted or not."""
        return {path for (path,) in await self._database.rows(_KNOWN_PATHS, (json.dumps(paths),))}

    async def recount(self, organization_id: str) -> None:
        """Set the counters of an organization right."""

        def script() -> Script[None]:
            yield _HOLD, (organization_id,)
            yield _RECOUNT, (organization_id, organization_id)

        await self._database.write(script)
