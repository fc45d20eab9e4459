"""A backup and what is made of it: whole whatever happens meanwhile, verified, never written over anything."""

import asyncio
import shutil
from pathlib import Path

import pytest

from schemas import Code, ServiceError
from storage import Finding, Problem, Store, TransferOptions, fresh_id, open_store
from storage.backup import Backup
from storage.catalog import take_snapshot
from storage.disk import DiskBlobs, exclusive
from storage.transfer import Step
from tests.engines.backing import Backing, backing_of
from tests.engines.databases import SqliteFile
from tests.storage.conftest import PNG, caller, files, keep

CONTENT = PNG + bytes(range(256)) * 9
pytestmark = pytest.mark.only_on("sqlite", reason="backups are of the embedded database; PostgreSQL has its own")


def database_of(backing: Backing) -> Path:
    assert isinstance(backing.database, SqliteFile)
    return backing.database.path


async def back_up(store: Store, backing: Backing, folder: Path) -> tuple[list[Problem], int]:
    """The problems, and how many files were copied."""
    events = [event async for event in store.backup(folder, database_of(backing), 60.0, TransferOptions())]
    return [event for event in events if isinstance(event, Problem)], sum(
        event.copied for event in events if isinstance(event, Step)
    )


async def verified(folder: Path) -> list[Finding]:
    return [event async for event in Backup(folder).verify(2) if isinstance(event, Finding)]


