"""A store that fails, or says what is not so, at each step: the upload is refused or it is right, and nothing of it is left."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest

from schemas import Code, ServiceError
from storage import S3Options, fresh_id
from storage.s3 import S3Blobs
from tests.engines.s3 import SharedS3, options_of
from tests.engines.seaweedfs import BUCKET
from tests.faults.s3_proxy import Fault, Operation, S3Proxy

PART = 5 * 2**20
SMALL, LARGE = 1000, 3 * PART
# How long a client waits where an answer never comes. Elsewhere it waits long: the machine may be slow.
READ_TIMEOUT_S = 2.0
SILENT = ("timeout", "lost-answer")
STEPS: list[tuple[Operation, int]] = [
    ("PutObject", SMALL),
    ("CreateMultipartUpload", LARGE),
    ("UploadPart", LARGE),
    ("CompleteMultipartUpload", LARGE),
]
ALWAYS: list[Fault] = ["internal-error", "timeout", "lost-answer"]
ONCE: list[Fault] = ["slow-down", "error-in-200", "reset", "lost-answer", "reset-after"]


@pytest.fixture(scope="module")
def proxy(s3: SharedS3) -> Iterator[S3Proxy]:
    with S3Proxy(s3.url) as running:
        yield running


@pytest.fixture
def direct(s3: SharedS3) -> S3Options:
    return msgspec.structs.replace(options_of(s3.fresh_prefix()), part_bytes=PART, read_timeout_s=60.0)


@pytest.fixture
async def blobs(request: pytest.FixtureRequest, direct: S3Options, proxy: S3Proxy) -> AsyncIterator[S3Blobs]:
    """Through the proxy. They try twice what always fails, and more often what fails once: the machine may fail it, too."""
    parameters = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    opened = S3Blobs(
        msgspec.structs.replace(
            direct,
            endpoint_url=proxy.url,
            read_timeout_s=READ_TIMEOUT_S if parameters.get("fault") in SILENT else direct.read_timeout_s,
            attempts=5 if "fails_once" in request.node.name else 2,
        )
    )
    yield opened
    await opened.aclose()


async def upload(blobs: S3Blobs, content: bytes) -> str:
    """Upload as `Upload` does it: what fails is given up."""
    key = f"attachments/o/{fresh_id()}"
    writer = blobs.create(key)
    try:
        for start in range(0, len(content), 2**20):
            await writer.write(content[start : start + 2**20])
        assert await writer.commit() == hashlib.sha256(content).digest()
    except BaseException:
        writer.abort()
        raise
    return key


async def read(blobs: S3Blobs, key: str, size: int) -> bytes:
    reader = blobs.open(key)
    reader.expect(0, size)
    try:
        step = 256 * 1024
        return b"".join([bytes(await reader.read(at, min(step, size - at))) for at in range(0, size, step)])
    finally:
        reader.close()


def left(s3: SharedS3, options: S3Options) -> list[str]:
    client = s3.client()
    objects = client.list_objects_v2(Bucket=BUCKET, Prefix=options.prefix).get("Contents", [])
    uploads = client.list_multipart_uploads(Bucket=BUCKET, Prefix=options.prefix).get("Uploads", [])
    return [one["Key"] for one in objects] + [f"upload of {one['Key']}" for one in uploads]


async def assert_nothing_is_left(s3: SharedS3, options: S3Options) -> None:
    async with asyncio.timeout(60):
        while left(s3, options):  # noqa: ASYNC110 (the store tells nobody)
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("fault", ALWAYS)
@pytest.mark.parametrize(("operation", "size"), STEPS, ids=[operation for operation, _ in STEPS])
async def test_a_step_that_always_fails(
    blobs: S3Blobs, proxy: S3Proxy, s3: SharedS3, direct: S3Options, operation: Operation, size: int, fault: Fault
) -> None:
    content = os.urandom(size)
    with proxy.at(operation, fault):
        (outcome,) = await asyncio.gather(upload(blobs, content), return_exceptions=True)
    assert isinstance(outcome, ServiceError)
    assert outcome.code is Code.SERVICE_UNAVAILABLE
    assert str(outcome) != outcome.message  # it says why
    if (operation, fault) == ("CreateMultipartUpload", "lost-answer"):  # nobody was told its id: sweep finds it
        await blobs.delete([info.key async for batch in blobs.scan() for info in batch if info.unfinished])
    await assert_nothing_is_left(s3, direct)


@pytest.mark.parametrize("fault", ONCE)
@pytest.mark.parametrize(("operation", "size"), STEPS, ids=[operation for operation, _ in STEPS])
async def test_a_step_that_fails_once(blobs: S3Blobs, proxy: S3Proxy, operation: Operation, size: int, fault: Fault) -> None:
    content = os.urandom(size)
    with proxy.at(operation, fault, times=1):
        key = await upload(blobs, content)
    assert await read(blobs, key, size) == content


@pytest.mark.parametrize(("operation", "size"), [STEPS[0], STEPS[2]], ids=["put", "part"])
async def test_bytes_that_the_store_says_are_others_are_refused(
    blobs: S3Blobs, proxy: S3Proxy, s3: SharedS3, direct: S3Options, operation: Operation, size: int
) -> None:
    with proxy.at(operation, "wrong-etag"), pytest.raises(ServiceError, match=r"ETag of .* instead of") as caught:
        await upload(blobs, os.urandom(size))
    assert caught.value.code is Code.SERVICE_UNAVAILABLE
    await assert_nothing_is_left(s3, direct)


async def test_a_completed_upload_with_a_strange_tag_is_looked_at(blobs: S3Blobs, proxy: S3Proxy) -> None:
    content = os.urandom(LARGE)
    with proxy.at("CompleteMultipartUpload", "wrong-etag"):
        key = await upload(blobs, content)
    assert "HeadObject" in proxy.seen
    assert await read(blobs, key, LARGE) == content


@pytest.mark.parametrize("fault", ["internal-error", "reset", "truncated", "reset-after"])
async def test_a_read_that_fails_once_is_gone_on_with(blobs: S3Blobs, proxy: S3Proxy, fault: Fault) -> None:
    content = os.urandom(LARGE)
    key = await upload(blobs, content)
    with proxy.at("GetObject", fault, times=1):
        assert await read(blobs, key, LARGE) == content


@pytest.mark.parametrize("fault", ["truncated", "timeout"])
async def test_a_read_that_always_fails(blobs: S3Blobs, proxy: S3Proxy, fault: Fault) -> None:
    key = await upload(blobs, os.urandom(LARGE))
    with proxy.at("GetObject", fault), pytest.raises(ServiceError) as caught:
        await read(blobs, key, LARGE)
    assert caught.value.code is Code.SERVICE_UNAVAILABLE


async def test_an_object_that_is_another_in_the_middle_is_no_answer(blobs: S3Blobs, proxy: S3Proxy) -> None:
    key = await upload(blobs, os.urandom(LARGE))
    reader = blobs.open(key)
    await reader.read(0, 10)
    with proxy.at("GetObject", "wrong-etag"), pytest.raises(ServiceError, match="ETag 0123456789abcdef"):
        await reader.read(100, 10)
    reader.close()


async def test_a_store_that_hangs_is_waited_for_no_longer_than_is_set(s3: SharedS3, direct: S3Options, proxy: S3Proxy) -> None:
    """Also by those who wait for a thread: there is one here."""
    blobs = S3Blobs(
        msgspec.structs.replace(direct, endpoint_url=proxy.url, connections=1, attempts=1, read_timeout_s=READ_TIMEOUT_S)
    )
    loop = asyncio.get_running_loop()
    started = loop.time()
    with proxy.at("PutObject", "timeout"):
        answers = await asyncio.gather(*(upload(blobs, b"x") for _ in range(2)), return_exceptions=True)
    assert all(isinstance(answer, ServiceError) and answer.code is Code.SERVICE_UNAVAILABLE for answer in answers)
    assert loop.time() - started < 2 * (2 * READ_TIMEOUT_S) + 20  # each waits for `100 Continue` first
    await blobs.aclose()
    await assert_nothing_is_left(s3, direct)
