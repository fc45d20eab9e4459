"""Bytes go from place to place by their rows, whole or not at all; and are read from either place meanwhile."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from schemas import Code, ServiceError
from storage import Store, fresh_id
from storage.blobs import BlobInfo, Blobs
from storage.catalog import AuditTable
from storage.copies import Pacer, each
from storage.disk import DiskBlobs, exclusive
from storage.fallback import FallbackBlobs
from storage.transfer import Problem, Step, Transfer, TransferOptions
from tests.engines.backing import Backing
from tests.storage.conftest import PNG, caller, files, keep

CONTENT = PNG + bytes(range(256)) * 9


@pytest.fixture
async def target(tmp_path: Path) -> AsyncIterator[DiskBlobs]:
    opened = DiskBlobs(tmp_path / "target")
    yield opened
    await opened.aclose()


def blobs_of(store: Store) -> Blobs:
    return store._blobs  # noqa: SLF001 (what is moved)


def transfer(store: Store, target: Blobs, **options: float) -> Transfer:
    table = AuditTable(store._database)  # noqa: SLF001
    return Transfer(table.by_key, table.known, blobs_of(store), target, TransferOptions(**options))  # type: ignore[arg-type]


async def moved(store: Store, target: Blobs, **options: float) -> tuple[list[Problem], list[Step]]:
    events = [event async for event in transfer(store, target, **options).run()]
    return [event for event in events if isinstance(event, Problem)], [event for event in events if isinstance(event, Step)]


async def read(blobs: Blobs, key: str, size: int) -> bytes:
    reader = blobs.open(key)
    try:
        return bytes(await reader.read(0, size))
    finally:
        reader.close()


async def test_everything_is_copied_once(store: Store, backing: Backing, target: DiskBlobs, tmp_path: Path) -> None:
    contents = {await keep(store.attachments, PNG + bytes([number]) * number * 700): number for number in range(9)}
    deleted = await keep(store.attachments, CONTENT)
    await store.attachments.delete(caller(), deleted)
    backing.bytes.write(f"attachments/org-1/{fresh_id()}", b"nobody's")
    before = backing.bytes.kept()
    problems, steps = await moved(store, target)
    assert (problems, sum(step.copied for step in steps), sum(step.rows for step in steps)) == ([], 10, 10)
    assert sum(step.copied_bytes for step in steps) == sum(len(PNG) + number * 700 for number in range(9)) + len(CONTENT)
    for id, number in contents.items():
        assert (tmp_path / "target" / backing.key_of(id)).read_bytes() == PNG + bytes([number]) * number * 700
    assert backing.bytes.kept() == before
    problems, steps = await moved(store, target, verify=True)
    assert (problems, sum(step.copied for step in steps), sum(step.rows for step in steps)) == ([], 0, 10)


async def test_what_is_wrong_at_the_source_is_told_and_not_copied(
    store: Store, backing: Backing, target: DiskBlobs, tmp_path: Path
) -> None:
    ids = [await keep(store.attachments, CONTENT) for _ in range(5)]
    lost, shorter, longer, flipped, whole = map(backing.key_of, ids)
    backing.bytes.remove(lost)
    backing.bytes.write(shorter, CONTENT[:-1])
    backing.bytes.write(longer, CONTENT + b"x")
    backing.bytes.write(flipped, CONTENT[:-1] + b"!")
    problems, steps = await moved(store, target)
    # Of the longer one the first bytes are right: what is copied is what the row tells of.
    assert {(problem.key, problem.problem, problem.place) for problem in problems} == {
        (lost, "missing", "source"),
        (shorter, "size", "source"),
        (flipped, "checksum", "source"),
    }
    assert files(tmp_path / "target") == sorted([longer, whole])
    assert (tmp_path / "target" / longer).read_bytes() == CONTENT
    assert sum(step.copied for step in steps) == 2


async def test_what_is_at_the_target_is_never_written_over(
    store: Store, backing: Backing, target: DiskBlobs, tmp_path: Path
) -> None:
    shorter, flipped = [backing.key_of(await keep(store.attachments, CONTENT)) for _ in range(2)]
    there = {shorter: CONTENT[:-1], flipped: CONTENT[:-1] + b"!"}
    for key, content in there.items():
        (tmp_path / "target" / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "target" / key).write_bytes(content)
    for options in ({}, {"verify": True}, {"remove_source": True}):
        problems, _ = await moved(store, target, **options)
        wrong = {shorter: "size"} if not options else {shorter: "size", flipped: "checksum"}
        assert {problem.key: problem.problem for problem in problems} == wrong
        assert {problem.place for problem in problems} == {"target"}
        assert {key: (tmp_path / "target" / key).read_bytes() for key in there} == there
        assert {backing.bytes.read(key) for key in there} == {CONTENT}, "and nothing is removed from the source"


async def test_the_source_is_removed_only_when_the_target_was_read(
    store: Store, backing: Backing, target: DiskBlobs, tmp_path: Path
) -> None:
    copied, there, wrong = [backing.key_of(await keep(store.attachments, CONTENT)) for _ in range(3)]
    await moved(store, target)
    (tmp_path / "target" / copied).unlink()
    (tmp_path / "target" / wrong).write_bytes(CONTENT[:-1] + b"!")
    problems, steps = await moved(store, target, remove_source=True)
    assert [problem.key for problem in problems] == [wrong]
    assert sum(step.removed for step in steps) == 2
    assert backing.bytes.kept() & {copied, there, wrong} == {wrong}
    assert {(tmp_path / "target" / key).read_bytes() for key in (copied, there)} == {CONTENT}
    assert sum(step.removed for step in (await moved(store, target, remove_source=True))[1]) == 0


async def test_a_copy_that_was_killed_is_begun_anew(store: Store, backing: Backing, target: DiskBlobs, tmp_path: Path) -> None:
    key = backing.key_of(await keep(store.attachments, CONTENT))
    folder, _, name = key.rpartition("/")
    (tmp_path / "target" / folder).mkdir(parents=True)
    (tmp_path / "target" / folder / f".{name}.partial").write_bytes(b"half")
    problems, _ = await moved(store, target)
    assert problems == []
    assert files(tmp_path / "target") == [key]
    assert (tmp_path / "target" / key).read_bytes() == CONTENT


async def test_what_a_server_wrote_to_the_target_meanwhile_is_there(
    store: Store, backing: Backing, target: DiskBlobs, tmp_path: Path
) -> None:
    """The scan of the target is over when the row comes, and the source never had the bytes."""
    key = backing.key_of(await keep(store.attachments, CONTENT))
    run = transfer(store, target)
    read_rows = run._read_rows  # noqa: SLF001

    async def write_then_read(after: str, limit: int) -> object:
        if not after:
            assert [batch async for batch in target.scan()] == []
            backing.bytes.remove(key)
            await put(target, CONTENT, key)
        return await read_rows(after, limit)

    run._read_rows = write_then_read  # type: ignore[assignment]  # noqa: SLF001
    scan = target.scan
    target.scan = lambda after="": _nothing(scan(after))  # type: ignore[method-assign]
    events = [event async for event in run.run()]
    assert [(type(event), getattr(event, "copied", None)) for event in events] == [(Step, 0)]
    assert (tmp_path / "target" / key).read_bytes() == CONTENT


async def _nothing(scan: AsyncIterator[list[BlobInfo]]) -> AsyncIterator[list[BlobInfo]]:
    """A scan that had come to its end before anything was there."""
    async for _ in scan:
        yield []


async def test_a_row_that_goes_meanwhile_is_no_problem(store: Store, backing: Backing, target: DiskBlobs) -> None:
    gone, _ = [await keep(store.attachments, CONTENT) for _ in range(2)]
    key = backing.key_of(gone)
    run = transfer(store, target)
    read_rows = run._read_rows  # noqa: SLF001

    async def read_then_purge(after: str, limit: int) -> object:
        rows = await read_rows(after, limit)
        if not after:
            backing.query("DELETE FROM attachments WHERE id = ?", gone)
            backing.bytes.remove(key)
        return rows

    run._read_rows = read_then_purge  # type: ignore[assignment]  # noqa: SLF001
    events = [event async for event in run.run()]
    assert [type(event) for event in events] == [Step]
    assert isinstance(events[0], Step)
    assert ([row.id for row in events[0].gone], events[0].copied) == ([gone], 1)


async def test_as_fast_as_it_may(store: Store, target: DiskBlobs) -> None:
    for _ in range(4):
        await keep(store.attachments, PNG + bytes(50_000))
    begun = time.monotonic()
    await moved(store, target, max_bytes_per_s=400_000)
    assert 0.3 < time.monotonic() - begun < 20, "200 kB at 400 kB a second"


async def test_pacing_is_shared() -> None:
    pace = Pacer(10_000)
    begun = time.monotonic()
    await each(pace, [500] * 6, 3)
    assert 0.25 < time.monotonic() - begun < 20


async def test_the_first_failure_ends_what_is_side_by_side() -> None:
    begun: list[int] = []

    async def work(number: int) -> int:
        begun.append(number)
        await asyncio.sleep(0.01)
        if number == 2:
            raise ServiceError(Code.SERVICE_UNAVAILABLE, "no")
        return number

    assert await each(work, [5, 3, 4], 2) == [5, 3, 4]
    begun.clear()
    with pytest.raises(ServiceError):
        await each(work, range(100), 2)
    assert len(begun) < 10


def test_a_folder_is_for_one_at_a_time(tmp_path: Path) -> None:
    with exclusive(tmp_path):
        with pytest.raises(ServiceError) as caught, exclusive(tmp_path):
            pass
        assert caught.value.code is Code.CONFLICT
    with exclusive(tmp_path):
        pass


@pytest.fixture
async def old(tmp_path: Path) -> AsyncIterator[DiskBlobs]:
    opened = DiskBlobs(tmp_path / "old")
    yield opened
    await opened.aclose()


async def put(blobs: Blobs, content: bytes, key: str = "") -> str:
    key = key or f"attachments/org-1/{fresh_id()}"
    writer = blobs.create(key)
    await writer.write(content)
    await writer.commit()
    return key


async def test_blobs_are_found_at_either_place(target: DiskBlobs, old: DiskBlobs, tmp_path: Path) -> None:
    both = FallbackBlobs(target, old)
    new_key, old_key, neither = await put(both, b"new"), await put(old, b"older"), f"attachments/org-1/{fresh_id()}"
    twice = await put(old, b"twice")
    await put(target, b"twice", twice)
    assert files(tmp_path / "target") == sorted([new_key, twice])
    assert [await read(both, new_key, 3), await read(both, old_key, 5)] == [b"new", b"older"]
    with pytest.raises(ServiceError) as caught:
        await read(both, neither, 1)
    assert caught.value.code is Code.SERVICE_UNAVAILABLE
    assert await both.missing([new_key, old_key, neither]) == {neither}
    assert [await both.size_of(key) for key in (new_key, old_key, neither)] == [3, 5, None]
    scanned = [info.key async for batch in both.scan() for info in batch]
    assert scanned == sorted([new_key, old_key, twice])
    assert [info.key async for batch in both.scan(scanned[0]) for info in batch] == scanned[1:]
    somewhere: Blobs = both
    assert somewhere.link(new_key, content_type="a/b", disposition="inline", expires_s=1) is None
    await both.quarantine([new_key, twice])
    assert files(tmp_path / "old") == sorted([old_key, f"quarantine/{twice}"])
    await both.release([new_key, twice])
    await both.delete([new_key, old_key, twice, neither])
    assert (files(tmp_path / "old"), files(tmp_path / "target")) == ([], [])


async def test_a_reader_follows_its_blob(target: DiskBlobs, old: DiskBlobs) -> None:
    both = FallbackBlobs(target, old)
    key = await put(old, CONTENT)
    reader = both.open(key)
    assert await reader.read(0, 10) == CONTENT[:10]
    await put(target, CONTENT, key)
    await old.delete([key])
    assert await reader.read(10, 90) == CONTENT[10:100]
    reader.close()
    assert await read(both, key, len(CONTENT)) == CONTENT


async def test_what_is_too_short_is_not_looked_for_elsewhere(target: DiskBlobs, old: DiskBlobs) -> None:
    key = await put(old, CONTENT)
    await put(target, CONTENT[:5], key)
    with pytest.raises(ServiceError):
        await read(FallbackBlobs(target, old), key, len(CONTENT))


async def test_unfinished_blobs_are_removed_where_they_are(target: DiskBlobs, old: DiskBlobs, tmp_path: Path) -> None:
    key = f"attachments/org-1/.{fresh_id()}.partial"
    for name in ("old", "target"):
        (tmp_path / name / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name / key).write_bytes(b"half")
    both = FallbackBlobs(target, old)
    for left in (["old"], []):
        (info,) = [info async for batch in both.scan() for info in batch]
        assert info.unfinished
        await both.delete([info.key])
        assert [name for name in ("old", "target") if files(tmp_path / name)] == left


async def test_reads_never_fail_while_the_bytes_move(store: Store, target: DiskBlobs) -> None:
    """Readers and writers of both places, beside a transfer that removes from the old one what it has copied."""
    both = FallbackBlobs(target, blobs_of(store))
    keys = {f"attachments/org-1/{await keep(store.attachments, PNG + bytes([n]) * 3000)}": n for n in range(200)}
    ended = asyncio.Event()
    reads = 0

    async def read_all() -> None:
        nonlocal reads
        while not ended.is_set():
            for key, number in keys.items():
                assert await read(both, key, 3008) == PNG + bytes([number]) * 3000
                assert await both.missing([key]) == set()
                reads += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(read_all())
        problems, steps = await moved(store, target, remove_source=True, max_bytes_per_s=600_000)
        ended.set()
    assert (problems, sum(step.removed for step in steps)) == ([], 200)
    assert reads > 200