async def restored(folder: Path, to: Path, *, partial: bool = False) -> list[Problem]:
    target = DiskBlobs(to / "blobs")
    try:
        run = Backup(folder).restore(to / "attachd.db", target, TransferOptions(verify=True), partial=partial)
        return [event async for event in run if isinstance(event, Problem)]
    finally:
        await target.aclose()


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    return tmp_path / "backup"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Where a backup is put."""
    return tmp_path / "copy"


async def content_of(to: Path, ids: list[str]) -> dict[str, bytes]:
    """The files of attachments in what was put back."""
    async with await open_store(database_url=f"sqlite:///{to}/attachd.db", directory=to / "blobs") as store:
        contents = {}
        for id in ids:
            async with await store.attachments.download(caller(), id) as download:
                contents[id] = bytes(await download.read(0, download.record.size))
        return contents


async def test_there_and_back(store: Store, backing: Backing, backup: Path, copy: Path) -> None:
    contents = {
        await keep(store.attachments, PNG + bytes([number]) * 1000): PNG + bytes([number]) * 1000 for number in range(5)
    }
    deleted = await keep(store.attachments)
    await store.attachments.delete(caller(), deleted)
    assert await back_up(store, backing, backup) == ([], 6)
    manifest = Backup(backup).manifest()
    assert (manifest.attachments, manifest.bytes, manifest.problems) == (6, 5 * 1008 + 9, 0)
    assert (backup.stat().st_mode & 0o777, (backup / manifest.database).stat().st_mode & 0o777) == (0o700, 0o600)
    before = files(backup)
    assert await verified(backup) == []
    assert await restored(backup, copy) == []
    assert files(backup) == before
    assert await content_of(copy, list(contents)) == contents
    async with await open_store(database_url=f"sqlite:///{copy}/attachd.db", directory=copy / "blobs") as again:
        assert (await again.attachments.restore(caller(role="admin"), deleted)).id == deleted


async def test_what_is_there_is_not_copied_again(store: Store, backing: Backing, backup: Path, copy: Path) -> None:
    first, kept = [await keep(store.attachments, CONTENT) for _ in range(2)]
    await back_up(store, backing, backup)
    assert await back_up(store, backing, backup) == ([], 0)
    second = await keep(store.attachments, CONTENT)
    backing.query("DELETE FROM attachments WHERE id = ?", first)
    assert await back_up(store, backing, backup) == ([], 1)
    blobs = {f"blobs/{backing.key_of(id)}" for id in (kept, second)}
    assert {name for name in files(backup) if name.startswith("blobs")} == blobs
    assert len(files(backup)) == 4, "one manifest, one database"
    assert await restored(backup, copy) == []
    assert await content_of(copy, [kept, second]) == {kept: CONTENT, second: CONTENT}


async def test_the_backup_of_another_database_is_left_alone(
    store: Store, backing: Backing, backup: Path, tmp_path: Path
) -> None:
    """Such as one that was made anew because a disk was not mounted; it may have attachments by now."""
    await keep(store.attachments, CONTENT)
    await back_up(store, backing, backup)
    before = files(backup)
    other = backing_of(tmp_path / "other")
    for count in range(2):
        async with await open_store(database_url=other.database_url, directory=tmp_path / "blobs") as strange:
            for _ in range(count):
                await keep(strange.attachments)
            with pytest.raises(
                ServiceError, match="has a backup of 1 attachments, none of which is in this database"
            ) as caught:
                await back_up(strange, other, backup)
        assert caught.value.code is Code.CONFLICT
        assert files(backup) == before
    assert await back_up(store, backing, backup) == ([], 0)


async def test_beside_uploads_deletions_and_sweeps(store: Store, backing: Backing, backup: Path, tmp_path: Path) -> None:
    """Every backup that was taken under load has all that was acknowledged before it, and nothing that does not agree."""
    ended = asyncio.Event()
    acknowledged: set[str] = set()
    for _ in range(20):
        acknowledged.add(await keep(store.attachments))

    async def upload() -> None:
        while not ended.is_set():
            acknowledged.add(await keep(store.attachments))

    async def delete() -> None:
        while not ended.is_set():
            id = await keep(store.attachments)
            await store.attachments.delete(caller(), id)

    async def sweep() -> None:
        while not ended.is_set():
            await store.sweep(grace_s=60, retention_s=-1, unlinked_s=1e9, dry_run=False)

    async with asyncio.TaskGroup() as group:
        for work in (upload, upload, delete, delete, sweep):
            group.create_task(work())
        for number in range(4):
            before = set(acknowledged)
            problems, _ = await back_up(store, backing, backup)
            assert problems == []
            assert await verified(backup) == []
            to = tmp_path / f"copy{number}"
            assert await restored(backup, to) == []
            assert set(await content_of(to, sorted(before))) == before
            usage = SqliteFile(to / "attachd.db").query(
                "SELECT u.attachments - count(a.id) FROM organization_usage u LEFT JOIN attachments a"
                " ON a.organization_id = u.organization_id AND a.deleted_at IS NULL GROUP BY u.organization_id"
            )
            assert usage == [(0,)]
        ended.set()


async def test_a_row_that_a_sweep_removes_meanwhile_is_taken_out(
    store: Store, backing: Backing, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, deleted, unlinked = [await keep(store.attachments, CONTENT) for _ in range(3)]
    await store.attachments.delete(caller(), deleted)

    def take_then_sweep(*arguments: object) -> None:
        take_snapshot(*arguments)  # type: ignore[arg-type]
        for id in (deleted, unlinked):
            backing.lose_bytes(id)
            backing.query("DELETE FROM attachments WHERE id = ?", id)

    monkeypatch.setattr("storage.backup.take_snapshot", take_then_sweep)
    assert await back_up(store, backing, backup) == ([], 1)
    manifest = Backup(backup).manifest()
    assert (manifest.attachments, manifest.problems) == (1, 0)
    snapshot = SqliteFile(backup / manifest.database)
    assert snapshot.query("SELECT id FROM attachments") == [(kept,)]
    assert snapshot.query("SELECT attachments, bytes FROM organization_usage") == [(1, len(CONTENT))]


async def test_what_the_store_has_lost_is_told_and_the_rest_is_kept(
    store: Store, backing: Backing, backup: Path, copy: Path
) -> None:
    lost, damaged, whole = [await keep(store.attachments, CONTENT) for _ in range(3)]
    key = backing.key_of(damaged)
    backing.lose_bytes(lost)
    backing.bytes.write(key, CONTENT[:-1] + b"!")
    problems, copied = await back_up(store, backing, backup)
    assert ({problem.attachment: problem.problem for problem in problems}, copied) == (
        {lost: "missing", damaged: "checksum"},
        1,
    )
    assert Backup(backup).manifest().problems == 2
    assert {finding.attachment for finding in await verified(backup)} == {lost, damaged}
    assert {problem.attachment for problem in await restored(backup, copy)} == {lost, damaged}
    assert not (copy / "attachd.db").exists()
    assert len(await restored(backup, copy, partial=True)) == 2
    assert await content_of(copy, [whole]) == {whole: CONTENT}


async def test_what_the_store_loses_later_is_still_in_the_backup(store: Store, backing: Backing, backup: Path) -> None:
    id = await keep(store.attachments, CONTENT)
    await back_up(store, backing, backup)
    backing.lose_bytes(id)
    assert await back_up(store, backing, backup) == ([], 0)
    assert (backup / "blobs" / backing.key_of(id)).read_bytes() == CONTENT


async def test_a_damaged_backup_is_found(store: Store, backing: Backing, backup: Path, copy: Path, tmp_path: Path) -> None:
    ids = [await keep(store.attachments, CONTENT) for _ in range(3)]
    removed, truncated, flipped = [backup / "blobs" / backing.key_of(id) for id in ids]
    await back_up(store, backing, backup)
    whole = shutil.copytree(backup, tmp_path / "whole")
    removed.unlink()
    truncated.write_bytes(CONTENT[:-1])
    flipped.write_bytes(CONTENT[:-1] + b"!")
    expected = {ids[0]: "missing", ids[1]: "size", ids[2]: "checksum"}
    assert {finding.attachment: finding.finding for finding in await verified(backup)} == expected
    assert {problem.attachment: problem.problem for problem in await restored(backup, copy)} == expected
    assert not (copy / "attachd.db").exists()
    for damage in (flip, truncate, remove, remove_manifest, spoil_manifest, remove_blobs):
        shutil.rmtree(backup)
        shutil.copytree(whole, backup)
        damage(backup)
        for attempt in (verified(backup), restored(backup, copy)):
            with pytest.raises(ServiceError) as caught:
                await attempt
            assert caught.value.code is Code.CONFLICT, damage.__name__
        assert not (copy / "attachd.db").exists()


def flip(backup: Path) -> None:
    (database,) = backup.glob("*.db")
    content = bytearray(database.read_bytes())
    content[len(content) // 2] ^= 1
    database.write_bytes(content)


def truncate(backup: Path) -> None:
    (database,) = backup.glob("*.db")
    database.write_bytes(database.read_bytes()[:-1])


def remove(backup: Path) -> None:
    (database,) = backup.glob("*.db")
    database.unlink()


def remove_manifest(backup: Path) -> None:
    (backup / "manifest.json").unlink()


def spoil_manifest(backup: Path) -> None:
    (backup / "manifest.json").write_text((backup / "manifest.json").read_text().replace("attachd-", "../attachd-"))


def remove_blobs(backup: Path) -> None:
    shutil.rmtree(backup / "blobs")


@pytest.mark.parametrize("name", ["attachd.db", "attachd.db-wal", "attachd.db-shm", "attachd.db-journal"])
async def test_nothing_is_written_over(store: Store, backing: Backing, backup: Path, copy: Path, name: str) -> None:
    id = await keep(store.attachments, CONTENT)
    await back_up(store, backing, backup)
    copy.mkdir()
    (copy / name).write_bytes(b"mine")
    with pytest.raises(ServiceError) as caught:
        await restored(backup, copy)
    assert caught.value.message == f"{copy / name} exists, and nothing is ever written over: move it away, then restore"
    assert (copy / name).read_bytes() == b"mine"
    (copy / name).unlink()
    there = copy / "blobs" / backing.key_of(id)
    there.parent.mkdir(parents=True)
    for content, problem in ((CONTENT[:-1], "size"), (CONTENT[:-1] + b"!", "checksum")):
        there.write_bytes(content)
        assert [(found.problem, found.place) for found in await restored(backup, copy)] == [(problem, "target")]
        assert there.read_bytes() == content
        assert not (copy / "attachd.db").exists()
    there.write_bytes(CONTENT)
    other = copy / "blobs/attachments/org-1" / fresh_id()
    other.write_bytes(b"of an upload after the backup")
    assert await restored(backup, copy) == []
    assert other.read_bytes() == b"of an upload after the backup"


async def test_a_folder_of_something_else_is_left_alone(store: Store, backing: Backing, backup: Path) -> None:
    backup.mkdir()
    (backup / "notes.txt").write_text("mine")
    with pytest.raises(ServiceError) as caught:
        await back_up(store, backing, backup)
    assert "notes.txt" in caught.value.message
    assert files(backup) == ["notes.txt"]


async def test_one_at_a_time(store: Store, backing: Backing, backup: Path, copy: Path) -> None:
    await back_up(store, backing, backup)
    with exclusive(backup):
        for attempt in (back_up(store, backing, backup), verified(backup), restored(backup, copy)):
            with pytest.raises(ServiceError) as caught:
                await attempt
            assert caught.value.code is Code.CONFLICT


async def test_a_backup_of_a_newer_version(store: Store, backing: Backing, backup: Path, copy: Path) -> None:
    await back_up(store, backing, backup)
    manifest = backup / "manifest.json"
    revision = Backup(backup).manifest().schema_revision
    manifest.write_text(manifest.read_text().replace(f'"{revision}"', '"9999"'))
    with pytest.raises(ServiceError) as caught:
        await restored(backup, copy)
    assert "install the newer attachd" in caught.value.message
