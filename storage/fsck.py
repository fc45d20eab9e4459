"""Whether the table, the bytes and the counters agree, found out beside running servers and without changing anything.

Rows and blobs are read side by side in the order of their keys (`storage.merge`), so that memory does not grow with them. They
change meanwhile, and neither is read at one instant; so what looks wrong is asked for again before it is told:

- A row without bytes: bytes are written before their row and removed after it. So when the bytes are still missing and the row
  is still there afterwards, they are lost, or lie in quarantine.
- Bytes without a row: an upload under way has such. They are told when they are older than the grace time, and the row is still
  missing when asked for again; `sweep` takes them away.
- Sizes and digests: blobs never change, so there is nothing to ask again.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from storage.blobs import QUARANTINE, BlobInfo, Blobs
from storage.catalog import AuditTable, KeptRow
from storage.copies import condition, each
from storage.merge import Pair, merge

FindingKind: TypeAlias = Literal["missing", "quarantined", "unclaimed", "unfinished", "size", "checksum", "unreadable", "usage"]


Recount = Callable[[str], Awaitable[None]]


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that does not agree. Sizes are in bytes; `expected` is what the row says, or for counters what there is.

    `missing`: a row without bytes; `quarantined`: they lie in quarantine; `unclaimed`: whole bytes without a row;
    `unfinished`: what an upload left that never finished; `size`, `checksum`: other bytes than the row says; `unreadable`: the
    storage has them and cannot give them; `usage`: the counters of an organization.
    """

    finding: FindingKind
    key: str = ""
    attachment: str = ""
    deleted: bool = False
    organization: str = ""
    expected: str = ""
    found: str = ""
    age_s: int = 0
    repaired: bool = False


class Progress(NamedTuple):
    """Everything up to `key` was looked at: so many more rows, and the bytes of their blobs."""

    key: str
    rows: int
    size: int


class FsckOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`checksums` reads every blob, `parallel` of them at a time.

    `repair` puts back from quarantine what a row claims, and sets counters right; nothing else is ever changed.
    """

    grace_s: float
    checksums: bool = False
    repair: bool = False
    parallel: int = 4


class Fsck:
    """One look at the whole store. `recount` sets the counters of an organization right."""

    def __init__(self, table: AuditTable, blobs: Blobs, options: FsckOptions, recount: Recount) -> None:
        self._table = table
        self._blobs = blobs
        self._options = options
        self._recount = recount
        self._old_before = time.time() - options.grace_s

    async def totals(self) -> tuple[int, int]:
        """How many rows there are, and the bytes of their blobs."""
        return await self._table.totals()

    async def run(self, after: str = "") -> AsyncIterator[Finding | Progress]:
        """What is found, in order of keys from behind `after`, and how far it got: all before a Progress is done with.

        Raises SERVICE_UNAVAILABLE when the database or the storage fails.
        """
        async for pairs in merge(self._table.by_key, self._blobs.scan(after), after):
            for finding in await self._look_at(pairs):
                yield finding
            rows = [pair.row for pair in pairs if pair.row is not None]
            yield Progress(pairs[-1].key, len(rows), sum(row.size for row in rows))
        for finding in await self._usage():
            yield finding

    async def _look_at(self, pairs: Sequence[Pair]) -> list[Finding]:
        lost = [pair.row for pair in pairs if pair.row is not None and pair.blob is None]
        alone = [pair.blob for pair in pairs if pair.row is None and pair.blob is not None]
        findings, found_after_all = await self._without_bytes(lost)
        findings += await self._without_row([info for info in alone if info.modified_at <= self._old_before])
        sizes = {pair.key: pair.blob.size for pair in pairs if pair.blob is not None} | found_after_all
        there = [pair.row for pair in pairs if pair.row is not None and pair.key in sizes]
        findings += [
            _of_row("size", row, expected=str(row.size), found=str(sizes[row.key]))
            for row in there
            if sizes[row.key] != row.size
        ]
        if self._options.checksums:
            whole = [row for row in there if sizes[row.key] == row.size]
            outcomes = await each(self._read, whole, self._options.parallel)
            findings += [finding for finding in outcomes if finding is not None]
        return sorted(findings, key=lambda finding: finding.key)

    async def _without_bytes(self, rows: list[KeptRow]) -> tuple[list[Finding], dict[str, int]]:
        """What is found of rows whose blob was not seen, and the sizes of the blobs that are there after all, by key."""
        if not rows:
            return [], {}
        gone = await self._blobs.missing([row.key for row in rows])
        claimed = await self._table.known(sorted(gone))
        sizes = {row.key: await self._blobs.size_of(row.key) for row in rows if row.key not in gone}
        elsewhere = claimed - {
            key.removeprefix(QUARANTINE) for key in await self._blobs.missing([QUARANTINE + key for key in claimed])
        }
        if self._options.repair and elsewhere:
            await self._blobs.release(sorted(elsewhere))
            sizes |= {key: await self._blobs.size_of(key) for key in elsewhere}
        findings = [
            _of_row("quarantined", row, repaired=self._options.repair) if row.key in elsewhere else _of_row("missing", row)
            for row in rows
            if row.key in claimed
        ]
        return findings, {key: size for key, size in sizes.items() if size is not None}

    async def _without_row(self, infos: list[BlobInfo]) -> list[Finding]:
        """What is found of old blobs whose row was not seen; what lies in quarantine is where it should."""
        unfinished = [info for info in infos if info.unfinished]
        whole = {info.key: info for info in infos if not info.unfinished and not info.key.startswith(QUARANTINE)}
        unknown = whole.keys() - await self._table.known(list(whole))
        if unknown:  # a sweep removes the bytes just after their row
            unknown -= await self._blobs.missing(sorted(unknown))
        return [
            *(_of_blob("unfinished", info) for info in unfinished),
            *(_of_blob("unclaimed", whole[key]) for key in unknown),
        ]

    async def _read(self, row: KeptRow) -> Finding | None:
        """What is found by reading the blob of a row."""
        state, found = await condition(row, self._blobs)
        if state == "whole":
            return None
        if state == "missing":  # removed while it was read: lost only if the row is still there
            return _of_row("missing", row) if await self._table.known([row.key]) else None
        expected = {"size": str(row.size), "checksum": row.sha256.hex()}.get(state, "")
        return _of_row(state, row, expected=expected, found=found)

    async def _usage(self) -> list[Finding]:
        findings = []
        for organization_id, counted, counted_bytes, kept, kept_bytes in await self._table.usage_differences():
            if self._options.repair:
                await self._recount(organization_id)
            expected, found = f"{kept} attachments, {kept_bytes} bytes", f"{counted} attachments, {counted_bytes} bytes"
            findings.append(
                Finding(
                    finding="usage",
                    organization=organization_id,
                    expected=expected,
                    found=found,
                    repaired=self._options.repair,
                )
            )
        return findings


def _of_row(kind: FindingKind, row: KeptRow, *, expected: str = "", found: str = "", repaired: bool = False) -> Finding:
    return Finding(
        finding=kind,
        key=row.key,
        attachment=row.id,
        deleted=row.deleted,
        expected=expected,
        found=found,
        repaired=repaired,
    )


def _of_blob(kind: FindingKind, info: BlobInfo) -> Finding:
    return Finding(finding=kind, key=info.key, found=str(info.size), age_s=int(time.time() - info.modified_at))
