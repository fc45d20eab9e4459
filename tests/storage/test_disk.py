"""What the folder of blobs can do beside writing and reading: which are there, in which order, moving and removing them."""

import asyncio
import hashlib
import itertools
import os
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from schemas import Code, ServiceError
from storage import fresh_id
from storage.blobs import BLOBS_AT_ONCE, BlobInfo, Blobs
from storage.disk import DiskBlobs
from storage.disk.groups import GROUP_LIMIT, Groups
from storage.threads import Threads
from tests.storage.conftest import files


@pytest.fixture
async def blobs(directory: Path) -> AsyncIterator[DiskBlobs]:
    opened = DiskBlobs(directory)
    yield opened
    await opened.aclose()


def put(directory: Path, key: str, size: int = 5) -> str:
    path = directory / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    os.utime(path, (1000, 1000))
    return key


async def scanned(blobs: DiskBlobs, after: str = "") -> list[BlobInfo]:
    return [info async for batch in blobs.scan(after) for info in batch]


async def test_a_scan_gives_what_is_ours_and_nothing_else(blobs: DiskBlobs, directory: Path) -> None:
    id = fresh_id()
    ours = {
        put(directory, f"attachments/o/{id}"): False,
        put(directory, f"quarantine/attachments/o/{id}"): False,
        put(directory, f"attachments/o/.{id}.partial"): True,
        put(directory, f".check-{id}.partial"): True,
    }
    for other in (f"attachments/{id}", f"other/o/{id}", "attachments/o/notes.txt", f"attachments/o/p/{id}", id):
        put(directory, other)
    (directory / "attachments/link").symlink_to(directory / "other")
    assert {info.key: info.unfinished for info in await scanned(blobs)} == ours
    assert {(info.size, info.modified_at) for info in await scanned(blobs)} == {(5, 1000.0)}


async def test_a_scan_goes_on_where_one_was_left(blobs: DiskBlobs, directory: Path) -> None:
    keys = [put(directory, f"attachments/{folder}/{fresh_id()}") for folder in ("a", "a-b", "a.c", "b") for _ in range(3)]
    keys += [put(directory, f"quarantine/attachments/a/{fresh_id()}"), put(directory, f".check-{fresh_id()}.partial")]
    in_order = [info.key for info in await scanned(blobs)]
    assert in_order == sorted(keys)
    for count, key in enumerate(in_order, 1):
        assert [info.key for info in await scanned(blobs, key)] == in_order[count:]


async def test_batches_are_bounded(blobs: DiskBlobs, directory: Path) -> None:
    for number in range(BLOBS_AT_ONCE + 1):
        put(directory, f"attachments/o{number % 3}/{fresh_id()}", 0)
    assert [len(batch) async for batch in blobs.scan()] == [BLOBS_AT_ONCE, 1]


async def test_an_empty_store(blobs: DiskBlobs, directory: Path) -> None:
    assert await scanned(blobs) == []
    directory.rmdir()
    with pytest.raises(ServiceError) as caught:
        await scanned(blobs)
    assert caught.value.code is Code.SERVICE_UNAVAILABLE


async def test_which_are_missing_and_how_large_they_are(blobs: DiskBlobs, directory: Path) -> None:
    there, gone = put(directory, f"attachments/o/{fresh_id()}", 7), f"attachments/o/{fresh_id()}"
    assert await blobs.missing([there, gone]) == {gone}
    assert (await blobs.size_of(there), await blobs.size_of(gone)) == (7, None)
    put(directory, "attachments/file")
    with pytest.raises(ServiceError) as caught:
        await blobs.missing([f"attachments/file/{fresh_id()}"])  # a folder that is none: a failure, and nothing is missing
    assert caught.value.code is Code.SERVICE_UNAVAILABLE


async def test_quarantine_keeps_the_bytes(blobs: DiskBlobs, directory: Path) -> None:
    keys = [put(directory, f"attachments/{folder}/{fresh_id()}", 9) for folder in ("a", "b")]
    await blobs.quarantine([*keys, f"attachments/a/{fresh_id()}", f"attachments/none/{fresh_id()}"])
    assert files(directory) == sorted(f"quarantine/{key}" for key in keys)
    assert await blobs.size_of(f"quarantine/{keys[0]}") == 9
    await blobs.quarantine(keys)
    await blobs.delete([f"quarantine/{key}" for key in keys])
    await blobs.delete([f"quarantine/{key}" for key in keys])
    assert files(directory) == []


async def test_quarantine_can_be_undone(blobs: DiskBlobs, directory: Path) -> None:
    key, other, never = (put(directory, f"attachments/a/{fresh_id()}", 9) for _ in range(3))
    await blobs.quarantine([key, other])
    (moved,) = [info for info in await scanned(blobs) if info.key == f"quarantine/{key}"]
    assert moved.modified_at > time.time() - 60, "the file is as old as its time in quarantine"
    put(directory, other, 3)
    await blobs.release([key, other, never, f"attachments/b/{fresh_id()}"])
    assert files(directory) == sorted([key, other, never, f"quarantine/{other}"])
    assert [await blobs.size_of(each) for each in (key, other, f"quarantine/{other}")] == [9, 3, 9]


