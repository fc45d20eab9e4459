"""Keeping, reading and removing attachments: the service on a real database and a real folder."""

import asyncio
import hashlib
import os
import shutil
from pathlib import Path

import pytest

from schemas import Code, Principal, Reason, ServiceError
from storage import API_A, Details, Store, fresh_id, open_store
from storage.disk import CHUNK, DiskBlobs
from tests.descriptors import needs_proc, open_descriptors
from tests.engines.backing import Backing
from tests.server.streaming import eventually
from tests.storage.conftest import PNG, caller, keep

CONVERSATION = "0190a000-0000-7000-8000-000000000001"


on_disk = pytest.mark.only_on("local", reason="folders and descriptors of the local disk")


async def error_of(awaitable: object) -> ServiceError:
    """The ServiceError that it raises."""
    with pytest.raises(ServiceError) as caught:
        await awaitable  # type: ignore[misc]
    return caught.value


@pytest.mark.parametrize("size", [1, CHUNK - 8, CHUNK, 3 * CHUNK + 5], ids=["small", "just-below", "one-chunk", "many"])
@pytest.mark.parametrize("piece", [1000, 65536, 10**7], ids=["small-pieces", "usual-pieces", "whole"])
async def test_what_goes_in_comes_out(store: Store, backing: Backing, size: int, piece: int) -> None:
    content = PNG + os.urandom(size)
    async with store.attachments.upload(caller(), "Bild 1.png", API_A, declared_size=len(content)) as upload:
        for start in range(0, len(content), piece):
            await upload.write(memoryview(content)[start : start + piece])
        record = await upload.commit(Details(conversation_id=CONVERSATION))
    assert (record.size, record.sha256) == (len(content), hashlib.sha256(content).digest())
    assert (record.filename, record.content_type, record.owner_id) == ("Bild 1.png", "image/png", "user-1")
    assert record.storage_path == f"attachments/org-1/{record.id}"
    assert backing.bytes.kept() == {record.storage_path}
    assert backing.bytes.read(record.storage_path) == content
    async with await store.attachments.download(caller(), record.id) as download:
        assert download.record == record
        assert await download.read(0, len(content)) == content
        assert await download.read(4, 3) == content[4:7]


async def test_many_small_pieces(store: Store) -> None:
    content = PNG + os.urandom(5000)
    async with store.attachments.upload(caller(), "a.png", API_A) as upload:
        for start in range(len(content)):
            await upload.write(content[start : start + 1])
        record = await upload.commit()
    assert record.sha256 == hashlib.sha256(content).digest()


@pytest.mark.parametrize("key", ["", "/", "../x", "a/../b", "a/..", "/etc/passwd", "a//b", "a\0b", "a/..b", "ä", "a/", "a\n"])
def test_a_key_that_could_lead_elsewhere_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="is not the key of a blob"):
        DiskBlobs(tmp_path).open(key)


async def test_a_buffer_that_changes_is_copied(store: Store) -> None:
    buffer = bytearray(PNG + b"abc")
    async with store.attachments.upload(caller(), "a.png", API_A) as upload:
        await upload.write(buffer)
        buffer[:] = b"\0" * len(buffer)
        record = await upload.commit()
    assert record.sha256 == hashlib.sha256(PNG + b"abc").digest()


@pytest.mark.parametrize(
    ("name", "content", "code", "reason"),
    [
        pytest.param("a.png", b"", Code.BAD_REQUEST, None, id="empty"),
        pytest.param("a.png", b"<html>", Code.UNSUPPORTED_MEDIA_TYPE, Reason.INVALID_ATTACHMENT_TYPE, id="html-as-png"),
        pytest.param("a.png", b"<html>" * 9999, Code.UNSUPPORTED_MEDIA_TYPE, Reason.INVALID_ATTACHMENT_TYPE, id="much-html"),
        pytest.param("a.txt", b"x" * 9999 + b"\0", Code.UNSUPPORTED_MEDIA_TYPE, Reason.INVALID_ATTACHMENT_TYPE, id="late-nul"),
        pytest.param(
            "a.png", PNG + bytes(10 * 2**20), Code.PAYLOAD_TOO_LARGE, Reason.ATTACHMENT_TOO_LARGE, id="image-over-10-mb"
        ),
        pytest.param(
            "a.txt", b"x" * (25 * 2**20 + 1), Code.PAYLOAD_TOO_LARGE, Reason.ATTACHMENT_TOO_LARGE, id="text-over-25-mb"
        ),
    ],
)
async def test_refused_contents_leave_nothing(
    store: Store, backing: Backing, name: str, content: bytes, code: Code, reason: Reason | None
) -> None:
    error = await error_of(keep(store.attachments, content, name))
    assert (error.code, error.reason) == (code, reason)
    await eventually(lambda: backing.bytes.kept() == set())  # worker threads remove what was aborted


