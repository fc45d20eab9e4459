"""The rows as `sweep` reads and removes them."""

import sqlite3

from schemas import Record, Timestamp
from storage.catalog import columns
from storage.catalog.attachments import count
from storage.catalog.events import log_event
from storage.catalog.sqlite import Sqlite

PATHS_AT_ONCE = 500  # one statement's text for any number of paths up to this: SQLite keeps it prepared

_EXPIRED = (
    f"SELECT {columns.RECORD} FROM attachments WHERE deleted_at < ? AND (deleted_at, id) > (?, ?)"  # noqa: S608 (constant)
    " ORDER BY deleted_at, id LIMIT ?"
)
_PURGE = "DELETE FROM attachments WHERE id = ? AND deleted_at < ?"
_IS_UNLINKED = "media AND conversation_id IS NULL AND deleted_at IS NULL AND created_at < ?"
_UNLINKED = (
    f"SELECT {columns.RECORD} FROM attachments INDEXED BY attachments_unlinked_media WHERE {_IS_UNLINKED}"  # noqa: S608 (constant)
    " AND (created_at, id) > (?, ?) ORDER BY created_at, id LIMIT ?"
)
_PURGE_UNLINKED = f"DELETE FROM attachments WHERE id = ? AND {_IS_UNLINKED}"  # noqa: S608 (constant)
_KNOWN_PATHS = f"SELECT storage_path FROM attachments WHERE storage_path IN ({', '.join('?' * PATHS_AT_ONCE)})"  # noqa: S608 (constant)
_BY_ID = f"SELECT {columns.RECORD} FROM attachments WHERE id > ? ORDER BY id LIMIT ?"  # noqa: S608 (constant)


class UpkeepTable:
    """The attachments of all organizations, deleted ones included. Raises SERVICE_UNAVAILABLE when the database fails."""

    def __init__(self, database: Sqlite) -> None:
        self._database = database

    async def deleted_before(self, time: Timestamp, after: tuple[str, str], limit: int) -> list[Record]:
        """Up to `limit` rows deleted before `time`, in order of (deleted_at, id), from behind `after`."""
        return [columns.record(row) for row in self._database.rows(_EXPIRED, (time, *after, limit))]

    async def purge(self, records: list[Record], before: Timestamp) -> list[Record]:
        """Remove the rows for good that are still deleted, before that time; gives those, not what was restored meanwhile."""

        def change(connection: sqlite3.Connection) -> list[Record]:
            return [record for record in records if connection.execute(_PURGE, (record.id, before)).rowcount == 1]

        return await self._database.write(change)

    async def unlinked_before(self, time: Timestamp, after: tuple[str, str], limit: int) -> list[Record]:
        """Up to `limit` media of no conversation from before `time`, in order of (created_at, id), from behind `after`."""
        return [columns.record(row) for row in self._database.rows(_UNLINKED, (time, *after, limit))]

    async def purge_unlinked(self, records: list[Record], before: Timestamp, now: Timestamp) -> list[Record]:
        """Remove the rows for good that still have no conversation; gives those, not what was linked meanwhile."""

        def change(connection: sqlite3.Connection) -> list[Record]:
            gone = [record for record in records if connection.execute(_PURGE_UNLINKED, (record.id, before)).rowcount == 1]
            for record in gone:
                count(connection, record, -1)
                log_event(connection, "deleted", record, now)
            return gone

        return await self._database.write(change)

    async def by_id(self, after: str, limit: int) -> list[Record]:
        """Up to `limit` rows by id from behind `after`."""
        return [columns.record(row) for row in self._database.rows(_BY_ID, (after, limit))]

    async def known_paths(self, paths: list[str]) -> set[str]:
        """Which of up to `PATHS_AT_ONCE` storage paths have a row, deleted or not."""
        padded = paths + [""] * (PATHS_AT_ONCE - len(paths))
        return {path for (path,) in self._database.rows(_KNOWN_PATHS, padded)}
