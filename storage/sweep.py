"""Bringing the folder and the table to agree, after crashes and deletions.

- Unfinished blobs older than the grace time are removed: an upload that is still under way looks just like them. Whole ones
  without a row, which nobody claims, are moved to quarantine first and removed later: if it was the table that lost a row, or
  an old backup of it was restored, the bytes are still there. One that is claimed after all is put back.
- Attachments deleted longer ago than the retention time lose their row first, then their bytes; a crash between leaves bytes
  without a row, which the next sweep removes.
- Media of API B that no conversation came to have in time go the same way. Whether one still has none is decided in the
  transaction that removes its row: a message may link it at the same moment.
- Rows without bytes are reported and never removed: that is loss, and a person must look.
"""

import time
from collections.abc import Awaitable, Callable

import msgspec

from storage.blobs import QUARANTINE, BlobInfo, Blobs
from storage.catalog import PATHS_AT_ONCE, EventTable, UpkeepTable
from storage.clock import timestamp

_BATCH = PATHS_AT_ONCE  # rows or files at a time: bounds memory and the length of a transaction


class SweepReport(msgspec.Struct, kw_only=True):
    """What a sweep did, or with a dry run would do, by keys, and the ids of attachments that it found without bytes.

    `orphans` and `discarded` were removed: what was never finished or claimed, and that from quarantine. `quarantined` went
    there, `released` came back. `expired` and `unlinked` are of attachments.
    """

    orphans: list[str] = msgspec.field(default_factory=list)
    orphan_bytes: int = 0
    quarantined: list[str] = msgspec.field(default_factory=list)
    quarantined_bytes: int = 0
    discarded: list[str] = msgspec.field(default_factory=list)
    discarded_bytes: int = 0
    released: list[str] = msgspec.field(default_factory=list)
    released_bytes: int = 0
    expired: list[str] = msgspec.field(default_factory=list)
    expired_bytes: int = 0
    unlinked: list[str] = msgspec.field(default_factory=list)
    unlinked_bytes: int = 0
    missing: list[str] = msgspec.field(default_factory=list)


class SweepAges(msgspec.Struct, frozen=True, kw_only=True):
    """How old, in seconds, must be what goes: bytes without a row, those in quarantine, a deletion, media not linked.

    With `quarantine_s = 0` nothing is put into quarantine: what nobody claims is removed at once.
    """

    grace_s: float
    quarantine_s: float
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
        self._quarantined_before = now - ages.quarantine_s
        self._has_quarantine = ages.quarantine_s > 0
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
        """Look up each old blob's row just before the blob is moved or removed; both are read in batches."""
        async for batch in self._blobs.scan():
            old = [info for info in batch if info.modified_at <= self._orphans_before and not info.key.startswith(QUARANTINE)]
            known = await self._table.known_paths([info.key for info in old])
            orphans = [info for info in old if info.key not in known]
            removed = [info for info in orphans if info.unfinished or not self._has_quarantine]
            self._report.orphan_bytes += await self._apply(self._blobs.delete, removed, self._report.orphans)
            moved = [info for info in orphans if info not in removed]
            self._report.quarantined_bytes += await self._apply(self._quarantine, moved, self._report.quarantined)
            await self._empty_quarantine([info for info in batch if info.key.startswith(QUARANTINE)])

    async def _quarantine(self, keys: list[str]) -> None:
        """Move them aside, but for those whose rows came meanwhile: a long upload may be old when it ends."""
        await self._blobs.quarantine(keys)
        await self._blobs.release(sorted(await self._table.known_paths(keys)))

    async def _empty_quarantine(self, infos: list[BlobInfo]) -> None:
        """Put back what a row claims and lacks, whatever its age; remove the rest when it is old."""
        homes = {info.key.removeprefix(QUARANTINE): info for info in infos}
        claimed = await self._table.known_paths(list(homes))
        lacked = [homes[key] for key in sorted(await self._blobs.missing(list(claimed)))]
        self._report.released_bytes += await self._apply(self._release, lacked, self._report.released)
        old = [info for info in infos if info not in lacked and info.modified_at <= self._quarantined_before]
        self._report.discarded_bytes += await self._apply(self._blobs.delete, old, self._report.discarded)

    async def _release(self, keys: list[str]) -> None:
        await self._blobs.release([key.removeprefix(QUARANTINE) for key in keys])

    async def _apply(self, change: Callable[[list[str]], Awaitable[None]], infos: list[BlobInfo], told: list[str]) -> int:
        """Make the change unless this is a dry run, add the keys to what is told, and give how many bytes they are."""
        keys = sorted(info.key for info in infos)
        if keys and not self._dry_run:
            await change(keys)
        told += keys
        return sum(info.size for info in infos)

    async def _report_missing(self) -> None:
        after = ""
        while records := await self._table.by_id(after, _BATCH):
            after = records[-1].id
            kept = {record.id: record.storage_path for record in records if record.deleted_at is None}
            gone = await self._blobs.missing(list(kept.values()))
            self._report.missing += [id for id, key in kept.items() if key in gone]