async def test_the_limit_itself_is_allowed(store: Store) -> None:
    await keep(store.attachments, PNG + bytes(10 * 2**20 - len(PNG)))


async def test_a_declared_size_over_the_limit_is_refused_before_a_byte(store: Store) -> None:
    with pytest.raises(ServiceError, match=r"the file exceeds the limit of 10485760 bytes \(10 MB\) for \.png files"):
        store.attachments.upload(caller(), "a.png", API_A, declared_size=10 * 2**20 + 1)


@pytest.mark.parametrize(("name", "code"), [("../a.png", Code.BAD_REQUEST), ("a.exe", Code.UNSUPPORTED_MEDIA_TYPE)])
async def test_a_bad_name_is_refused_before_a_byte(store: Store, name: str, code: Code) -> None:
    with pytest.raises(ServiceError) as caught:
        store.attachments.upload(caller(), name, API_A)
    assert caught.value.code is code


async def test_a_digest_that_does_not_match_leaves_nothing(store: Store, backing: Backing) -> None:
    async with store.attachments.upload(caller(), "a.png", API_A) as upload:
        await upload.write(PNG)
        error = await error_of(upload.commit(digests=[bytes(32)]))
    assert error.code is Code.BAD_REQUEST
    await eventually(lambda: backing.bytes.kept() == set())  # worker threads remove what was aborted
    async with store.attachments.upload(caller(), "a.png", API_A) as upload:
        await upload.write(PNG)
        await upload.commit(digests=[bytes(32), hashlib.sha256(PNG).digest()])


@pytest.mark.parametrize("written", [0, 10, CHUNK, 5 * CHUNK])
async def test_an_upload_that_is_left_or_cancelled_leaves_nothing(store: Store, backing: Backing, written: int) -> None:
    async def begin_and_wait() -> None:
        async with store.attachments.upload(caller(), "a.png", API_A) as upload:
            await upload.write(PNG + bytes(written))
            await asyncio.sleep(60)

    task = asyncio.create_task(begin_and_wait())
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await eventually(lambda: backing.bytes.kept() == set())  # worker threads remove what was aborted


async def test_lists_are_in_order_and_of_one_conversation_and_organization(store: Store) -> None:
    attachments = store.attachments
    ids = [await keep(attachments, conversation=CONVERSATION) for _ in range(3)]
    await keep(attachments, conversation=fresh_id())
    await keep(attachments, conversation=CONVERSATION, who=caller("org-2"))
    listed = await attachments.list(caller(user_id="another"), CONVERSATION.upper())
    assert sorted((item.created_at, item.id) for item in listed) == [(item.created_at, item.id) for item in listed]
    assert {item.id for item in listed} == set(ids)
    assert await attachments.list(caller("org-3"), CONVERSATION) == []


async def test_a_long_list_is_whole(store: Store) -> None:
    ids = await asyncio.gather(*(keep(store.attachments, conversation=CONVERSATION) for _ in range(300)))
    assert {item.id for item in await store.attachments.list(caller(), CONVERSATION)} == set(ids)


OWNER, COLLEAGUE, ADMIN = caller(), caller(user_id="user-2"), caller(user_id="user-3", role="admin")
STRANGER, FOREIGN_ADMIN = caller("org-2"), caller("org-2", role="admin")


@pytest.mark.parametrize(
    ("who", "expected"),
    [
        pytest.param(OWNER, None, id="owner"),
        pytest.param(ADMIN, None, id="admin"),
        pytest.param(COLLEAGUE, Code.FORBIDDEN, id="colleague"),
        pytest.param(STRANGER, Code.NOT_FOUND, id="other-organization"),
        pytest.param(FOREIGN_ADMIN, Code.NOT_FOUND, id="other-organization's-admin"),
    ],
)
async def test_who_may_delete(store: Store, who: Principal, expected: Code | None) -> None:
    id = await keep(store.attachments, conversation=CONVERSATION)
    if expected is None:
        assert (await store.attachments.delete(who, id)).success
    else:
        assert (await error_of(store.attachments.delete(who, id))).code is expected
        assert (await store.attachments.get(OWNER, id)).id == id


async def test_what_is_deleted_is_gone_for_all_but_admins(store: Store) -> None:
    attachments = store.attachments
    id = await keep(attachments, conversation=CONVERSATION)
    await attachments.delete(OWNER, id)
    assert await attachments.list(OWNER, CONVERSATION) == []
    for attempt in (attachments.get(OWNER, id), attachments.download(OWNER, id), attachments.download(ADMIN, id)):
        assert (await error_of(attempt)).code is Code.NOT_FOUND
    for who in (OWNER, ADMIN):
        assert (await error_of(attachments.delete(who, id))).code is Code.NOT_FOUND
    seen = await attachments.get(ADMIN, id)
    assert isinstance(seen.deleted_at, str)
    assert (await error_of(attachments.get(FOREIGN_ADMIN, id))).code is Code.NOT_FOUND


