"""The folder and the table agree after a sweep."""

import os
import time
from pathlib import Path

import pytest

from schemas import Record
from storage import API_A, Details, Store, SweepReport, fresh_id
from storage.catalog import UpkeepTable
from storage.sweep import SweepAges
from tests.engines.backing import Backing
from tests.storage.conftest import PNG, caller, files, keep

HOUR, DAY = 3600.0, 86400.0


async def sweep(
    store: Store, *, grace_s: float = HOUR, retention_s: float = DAY, unlinked_s: float = DAY, dry_run: bool = False
) -> SweepReport:
    return await store.sweep(grace_s=grace_s, retention_s=retention_s, unlinked_s=unlinked_s, dry_run=dry_run)


on_disk = pytest.mark.only_on("local", reason="ages of files: what a store of objects was given last cannot be told to be old")


def orphan(directory: Path, name: str, age_s: float) -> str:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"12345")
    os.utime(path, (time.time() - age_s,) * 2)
    return name


async def test_a_store_that_agrees_is_left_alone(store: Store, backing: Backing) -> None:
    await keep(store.attachments)
    before = backing.bytes.kept()
    assert await sweep(store, grace_s=0) == SweepReport()
    assert backing.bytes.kept() == before


@on_disk
async def test_old_bytes_without_a_row_go_and_young_ones_stay(store: Store, directory: Path) -> None:
    id = await keep(store.attachments)
    kept = files(directory)[0]
    old = [
        orphan(directory, name, 2 * HOUR) for name in (f"attachments/o/{fresh_id()}", f"attachments/o/.{fresh_id()}.partial")
    ]
    young = orphan(directory, f"attachments/o/{fresh_id()}", HOUR / 2)
    os.utime(directory / kept, (0, 0))
    report = await sweep(store, dry_run=True)
    assert report == SweepReport(orphans=sorted(old), orphan_bytes=10)
    assert set(files(directory)) == {kept, young, *old}
    assert await sweep(store) == report
    assert set(files(directory)) == {kept, young}
    assert (await store.attachments.get(caller(), id)).id == id


@pytest.mark.parametrize("dry_run", [True, False])
async def test_what_was_deleted_long_ago_loses_row_and_bytes(store: Store, backing: Backing, dry_run: bool) -> None:
    id = await keep(store.attachments, who=caller(role="admin"))
    await store.attachments.delete(caller(role="admin"), id)
    paths = sorted(backing.bytes.kept())
    assert await sweep(store) == SweepReport()  # within the retention time
    report = await sweep(store, retention_s=-1, dry_run=dry_run)
    assert (report.expired, report.expired_bytes, report.orphans, report.missing) == (paths, 9, [], [])
    assert backing.bytes.kept() == set(paths if dry_run else ())
    again = await sweep(store, retention_s=-1, dry_run=dry_run)
    assert again.expired == (paths if dry_run else [])


async def test_lost_bytes_are_reported_and_their_row_stays(store: Store, backing: Backing) -> None:
    id, other = await keep(store.attachments), await keep(store.attachments)
    backing.lose_bytes(id)
    report = await sweep(store)
    assert report == SweepReport(missing=[id])
    assert (await store.attachments.get(caller(), id)).id == id
    assert (await store.attachments.get(caller(), other)).id == other


