"""A store that was damaged in every way, and what is found of it."""

import asyncio

import pytest

from schemas import Code, ServiceError
from storage import API_A, Finding, FsckOptions, Progress, Store, fresh_id
from storage.blobs import Blobs
from storage.fsck import Fsck
from tests.engines.backing import Backing
from tests.storage.conftest import PNG, caller, keep

LATER_S = -60.0  # a grace that has run out for all there is
CONTENT = PNG + bytes(range(256)) * 9


async def findings(store: Store, *, grace_s: float = LATER_S, checksums: bool = True, repair: bool = False) -> list[Finding]:
    options = FsckOptions(grace_s=grace_s, checksums=checksums, repair=repair)
    return [event async for event in store.fsck(options).run() if isinstance(event, Finding)]


async def kept(store: Store, backing: Backing) -> tuple[str, str]:
    """The id and the key of a new attachment."""
    id = await keep(store.attachments, CONTENT)
    return id, backing.key_of(id)


async def test_a_store_that_agrees(store: Store, backing: Backing) -> None:
    for _ in range(3):
        await kept(store, backing)
    deleted, _ = await kept(store, backing)
    await store.attachments.delete(caller(), deleted)
    check = store.fsck(FsckOptions(grace_s=LATER_S, checksums=True))
    events = [event async for event in check.run()]
    assert await check.totals() == (4, 4 * len(CONTENT))
    steps = [event for event in events if isinstance(event, Progress)]
    assert len(steps) == len(events)
    assert (sum(step.rows for step in steps), sum(step.size for step in steps)) == (4, 4 * len(CONTENT))


async def test_an_empty_store(store: Store) -> None:
    assert await findings(store) == []


async def test_a_removed_file(store: Store, backing: Backing) -> None:
    (id, key), (deleted, deleted_key), _ = [await kept(store, backing) for _ in range(3)]
    await store.attachments.delete(caller(), deleted)
    for each_key in (key, deleted_key):
        backing.bytes.remove(each_key)
    expected = {
        Finding(finding="missing", key=key, attachment=id),
        Finding(finding="missing", key=deleted_key, attachment=deleted, deleted=True),
    }
    for checksums in (False, True):
        assert set(await findings(store, checksums=checksums)) == expected
    assert set(await findings(store, repair=True)) == expected, "what is lost cannot be repaired"


@pytest.mark.parametrize("content", [CONTENT[:-1], b"", CONTENT + b"x"], ids=["truncated", "emptied", "longer"])
async def test_a_file_of_another_size(store: Store, backing: Backing, content: bytes) -> None:
    id, key = await kept(store, backing)
    backing.bytes.write(key, content)
    found = Finding(finding="size", key=key, attachment=id, expected=str(len(CONTENT)), found=str(len(content)))
    assert await findings(store, checksums=False) == [found]
    assert await findings(store) == [found]


async def test_a_flipped_bit_is_found_by_reading(store: Store, backing: Backing) -> None:
    (id, key), _ = [await kept(store, backing) for _ in range(2)]
    backing.bytes.write(key, CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))
    assert await findings(store, checksums=False) == []
    (found,) = await findings(store)
    assert (found.finding, found.key, found.attachment) == ("checksum", key, id)
    assert len(found.expected) == len(found.found) == 64


async def test_a_removed_row_and_a_file_of_nobody(store: Store, backing: Backing) -> None:
    id, key = await kept(store, backing)
    backing.query("DELETE FROM attachments WHERE id = ?", id)
    extra = f"attachments/org-9/{fresh_id()}"
    backing.bytes.write(extra, b"12345")
    found = {finding.key: finding for finding in await findings(store) if finding.key}
    assert {key: finding.finding for key, finding in found.items()} == {key: "unclaimed", extra: "unclaimed"}
    assert (found[extra].found, found[key].found) == ("5", str(len(CONTENT)))
    assert [finding for finding in await findings(store, grace_s=60.0) if finding.key] == [], "an upload may be under way"


async def test_an_upload_under_way_is_no_finding(store: Store, backing: Backing) -> None:
    async with store.attachments.upload(caller(), "a.png", API_A) as upload:
        await upload.write(CONTENT * 200)
        assert await findings(store, grace_s=60.0) == []
        await upload.commit()
    assert await findings(store) == []


async def test_wrong_counters_are_found_and_set_right(store: Store, backing: Backing) -> None:
    for organization_id in ("org-1", "org-2", "org-3"):
        await keep(store.attachments, CONTENT, who=caller(organization_id))
    backing.query("UPDATE organization_usage SET attachments = attachments + 1 WHERE organization_id = ?", "org-1")
    backing.query("UPDATE organization_usage SET bytes = bytes - 1 WHERE organization_id = ?", "org-2")
    backing.query("DELETE FROM organization_usage WHERE organization_id = ?", "org-3")
    backing.query("INSERT INTO organization_usage (organization_id, attachments, bytes) VALUES ('org-4', 1, 1)")
    one = f"1 attachments, {len(CONTENT)} bytes"
    expected = [
        Finding(finding="usage", organization="org-1", expected=one, found=f"2 attachments, {len(CONTENT)} bytes"),
        Finding(finding="usage", organization="org-2", expected=one, found=f"1 attachments, {len(CONTENT) - 1} bytes"),
        Finding(finding="usage", organization="org-3", expected=one, found="0 attachments, 0 bytes"),
        Finding(finding="usage", organization="org-4", expected="0 attachments, 0 bytes", found="1 attachments, 1 bytes"),
    ]
    assert await findings(store) == expected
    assert all(finding.repaired for finding in await findings(store, repair=True))
    assert await findings(store) == []
    usage = await store.attachments.usage(caller("org-3"))
    assert (usage.count, usage.bytes) == (1, len(CONTENT))


