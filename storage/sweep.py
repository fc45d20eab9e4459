"""Bringing the folder and the table to agree, after crashes and deletions.

- Bytes without a row, older than the grace time, are removed: an upload that is still under way looks just like them.
- Attachments deleted longer ago than the retention time lose their row first, then their bytes; a crash between leaves bytes
  without a row, which the next sweep removes.
- Media of API B that no conversation came to have in time go the same way. Whether one still has none is decided in the
  transaction that removes its row: a message may link it at the same moment.
- Rows without bytes are reported and never removed: that is loss, and a person must look.
"""

import time

import msgspec

from storage.blobs import QUARANTINE, Blobs
from storage.catalog import PATHS_AT_ONCE, EventTable, UpkeepTable
from storage.clock import timestamp

_BATCH = PATHS_AT_ONCE  # rows or files at a time: bounds memory and the length of a transaction


class SweepReport(msgspec.Struct, kw_only=True):
    """What a sweep removed, or with a dry run would remove, and what it found missing."""

    orphans: list[str] = msgspec.field(default_factory=list)
    orphan_bytes: int = 0
    expired: list[str] = msgspec.field(default_factory=list)
    expired_bytes: int = 0
    unlinked: list[str] = msgspec.field(default_factory=list)
    unlinked_bytes: int = 0
    missing: list[str] = msgspec.field(default_factory=list)


class SweepAges(msgspec.Struct, frozen=True, kw_only=True):
    """How old, in seconds, must be what goes: bytes without a row, a deletion, media without a conversation."""

    grace_s: float
    retention_s: float
    unlinked_s: float


class Sweep:
    """One run over the whole store."""

    def __init__(self, table: UpkeepTable, events: EventTable, blobs: Blobs, ages: SweepAges, *, dry_run: bool) -> None:
        self._table = table
        self._events = events
        self._blobs = blobs
        now = time.time()
        self._orphans_before = now - ages.grace_s
        self._deleted_before = timestamp(now - ages.retention_s)
        self._unlinked_before = timestamp(now - ages.unlinked_s)
        self._dry_run = dry_run
        self._report = SweepReport()

    async def run(self) -> SweepReport:
        """Remove what may go. Raises SERVICE_UNAVAILABLE when the database or the storage fails; what was done stays done."""
        await self._remove_expired()
        await self._remove_unlinked()
        await self._remove_orphans()
        await self._report_missing()
        return self._report

    async def _remove_expired(self) -> None:
        after = ("", "")
        while records := await self._table.deleted_before(self._deleted_before, after, _BATCH):
            after = (records[-1].deleted_at or "", records[-1].id)
            if not self._dry_run:
                records = await self._table.purge(records, self._deleted_before)
                await self._blobs.delete([record.storage_path for record in records])
            self._report.expired += [record.storage_path for record in records]
            self._report.expired_bytes += sum(record.size for record in records)
        if not self._dry_run:
            await self._events.forget(self._deleted_before)

    async def _remove_unlinked(self) -> None:
        after = ("", "")
        while records := await self._table.unlinked_before(self._unlinked_before, after, _BATCH):
            after = (records[-1].created_at, records[-1].id)
            if not self._dry_run:
                records = await self._table.purge_unlinked(records, self._unlinked_before, timestamp())
                await self._blobs.delete([record.storage_path for record in records])
            self._report.unlinked += [record.storage_path for record in records]
            self._report.unlinked_bytes += sum(record.size for record in records)

    async def _remove_orphans(self) -> None:
        """Look up each old file's row just before the file is removed; both are read in batches."""
        async for batch in self._blobs.scan():
            old = {
                info.key: info.size
                for info in batch
                if info.modified_at <= self._orphans_before and not info.key.startswith(QUARANTINE)
            }
            orphans = sorted(old.keys() - await self._table.known_paths(list(old)))
            self._report.orphans += orphans
            self._report.orphan_bytes += sum(old[key] for key in orphans)
            if orphans and not self._dry_run:
                await self._blobs.delete(orphans)

    async def _report_missing(self) -> None:
        after = ""
        while records := await self._table.by_id(after, _BATCH):
            after = records[-1].id
            kept = {record.id: record.storage_path for record in records if record.deleted_at is None}
            gone = await self._blobs.missing(list(kept.values()))
            self._report.missing += [id for id, key in kept.items() if key in gone]
