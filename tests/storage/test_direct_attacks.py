"""Direct uploads by clients that are hostile: they have the URLs, and do with them whatever these allow."""

import asyncio
import hashlib
from collections.abc import Callable

import httpx
import pytest

from schemas import Code, CompleteUploadInput, FormUpload, PartsUpload, Principal, Reason, SentPart, ServiceError
from storage import Policy, Store, api_a, api_b, fresh_id
from tests.storage.conftest import caller
from tests.storage.direct_site import ME, PART, Site, digest, plan, read
from tests.storage.sending import TIMEOUT_S, form_answer, part_answer, pieces, send
from tests.storage.test_direct import BOTH_WAYS, LARGE, SMALL, THREE_PARTS, refusal

PAGE = b"<!DOCTYPE html><script>alert(document.cookie)</script>"
# Two contents of one MD5, so of one ETag (X. Wang and others, "Collisions for Hash Functions", 2004).
_COLLISION = (
    "d131dd02c5e6eec4693d9a0698aff95c2fcab5{}712467eab4004583eb8fb7f8955ad340609f4b30283e4888325{}1415a085125e8f7cdc99fd91dbd{}28"
    "0373c5bd8823e3156348f5bae6dacd436c919c6dd53e2{}487da03fd02396306d248cda0e99f33420f577ee8ce54b67080{}80d1ec69821bcb6a8839396f"
    "965{}b6ff72a70"
)
ONE, OTHER = (bytes.fromhex(_COLLISION.format(*digits)) for digits in ("87fba2", "0f732a"))


def page_of(size: int) -> bytes:
    """A page for browsers of that size."""
    return PAGE + b" " * (size - len(PAGE))


def unready(planned: FormUpload | PartsUpload, *parts: SentPart) -> CompleteUploadInput:
    """What completes an upload that was not sent as it should be."""
    return CompleteUploadInput(upload_id=planned.upload_id, parts=list(parts))


@pytest.mark.parametrize(
    ("content", "fields"),
    [
        pytest.param(SMALL[:-1], {}, id="a byte less"),
        pytest.param(SMALL + b"x", {}, id="a byte more"),
        pytest.param(SMALL * 100_000, {}, id="much more"),
        pytest.param(b"", {}, id="nothing"),
        pytest.param(SMALL, {"key": "elsewhere"}, id="another key"),
        pytest.param(SMALL, {"Content-Type": "text/html"}, id="another type"),
        pytest.param(SMALL, {"x-amz-meta-evil": "1"}, id="a field more"),
        pytest.param(SMALL, {"x-amz-signature": "0" * 64}, id="another signature"),
        pytest.param(SMALL, {"policy": "e30="}, id="another policy"),
    ],
)
async def test_the_store_takes_no_other_form(on_s3: Store, site: Site, content: bytes, fields: dict[str, str]) -> None:
    planned = await plan(on_s3, len(SMALL))
    if "key" in fields:
        fields = {"key": f"{site.prefix}attachments/{ME.organization_id}/{fresh_id()}"}
    assert form_answer(planned, content, **fields).status_code in {400, 403}
    assert (await refusal(on_s3, unready(planned))).code is Code.PRECONDITION_FAILED
    assert site.is_empty()


@pytest.mark.parametrize(
    ("content", "change"),
    [
        pytest.param(LARGE[: PART - 1], str, id="a byte less"),
        pytest.param(LARGE[: PART + 1], str, id="a byte more"),
        pytest.param(LARGE[:PART], lambda url: url.replace("partNumber=1", "partNumber=2"), id="another number"),
        pytest.param(LARGE[:PART], lambda url: url.replace("/incoming/", "/attachments/"), id="another key"),
        pytest.param(LARGE[:PART], lambda url: url.replace("X-Amz-Expires=3600", "X-Amz-Expires=36000"), id="longer"),
    ],
)
async def test_the_store_takes_no_other_part(on_s3: Store, site: Site, content: bytes, change: Callable[[str], str]) -> None:
    planned = await plan(on_s3, len(LARGE))
    assert isinstance(planned, PartsUpload)
    url = change(planned.parts[0].url)
    assert (await asyncio.to_thread(httpx.put, url, content=content, timeout=TIMEOUT_S)).status_code == 403
    forged = SentPart(part_number=1, etag=hashlib.md5(content).hexdigest())  # noqa: S324 (what an ETag would be)
    assert (await refusal(on_s3, unready(planned, forged))).code is Code.PRECONDITION_FAILED
    assert site.keys() == []


