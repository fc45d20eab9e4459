"""Direct uploads to a real S3-compatible store: what comes of what clients send, when they send what they said."""

import asyncio
import base64
import hashlib
import os
from pathlib import Path

import pytest

from schemas import (
    AttachmentItem,
    Code,
    CompleteUploadInput,
    FormUpload,
    PartsUpload,
    Principal,
    Reason,
    SentPart,
    ServiceError,
)
from storage import MEBIBYTE, Store, api_a, fresh_id
from tests.storage.conftest import PNG, caller, files
from tests.storage.direct_site import LIMIT, ME, PART, Site, digest, plan, read
from tests.storage.sending import form_answer, part_answer, pieces, send

SMALL, LARGE = PNG + b"small" * 100, PNG + os.urandom(PART + 1000)
THREE_PARTS = LARGE + os.urandom(PART)
BOTH_WAYS = pytest.mark.parametrize("content", [pytest.param(SMALL, id="form"), pytest.param(LARGE, id="parts")])


async def refusal(store: Store, asked: CompleteUploadInput, who: Principal = ME) -> ServiceError:
    """The error that completing it ends with."""
    with pytest.raises(ServiceError) as caught:
        await store.attachments.direct.complete(who, asked)
    return caught.value


@BOTH_WAYS
async def test_a_file_becomes_an_attachment(on_s3: Store, site: Site, content: bytes) -> None:
    conversation, ticket = fresh_id().upper(), fresh_id()
    planned = await plan(on_s3, len(content), "Grüße 日本.PNG", conversation_id=conversation, ticket_id=ticket)
    assert isinstance(planned, FormUpload if content is SMALL else PartsUpload)
    attachment = await on_s3.attachments.direct.complete(ME, send(planned, content))
    assert (attachment.id, attachment.conversation_id) == (planned.upload_id, conversation.lower())
    assert (attachment.filename, attachment.content_type, attachment.size) == ("Grüße 日本.PNG", "image/png", len(content))
    assert await read(on_s3, attachment.id) == content
    assert await digest(on_s3, attachment.id) == hashlib.sha256(content).digest()
    assert await on_s3.attachments.list(ME, conversation) == [
        AttachmentItem(**{name: getattr(attachment, name) for name in AttachmentItem.__struct_fields__})
    ]
    assert (await on_s3.attachments.usage(ME)).bytes == len(content)
    assert (site.keys(), site.unfinished()) == ([attachment.storage_path], [])


@BOTH_WAYS
async def test_nothing_is_there_before_it_is_complete(on_s3: Store, content: bytes) -> None:
    conversation = fresh_id()
    planned = await plan(on_s3, len(content), conversation_id=conversation)
    send(planned, content)
    assert await on_s3.attachments.list(ME, conversation) == []
    with pytest.raises(ServiceError, match="not found"):
        await on_s3.attachments.get(ME, planned.upload_id)


@BOTH_WAYS
async def test_asked_again_it_answers_again(on_s3: Store, site: Site, content: bytes) -> None:
    asked = send(await plan(on_s3, len(content)), content)
    first = await on_s3.attachments.direct.complete(ME, asked)
    assert await on_s3.attachments.direct.complete(ME, asked) == first
    async with await site.open() as other:
        assert await other.attachments.direct.complete(ME, asked) == first
    assert site.keys() == [first.storage_path]


@BOTH_WAYS
async def test_completed_at_once_it_is_one_attachment(on_s3: Store, site: Site, content: bytes) -> None:
    """Twice in each of two processes: one attempt makes the row, and every copy but its own goes."""
    asked = send(await plan(on_s3, len(content)), content)
    async with await site.open() as other:
        calls = [store.attachments.direct.complete(ME, asked) for store in (on_s3, other, on_s3, other)]
        first, *others = await asyncio.gather(*calls)
    assert others == [first] * 3
    assert (await on_s3.attachments.usage(ME)).count == 1
    assert site.keys() == [first.storage_path]
    assert await read(on_s3, first.id) == content