async def test_of_many_deletions_at_once_one_succeeds(store: Store) -> None:
    id = await keep(store.attachments)
    outcomes = await asyncio.gather(*(store.attachments.delete(OWNER, id) for _ in range(10)), return_exceptions=True)
    assert sum(not isinstance(outcome, BaseException) for outcome in outcomes) == 1


async def test_ids_are_found_in_upper_case_too(store: Store) -> None:
    id = await keep(store.attachments)
    assert (await store.attachments.get(OWNER, id.upper())).id == id


async def test_the_message_of_a_missing_attachment_names_it(store: Store) -> None:
    id = fresh_id()
    assert (await error_of(store.attachments.get(OWNER, id))).message == f'attachment "{id}" not found'


async def test_a_row_whose_bytes_are_lost_is_an_outage(store: Store, backing: Backing) -> None:
    id = await keep(store.attachments)
    backing.lose_bytes(id)
    async with await store.attachments.download(OWNER, id) as download:
        assert (await error_of(download.read(0, 1))).code is Code.SERVICE_UNAVAILABLE


async def test_a_file_that_was_cut_short_is_an_outage(store: Store, backing: Backing) -> None:
    id = await keep(store.attachments, PNG + bytes(100))
    backing.bytes.write(backing.key_of(id), PNG + bytes(42))
    async with await store.attachments.download(OWNER, id) as download:
        assert (await error_of(download.read(0, 108))).code is Code.SERVICE_UNAVAILABLE


@on_disk
@needs_proc
async def test_a_reader_may_be_closed_while_it_reads(store: Store, directory: Path) -> None:
    id = await keep(store.attachments, PNG + bytes(2**20))
    for _ in range(20):
        async with await store.attachments.download(OWNER, id) as download:
            task = asyncio.create_task(download.read(0, 2**20))
            await asyncio.sleep(0)
            task.cancel()

    def is_open() -> bool:
        return any(Path(leads_to).is_relative_to(directory) for leads_to in open_descriptors().values())

    await eventually(lambda: not is_open())


@on_disk
async def test_a_disk_that_fails_is_an_outage_that_passes(store: Store, directory: Path) -> None:
    """A file stands where the folder should be, so that nothing can be written below it."""
    folder = directory / "attachments"
    folder.write_bytes(b"")
    error = await error_of(keep(store.attachments))
    assert error.code is Code.SERVICE_UNAVAILABLE
    folder.unlink()
    await keep(store.attachments)


@on_disk
async def test_a_folder_that_was_removed_comes_back_but_the_storage_directory_does_not(store: Store, directory: Path) -> None:
    await keep(store.attachments)
    shutil.rmtree(directory / "attachments")
    await keep(store.attachments)
    shutil.rmtree(directory)
    assert (await error_of(keep(store.attachments))).code is Code.SERVICE_UNAVAILABLE
    assert not directory.exists()  # it may be a disk that is not mounted now


@on_disk
async def test_a_store_is_checked_for_real(
    store: Store, directory: Path, backing: Backing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.store.CHECK_SHARED_S", 3600)
    await store.check()
    assert backing.bytes.kept() == set()
    directory.rmdir()
    await store.check()  # shares the answer of a moment ago
    monkeypatch.setattr("storage.store.CHECK_SHARED_S", 0)
    assert (await error_of(store.check())).code is Code.SERVICE_UNAVAILABLE


@pytest.mark.only_on("sqlite", "local", reason="the errors of files and folders")
async def test_a_store_that_cannot_be_opened_says_why(tmp_path: Path, database_url: str) -> None:
    error = await error_of(open_store(database_url=f"sqlite:///{tmp_path}/none.db", directory=tmp_path / "b"))
    assert "run `attachd migrate`" in error.message
    (tmp_path / "text.db").write_text("not a database, but long enough to be looked at" * 50)
    error = await error_of(open_store(database_url=f"sqlite:///{tmp_path}/text.db", directory=tmp_path / "b"))
    assert "cannot open the database" in error.message
    (tmp_path / "file").write_text("")
    error = await error_of(open_store(database_url=database_url, directory=tmp_path / "file"))
    assert "cannot use the storage directory" in error.message
    error = await error_of(open_store(database_url="mysql://x", directory=tmp_path / "b"))
    assert "database.url must be sqlite:///PATH" in error.message