@on_disk
async def test_more_than_a_batch(store: Store, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.sweep._BATCH", 3)
    kept = [await keep(store.attachments) for _ in range(10)]
    gone = [await keep(store.attachments) for _ in range(7)]
    for id in gone:
        await store.attachments.delete(caller(), id)
    for _ in range(8):
        orphan(directory, f"attachments/x/{fresh_id()}", 2 * HOUR)
    report = await sweep(store, retention_s=-1)
    assert (len(report.expired), len(report.orphans), report.missing) == (7, 8, [])
    assert {path.rsplit("/", 1)[1] for path in files(directory)} == set(kept)


@pytest.mark.parametrize(
    "name", ["notes.txt", "attachments/notes.txt", "attachments/o/notes.txt", "attachments/o/p/x", "other/.x.partial"]
)
@on_disk
async def test_files_of_somebody_else_are_left_alone(store: Store, directory: Path, name: str) -> None:
    """A folder that was named by mistake must not be emptied."""
    orphan(directory, name, 99 * DAY)
    assert await sweep(store, grace_s=0) == SweepReport()
    assert files(directory) == [name]


async def keep_media(store: Store, conversation_id: str | None = None) -> str:
    """Upload a file by API B; gives its id."""
    async with store.attachments.upload(caller(), "a.png", API_A) as upload:
        await upload.write(PNG)
        return (await upload.commit(Details(media=True, conversation_id=conversation_id))).id


@pytest.mark.parametrize("dry_run", [True, False])
async def test_media_that_nothing_linked_in_time_are_removed(store: Store, backing: Backing, dry_run: bool) -> None:
    unlinked = [await keep_media(store) for _ in range(2)]
    linked, late = await keep_media(store, fresh_id()), await keep_media(store)
    await store.attachments.attach(caller(), [late], fresh_id())
    deleted = await keep_media(store)
    await store.attachments.delete(caller(), deleted)
    async with store.attachments.upload(caller(), "a.png", API_A) as upload:  # of another API
        await upload.write(PNG)
        other = (await upload.commit()).id
    assert await sweep(store, unlinked_s=60) == SweepReport()  # all are younger
    report = await sweep(store, unlinked_s=-1, dry_run=dry_run)
    paths = [f"attachments/org-1/{id}" for id in unlinked]
    assert report == SweepReport(unlinked=paths, unlinked_bytes=2 * len(PNG))
    kept = {linked, late, deleted, other, *(unlinked if dry_run else ())}
    assert {path.rsplit("/", 1)[1] for path in backing.bytes.kept()} == kept
    usage = await store.attachments.usage(caller())
    assert (usage.count, usage.bytes) == (len(kept) - 1, (len(kept) - 1) * len(PNG))
    found = await store.attachments.get_many(caller(role="admin"), unlinked)
    assert found.missing == ([] if dry_run else unlinked)


async def test_media_linked_while_the_sweep_runs_stay(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    id = await keep_media(store)
    purge = UpkeepTable.purge_unlinked

    async def purge_later(table: UpkeepTable, records: list[Record], before: str, now: str) -> list[Record]:
        assert [record.id for record in records] == [id]
        await store.attachments.attach(caller(), [id], fresh_id())
        return await purge(table, records, before, now)

    monkeypatch.setattr(UpkeepTable, "purge_unlinked", purge_later)
    assert await sweep(store, unlinked_s=-1) == SweepReport()
    async with await store.attachments.download(caller(), id) as download:
        assert await download.read(0, len(PNG)) == PNG


async def test_more_unlinked_media_than_a_batch(store: Store, backing: Backing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.sweep._BATCH", 3)
    for _ in range(7):
        await keep_media(store)
    assert len((await sweep(store, unlinked_s=-1)).unlinked) == 7
    assert backing.bytes.kept() == set()


async def test_whole_bytes_of_nobody_lie_in_quarantine_first(store: Store, backing: Backing) -> None:
    kept, key = await keep(store.attachments), f"attachments/org-1/{fresh_id()}"
    backing.bytes.write(key, b"12345")
    now = SweepAges(grace_s=-60, quarantine_s=DAY, retention_s=DAY, unlinked_s=DAY)
    assert await swept(store, now, dry_run=True) == SweepReport(quarantined=[key], quarantined_bytes=5)
    assert await swept(store, now) == SweepReport(quarantined=[key], quarantined_bytes=5)
    assert backing.bytes.kept() == {backing.key_of(kept), f"quarantine/{key}"}
    assert backing.bytes.read(f"quarantine/{key}") == b"12345"
    assert await swept(store, now) == SweepReport(), "it came there just now"
    later = SweepAges(grace_s=-60, quarantine_s=1e-9, retention_s=DAY, unlinked_s=DAY)
    assert await swept(store, later) == SweepReport(discarded=[f"quarantine/{key}"], discarded_bytes=5)
    assert backing.bytes.kept() == {backing.key_of(kept)}


async def test_what_is_claimed_comes_back_from_quarantine(store: Store, backing: Backing) -> None:
    id, other = await keep(store.attachments), await keep(store.attachments)
    key, there = backing.key_of(id), backing.key_of(other)
    backing.bytes.write(f"quarantine/{key}", backing.bytes.read(key))
    backing.bytes.remove(key)
    backing.bytes.write(f"quarantine/{there}", b"old")
    ages = SweepAges(grace_s=-60, quarantine_s=DAY, retention_s=DAY, unlinked_s=DAY)
    report = await swept(store, ages)
    assert report == SweepReport(released=[f"quarantine/{key}"], released_bytes=len(PNG) + 1)
    assert backing.bytes.read(key) == backing.bytes.read(there) == PNG + b"x"
    async with await store.attachments.download(caller(), id) as download:
        assert await download.read(0, len(PNG)) == PNG


async def swept(store: Store, ages: SweepAges, *, dry_run: bool = False) -> SweepReport:
    return await store.sweep(
        grace_s=ages.grace_s,
        quarantine_s=ages.quarantine_s,
        retention_s=ages.retention_s,
        unlinked_s=ages.unlinked_s,
        dry_run=dry_run,
    )


async def test_bytes_whose_row_comes_while_they_are_put_aside_come_back(
    store: Store, backing: Backing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of an upload that took longer than the grace time: they are old when they are whole, and their row follows."""
    id = await keep(store.attachments)
    known, asked = UpkeepTable.known_paths, []

    async def known_later(table: UpkeepTable, paths: list[str]) -> set[str]:
        asked.append(paths)
        return set() if len(asked) == 1 else await known(table, paths)

    monkeypatch.setattr(UpkeepTable, "known_paths", known_later)
    await swept(store, SweepAges(grace_s=-60, quarantine_s=DAY, retention_s=DAY, unlinked_s=DAY))
    assert asked[0] == [backing.key_of(id)]
    assert backing.bytes.kept() == {backing.key_of(id)}