async def test_parts_that_are_forged_or_missing_complete_nothing(on_s3: Store, site: Site) -> None:
    """After all of it, the right parts still do."""
    planned = await plan(on_s3, len(THREE_PARTS))
    assert isinstance(planned, PartsUpload)
    one, two, three = pieces(planned, THREE_PARTS)
    first = SentPart(part_number=1, etag=part_answer(planned, 1, one).headers["etag"])
    third = SentPart(part_number=3, etag=part_answer(planned, 3, three).headers["etag"])
    forged = SentPart(part_number=2, etag=hashlib.md5(two).hexdigest())  # noqa: S324 (what its ETag would be)
    other = SentPart(part_number=2, etag=first.etag)
    for parts in ((), (first, third), (first, forged, third), (first, other, third)):
        error = await refusal(on_s3, unready(planned, *parts))
        assert (error.code, "part" in error.message) == (Code.PRECONDITION_FAILED, True)
    assert site.keys() == []
    second = SentPart(part_number=2, etag=part_answer(planned, 2, two).headers["etag"])
    assert (await refusal(on_s3, unready(planned, first, second))).code is Code.PRECONDITION_FAILED
    await on_s3.attachments.direct.complete(ME, unready(planned, first, second, third))
    assert await read(on_s3, planned.upload_id) == THREE_PARTS


@BOTH_WAYS
async def test_a_page_is_no_picture(on_s3: Store, site: Site, content: bytes) -> None:
    """It is refused whatever its name and its type say, the upload is over, and nothing of it stays."""
    planned = await plan(on_s3, len(content))
    asked = send(planned, page_of(len(content)))
    error = await refusal(on_s3, asked)
    assert (error.code, error.reason) == (Code.UNSUPPORTED_MEDIA_TYPE, Reason.INVALID_ATTACHMENT_TYPE)
    assert site.is_empty()
    assert (await refusal(on_s3, asked)).code is Code.NOT_FOUND
    if isinstance(planned, FormUpload):  # its URL is still good: what comes after is never looked at, and swept
        assert form_answer(planned, content).is_success
        assert (await refusal(on_s3, asked)).code is Code.NOT_FOUND
        await on_s3.attachments.direct.forget_expired(grace_s=-7200, dry_run=False)
        assert site.is_empty()


@pytest.mark.parametrize("size", [pytest.param(100_000, id="form"), pytest.param(PART + 100_000, id="parts")])
async def test_a_text_is_text_to_its_last_byte(on_s3: Store, site: Site, size: int) -> None:
    asked = send(await plan(on_s3, size, "a.txt"), b"a" * (size - 1) + b"\0")
    assert (await refusal(on_s3, asked)).reason is Reason.INVALID_ATTACHMENT_TYPE
    assert site.is_empty()
    await on_s3.attachments.direct.complete(ME, send(await plan(on_s3, size, "a.txt"), b"a" * size))


@BOTH_WAYS
async def test_what_was_kept_cannot_be_changed(on_s3: Store, site: Site, content: bytes) -> None:
    planned = await plan(on_s3, len(content))
    asked = send(planned, content)
    attachment = await on_s3.attachments.direct.complete(ME, asked)
    evil = page_of(len(content))
    if isinstance(planned, FormUpload):
        assert form_answer(planned, evil).is_success  # the URL is still good
    else:
        assert part_answer(planned, 1, evil[:PART]).status_code == 404
    assert await on_s3.attachments.direct.complete(ME, asked) == attachment
    assert await read(on_s3, attachment.id) == content
    await on_s3.attachments.direct.forget_expired(grace_s=-7200, dry_run=False)
    assert site.keys() == [attachment.storage_path]
    assert await read(on_s3, attachment.id) == content