async def test_a_folder_has_no_links(blobs: DiskBlobs) -> None:
    somewhere: Blobs = blobs
    assert somewhere.link("attachments/o/x", content_type="a/b", disposition="inline", expires_s=1) is None


async def test_what_is_cancelled_in_a_hop_is_removed_behind_it(
    blobs: DiskBlobs, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread goes on writing: neither is the file taken away beneath it, nor comes it back."""
    begun, go_on, sync = threading.Event(), threading.Event(), os.fsync

    def slow(descriptor: int) -> None:
        begun.set()
        assert go_on.wait(60)
        sync(descriptor)

    other, writer = (blobs.create(f"attachments/o/{fresh_id()}") for _ in range(2))
    await other.write(b"bytes")
    await other.commit()  # makes the folder, too
    await writer.write(b"bytes")
    monkeypatch.setattr(os, "fsync", slow)
    commit = asyncio.create_task(writer.commit())
    assert await asyncio.to_thread(begun.wait, 60)
    commit.cancel()
    with pytest.raises(asyncio.CancelledError):
        await commit
    writer.abort()
    await asyncio.sleep(0.05)
    assert len(files(directory)) == 2, "a thread is at it"
    go_on.set()
    await blobs.aclose()
    assert len(files(directory)) == 1


async def keep(blobs: DiskBlobs, key: str, data: bytes) -> bytes | ServiceError:
    """The digest of what was kept, or why it was not."""
    writer = blobs.create(key)
    try:
        await writer.write(data)
        return await writer.commit()
    except ServiceError as error:
        writer.abort()
        return error


async def test_many_files_that_end_at_once(blobs: DiskBlobs, directory: Path) -> None:
    """More than one group of them, in several folders."""
    contents = {f"attachments/{number % 3}/{fresh_id()}": b"%d" % number * 1000 for number in range(3 * GROUP_LIMIT)}
    digests = await asyncio.gather(*(keep(blobs, key, data) for key, data in contents.items()))
    assert digests == [hashlib.sha256(data).digest() for data in contents.values()]
    assert {key: (directory / key).read_bytes() for key in contents} == contents
    assert len(files(directory)) == len(contents)


async def test_a_file_fails_alone(blobs: DiskBlobs, directory: Path) -> None:
    """Others end with it and are kept: one whose folder cannot be made, one whose name cannot be given."""
    (directory / "attachments/taken").mkdir(parents=True)
    (directory / "attachments/file").write_bytes(b"")
    occupied = f"attachments/taken/{fresh_id()}"
    (directory / occupied).mkdir()
    good = [f"attachments/{name}/{fresh_id()}" for name in ("taken", "other") for _ in range(5)]
    keys = [*good[:5], f"attachments/file/{fresh_id()}", occupied, *good[5:]]
    outcomes = dict(zip(keys, await asyncio.gather(*(keep(blobs, key, key.encode()) for key in keys)), strict=True))
    for key, outcome in outcomes.items():
        if key in good:
            assert outcome == hashlib.sha256(key.encode()).digest()
            assert (directory / key).read_bytes() == key.encode()
        else:
            assert isinstance(outcome, ServiceError)
            assert outcome.code is Code.SERVICE_UNAVAILABLE
    await blobs.aclose()
    assert not [name for name in files(directory) if name.endswith(".partial")]


async def test_nothing_is_committed_after_the_end(blobs: DiskBlobs) -> None:
    writers = [blobs.create(f"attachments/o/{fresh_id()}") for _ in range(3)]
    for writer in writers:
        await writer.write(b"x")
    await blobs.aclose()
    for writer in writers:  # each is told so, not only the first
        with pytest.raises(RuntimeError, match="closed"):
            await writer.commit()


class Slow:
    """A file that is not durable before it may be."""

    def __init__(self, folder: Path, may_end: threading.Event) -> None:
        self.parent = str(folder)
        self._may_end = may_end

    def finish(self) -> None:
        assert self._may_end.wait(60)


async def test_a_slow_file_keeps_only_its_share_waiting(directory: Path) -> None:
    """A disk makes several files durable at once: they are spread over the threads."""
    directory.mkdir(parents=True, exist_ok=True)
    threads = Threads(4, "test")
    groups = Groups(threads)
    held, free = threading.Event(), threading.Event()
    free.set()
    try:
        futures = [groups.commit(Slow(directory, event)) for event in (held, *[free] * 15)]
        for ended in itertools.islice(asyncio.as_completed(futures, timeout=60), 12):
            await ended
        assert not futures[0].done()
        held.set()
        await asyncio.gather(*futures)
    finally:
        held.set()
        threads.close()