@BOTH_WAYS
async def test_what_was_not_sent_can_still_be_sent(on_s3: Store, content: bytes) -> None:
    planned = await plan(on_s3, len(content))
    for _ in range(2):
        error = await refusal(on_s3, CompleteUploadInput(upload_id=planned.upload_id))
        assert error.code is Code.PRECONDITION_FAILED
    await on_s3.attachments.direct.complete(ME, send(planned, content))
    assert await read(on_s3, planned.upload_id) == content


async def test_parts_come_in_any_order_and_again(on_s3: Store) -> None:
    planned = await plan(on_s3, len(THREE_PARTS))
    assert isinstance(planned, PartsUpload)
    assert [part.size for part in planned.parts] == [PART, PART, 1000 + len(PNG)]
    contents = pieces(planned, THREE_PARTS)
    etags = {}
    for number in (3, 2, 1, 3):
        etags[number] = part_answer(planned, number, contents[number - 1]).headers["etag"]
    parts = [SentPart(part_number=number, etag=etag) for number, etag in etags.items()]
    await on_s3.attachments.direct.complete(ME, CompleteUploadInput(upload_id=planned.upload_id, parts=parts))
    assert await read(on_s3, planned.upload_id) == THREE_PARTS


@pytest.mark.parametrize(
    ("size", "kind"), [(1, FormUpload), (PART, FormUpload), (PART + 1, PartsUpload)], ids=["a byte", "a part", "a byte more"]
)
async def test_a_file_of_up_to_a_part_is_a_form(on_s3: Store, size: int, kind: type) -> None:
    assert isinstance(await plan(on_s3, size), kind)


async def test_a_huge_file_has_larger_parts(site: Site) -> None:
    """A thousand at most: the store lists so many in one answer, and clients get so many URLs."""
    size = 1000 * PART + 1
    async with await site.open(api_a(size, size)) as store:
        planned = await plan(store, size)
        assert isinstance(planned, PartsUpload)
        assert (planned.part_size, len(planned.parts)) == (PART + MEBIBYTE, 834)
        assert sum(part.size for part in planned.parts) == size
        await store.attachments.direct.abort(ME, planned.upload_id)


async def test_a_file_that_no_single_copy_should_take(site: Site) -> None:
    """Above 256 MiB the copy is made in parts, too."""
    size, piece = 52 * PART, LARGE[:PART]
    async with await site.open(api_a(size, size)) as store:
        planned = await plan(store, size)
        answers = [part_answer(planned, number, piece) for number in range(1, 53)]
        parts = [SentPart(part_number=number, etag=answer.headers["etag"]) for number, answer in enumerate(answers, 1)]
        asked = CompleteUploadInput(upload_id=planned.upload_id, parts=parts)
        attachment = await store.attachments.direct.complete(ME, asked)
        assert attachment.size == size
        assert await digest(store, attachment.id) == hashlib.sha256(piece * 52).digest()
    assert (site.keys(), site.unfinished()) == ([attachment.storage_path], [])


@BOTH_WAYS
async def test_a_digest_that_was_announced_must_be_right(on_s3: Store, site: Site, content: bytes) -> None:
    """The store itself refuses a form; what comes in parts it cannot tell."""
    right, wrong = (base64.b64encode(hashlib.sha256(data).digest()).decode() for data in (content, b"other"))
    planned = await plan(on_s3, len(content), sha256=wrong)
    if isinstance(planned, FormUpload):
        assert form_answer(planned, content).status_code == 400
        assert (await refusal(on_s3, CompleteUploadInput(upload_id=planned.upload_id))).code is Code.PRECONDITION_FAILED
    else:
        error = await refusal(on_s3, send(planned, content))
        assert (error.code, "digest" in error.message) == (Code.BAD_REQUEST, True)
    assert site.is_empty()
    await on_s3.attachments.direct.complete(ME, send(await plan(on_s3, len(content), sha256=right), content))


@BOTH_WAYS
async def test_what_was_aborted_leaves_nothing(on_s3: Store, site: Site, content: bytes) -> None:
    planned = await plan(on_s3, len(content))
    asked = send(planned, content)
    for _ in range(2):  # an answer may be lost
        assert (await on_s3.attachments.direct.abort(ME, planned.upload_id)).success
        assert site.is_empty()
    assert (await refusal(on_s3, asked)).code is Code.NOT_FOUND
    if isinstance(planned, PartsUpload):
        assert part_answer(planned, 1, content[:PART]).status_code == 404