async def test_counters_are_set_right_beside_uploads(store: Store, backing: Backing) -> None:
    await keep(store.attachments)
    ended = asyncio.Event()

    async def upload() -> None:
        for _ in range(200):
            if ended.is_set():
                return
            await keep(store.attachments)

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(upload())
        for _ in range(10):
            backing.query("UPDATE organization_usage SET attachments = attachments + 3, bytes = bytes - 2")
            found = [finding for finding in await findings(store, repair=True, checksums=False) if finding.finding == "usage"]
            assert len(found) == 1, "no difference but what was made"
        ended.set()
    assert await findings(store) == []


async def test_bytes_in_quarantine_are_put_back(store: Store, backing: Backing) -> None:
    (id, key), (other, other_key), (unclaimed, unclaimed_key) = [await kept(store, backing) for _ in range(3)]
    for each_key, content in ((key, CONTENT), (other_key, CONTENT[:9]), (unclaimed_key, CONTENT)):
        backing.bytes.remove(each_key)
        backing.bytes.write(f"quarantine/{each_key}", content)
    backing.query("DELETE FROM attachments WHERE id = ?", unclaimed)
    await findings(store, repair=True)
    backing.query("DELETE FROM organization_usage")  # leave the counters out of it
    backing.bytes.remove(key)
    backing.bytes.write(f"quarantine/{key}", CONTENT)
    found = [finding for finding in await findings(store) if finding.key]
    assert Finding(finding="quarantined", key=key, attachment=id) in found
    found = [finding for finding in await findings(store, repair=True) if finding.key == key]
    assert found == [Finding(finding="quarantined", key=key, attachment=id, repaired=True)]
    assert backing.bytes.read(key) == CONTENT
    assert f"quarantine/{unclaimed_key}" in backing.bytes.kept(), "it lies where it should"
    (wrong,) = [finding for finding in await findings(store) if finding.key]
    assert (wrong.finding, wrong.attachment) == ("size", other), "what was put back is looked at, too"


async def test_it_goes_on_behind_any_key(store: Store, backing: Backing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.merge.BLOBS_AT_ONCE", 2)
    keys = sorted([(await kept(store, backing))[1] for _ in range(9)])
    for key in keys:
        backing.bytes.remove(key)
    check = store.fsck(FsckOptions(grace_s=0))
    events = [event async for event in check.run()]
    behind = [event.key for event in events if isinstance(event, Progress)]
    assert len(behind) > 2
    for key in behind:
        rest = [event.key async for event in check.run(key) if isinstance(event, Finding)]
        assert rest == [each_key for each_key in keys if each_key > key]
    first = events.index(next(event for event in events if isinstance(event, Progress)))
    assert all(isinstance(event, Finding) for event in events[:first]), "what is behind a key was told before"


async def test_it_comes_to_its_end_beside_uploads(store: Store) -> None:
    """New attachments come at the end of what is read: whoever reads all of them would never get there."""
    await keep(store.attachments)
    check = store.fsck(FsckOptions(grace_s=60.0, checksums=True))
    rows = 0
    async for event in check.run():
        assert isinstance(event, Progress)
        rows += event.rows
        for _ in range(3):
            await keep(store.attachments)
    assert rows == 1


async def test_sweep_leaves_nothing_to_find(store: Store, backing: Backing) -> None:
    await kept(store, backing)
    backing.bytes.write(f"attachments/org-1/{fresh_id()}", b"12345")
    assert [finding.finding for finding in await findings(store)] == ["unclaimed"]
    await store.sweep(grace_s=LATER_S, quarantine_s=86_400, retention_s=1e9, unlinked_s=1e9, dry_run=False)
    assert await findings(store) == []


async def test_it_agrees_beside_uploads_deletions_and_sweeps(store: Store, backing: Backing) -> None:
    """Whatever the two sides look like while they are read, nothing is told that is not so."""
    ended = asyncio.Event()

    async def churn() -> None:
        for _ in range(100):  # on S3 a sweep is slower than uploads are
            if ended.is_set():
                return
            ids = [await keep(store.attachments) for _ in range(3)]
            await store.attachments.delete(caller(), ids[0])

    async def sweep() -> None:
        while not ended.is_set():
            await store.sweep(grace_s=60, retention_s=-1, unlinked_s=1e9, dry_run=False)

    async with asyncio.TaskGroup() as group:
        for work in (churn, churn, sweep):
            group.create_task(work())
        for _ in range(6):
            assert await findings(store, grace_s=60.0) == []
        ended.set()
    assert await findings(store) == []


class Failing:
    """Blobs of which the scan works, and that do not answer afterwards."""

    def __init__(self, blobs: Blobs) -> None:
        self.scan = blobs.scan

    async def missing(self, _keys: list[str]) -> set[str]:
        raise ServiceError(Code.SERVICE_UNAVAILABLE, "the storage is not available now, try again")


async def test_a_storage_that_fails_is_no_finding(store: Store, backing: Backing) -> None:
    _, key = await kept(store, backing)
    backing.bytes.remove(key)
    check = store.fsck(FsckOptions(grace_s=0))
    failing = Fsck(check._table, Failing(check._blobs), FsckOptions(grace_s=0), check._recount)  # type: ignore[arg-type]  # noqa: SLF001
    with pytest.raises(ServiceError) as caught:
        await anext(failing.run())
    assert caught.value.code is Code.SERVICE_UNAVAILABLE