@pytest.mark.parametrize(
    ("filename", "good", "evil", "policy"),
    [
        pytest.param("a.png", SMALL, page_of(len(SMALL)), api_a(), id="a page"),
        pytest.param("a.bin", ONE, OTHER, api_b(), id="the same MD5"),
    ],
)
async def test_what_is_changed_meanwhile_is_never_kept_unseen(
    site: Site, filename: str, good: bytes, evil: bytes, policy: Policy
) -> None:
    """Two processes complete while the form is sent again and again, with this and that in turn."""
    async with await site.open(policy) as store, await site.open(policy) as other:
        for _ in range(10):
            planned = await plan(store, len(good), filename)
            asked = send(planned, good)
            changes = [asyncio.to_thread(form_answer, planned, content) for content in (evil, good, evil)]
            calls = [each.attachments.direct.complete(ME, asked) for each in (store, other)]
            outcomes = await asyncio.gather(*calls, *changes, return_exceptions=True)
            kept = [outcome for outcome in outcomes[:2] if not isinstance(outcome, BaseException)]
            if kept:
                content = await read(store, planned.upload_id)
                assert hashlib.sha256(content).digest() == await digest(store, planned.upload_id)
                assert content == good or policy.other is not None
            assert {type(outcome) for outcome in outcomes[:2] if outcome not in kept} <= {ServiceError}
        await store.attachments.direct.forget_expired(grace_s=-7200, dry_run=False)
        rows = (await store.attachments.usage(ME)).count
        assert len(site.keys()) == rows


@BOTH_WAYS
@pytest.mark.parametrize(
    "other",
    [
        pytest.param(caller(user_id="user-2"), id="a colleague"),
        pytest.param(caller(user_id="user-2", role="admin"), id="an admin"),
        pytest.param(caller(organization_id="org-2"), id="another organization"),
        pytest.param(caller(organization_id="org-2", user_id="user-2", role="admin"), id="a stranger"),
    ],
)
async def test_an_upload_does_not_exist_for_others(on_s3: Store, content: bytes, other: Principal) -> None:
    asked = send(await plan(on_s3, len(content)), content)
    direct = on_s3.attachments.direct
    for _ in range(2):  # under way, and complete
        assert (await refusal(on_s3, asked, other)).code is Code.NOT_FOUND
        with pytest.raises(ServiceError, match=r"^upload .* not found") as caught:
            await direct.abort(other, asked.upload_id)
        assert caught.value.code is Code.NOT_FOUND
        await direct.complete(ME, asked)
    assert await read(on_s3, asked.upload_id) == content


async def test_a_widget_uploads_elsewhere(on_s3: Store) -> None:
    widget = Principal(kind="widget", user_id="w", organization_id="org-1", role="member", conversation_id=fresh_id())
    with pytest.raises(ServiceError) as caught:
        await plan(on_s3, 1, who=widget)
    assert caught.value.code is Code.FORBIDDEN


@BOTH_WAYS
async def test_it_is_completed_or_aborted_never_both(on_s3: Store, site: Site, content: bytes) -> None:
    for turns in range(8):
        asked = send(await plan(on_s3, len(content)), content)

        async def abort(id: str = asked.upload_id, wait_s: float = 0.02 * turns) -> None:
            await asyncio.sleep(wait_s)
            await on_s3.attachments.direct.abort(ME, id)

        completed, aborted = await asyncio.gather(on_s3.attachments.direct.complete(ME, asked), abort(), return_exceptions=True)
        if isinstance(completed, ServiceError):
            assert completed.code in {Code.NOT_FOUND, Code.PRECONDITION_FAILED}
            assert aborted is None
            # Parts that were being joined may have become an object behind the abort, which a sweep is there for.
            await on_s3.attachments.direct.forget_expired(grace_s=-7200, dry_run=False)
            assert site.is_empty()
        else:
            assert isinstance(aborted, ServiceError)
            assert aborted.code is Code.CONFLICT
            assert await read(on_s3, asked.upload_id) == content
            await on_s3.attachments.delete(ME, asked.upload_id)
            await asyncio.sleep(0.005)  # sweep removes what was deleted in an earlier millisecond
            await on_s3.sweep(grace_s=0, quarantine_s=0, retention_s=0, unlinked_s=0, dry_run=False)
            assert site.is_empty()


async def test_urls_expire(site: Site) -> None:
    async with await site.open(direct_expiry_s=1) as store:
        form, parts = await plan(store, len(SMALL)), await plan(store, len(LARGE))
        await asyncio.sleep(2.1)
        assert form_answer(form, SMALL).status_code == 403
        assert part_answer(parts, 1, LARGE[:PART]).status_code == 403
        assert site.keys() == []