async def test_an_upload_is_aborted_in_the_middle_of_its_parts(on_s3: Store, site: Site) -> None:
    planned = await plan(on_s3, len(LARGE))
    assert part_answer(planned, 2, LARGE[PART:]).is_success
    assert len(site.unfinished()) == 1
    await on_s3.attachments.direct.abort(ME, planned.upload_id)
    assert site.is_empty()


async def test_what_is_complete_is_not_aborted(on_s3: Store) -> None:
    planned = await plan(on_s3, len(SMALL))
    await on_s3.attachments.direct.complete(ME, send(planned, SMALL))
    with pytest.raises(ServiceError, match="delete the attachment") as caught:
        await on_s3.attachments.direct.abort(ME, planned.upload_id)
    assert caught.value.code is Code.CONFLICT
    assert await read(on_s3, planned.upload_id) == SMALL


async def test_what_was_deleted_is_not_completed_again(on_s3: Store) -> None:
    asked = send(await plan(on_s3, len(SMALL)), SMALL)
    attachment = await on_s3.attachments.direct.complete(ME, asked)
    await on_s3.attachments.delete(ME, attachment.id)
    assert (await refusal(on_s3, asked)).code is Code.NOT_FOUND


async def test_a_caller_has_so_many_open_uploads(site: Site) -> None:
    """What was completed, aborted or refused makes room; others have their own."""
    async with await site.open(direct_max_open=3) as store:
        direct = store.attachments.direct
        plans = [await plan(store, len(SMALL)) for _ in range(3)]
        for size in (len(SMALL), len(LARGE)):
            with pytest.raises(ServiceError, match=r"upload\.direct_max_open") as caught:
                await plan(store, size)
            assert caught.value.code is Code.TOO_MANY_REQUESTS
        assert site.unfinished() == []
        await plan(store, 1, who=caller(user_id="user-2"))
        await direct.complete(ME, send(plans[0], SMALL))
        await direct.abort(ME, plans[1].upload_id)
        assert (await refusal(store, send(plans[2], b"x" * len(SMALL)))).reason is Reason.INVALID_ATTACHMENT_TYPE
        for _ in range(3):
            await plan(store, 1)


async def test_as_many_at_once(site: Site) -> None:
    """Of calls that come together, at two processes, no more than the limit go well."""
    async with await site.open(direct_max_open=3) as one, await site.open(direct_max_open=3) as other:
        plans = await asyncio.gather(*(plan(store, 1) for store in (one, other) * 10), return_exceptions=True)
        refused = [each for each in plans if isinstance(each, ServiceError)]
        assert [each.code for each in refused] == [Code.TOO_MANY_REQUESTS] * 17


@pytest.mark.parametrize(
    ("filename", "size", "code", "reason"),
    [
        pytest.param("a.exe", 1, Code.UNSUPPORTED_MEDIA_TYPE, Reason.INVALID_ATTACHMENT_TYPE, id="type"),
        pytest.param("a.png", LIMIT + 1, Code.PAYLOAD_TOO_LARGE, Reason.ATTACHMENT_TOO_LARGE, id="size"),
        pytest.param("../a.png", 1, Code.BAD_REQUEST, None, id="name"),
    ],
)
async def test_what_no_upload_may_have_is_refused_at_once(
    on_s3: Store, site: Site, filename: str, size: int, code: Code, reason: Reason | None
) -> None:
    with pytest.raises(ServiceError) as caught:
        await plan(on_s3, size, filename)
    assert (caught.value.code, caught.value.reason) == (code, reason)


@pytest.mark.only_on("local", reason="about the folder")
async def test_a_folder_takes_no_direct_uploads(store: Store, directory: Path) -> None:
    with pytest.raises(ServiceError, match=r"attachments.upload or POST /api/upload") as caught:
        await plan(store, 1)
    assert caught.value.code is Code.PRECONDITION_FAILED
    assert not (await store.attachments.limits()).direct
    assert files(directory) == []
