"""Blobs into a bucket and out of it: every byte, whatever their number, and nothing of what was given up."""

import asyncio
import hashlib
import os
import random
import threading
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from schemas import Code, ServiceError
from storage import S3Options, fresh_id
from storage.blobs import BlobInfo
from storage.s3 import S3Blobs
from storage.s3.writer import CHUNK
from tests.engines.s3 import SharedS3, options_of
from tests.engines.seaweedfs import BUCKET

PART = 5 * 2**20
READ = 256 * 1024
SIZES = (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, PART - 1, PART, PART + 1, 2 * PART, 3 * PART + 12_345)


@pytest.fixture
def options(s3: SharedS3) -> S3Options:
    """A part of the bucket for the test alone."""
    return msgspec.structs.replace(options_of(s3.fresh_prefix()), part_bytes=PART)


@pytest.fixture
async def blobs(options: S3Options) -> AsyncIterator[S3Blobs]:
    opened = S3Blobs(options)
    yield opened
    await opened.aclose()


def key() -> str:
    return f"attachments/o/{fresh_id()}"


async def read(blobs: S3Blobs, key: str, start: int, stop: int, *, expect: bool) -> bytes:
    """Bytes [start, stop) as a download reads them."""
    reader = blobs.open(key)
    if expect:
        reader.expect(start, stop)
    try:
        pieces = [bytes(await reader.read(at, min(READ, stop - at))) for at in range(start, stop, READ)]
    finally:
        reader.close()
    return b"".join(pieces)


async def put(blobs: S3Blobs, content: bytes) -> str:
    name = key()
    writer = blobs.create(name)
    await writer.write(content)
    assert await writer.commit() == hashlib.sha256(content).digest()
    return name


def left(s3: SharedS3, options: S3Options) -> list[str]:
    """Every object and every multipart upload behind the prefix."""
    client = s3.client()
    objects = client.list_objects_v2(Bucket=BUCKET, Prefix=options.prefix).get("Contents", [])
    uploads = client.list_multipart_uploads(Bucket=BUCKET, Prefix=options.prefix).get("Uploads", [])
    return [one["Key"] for one in objects] + [f"upload of {one['Key']}" for one in uploads]


async def eventually_nothing_is_left(s3: SharedS3, options: S3Options) -> None:
    async with asyncio.timeout(60):
        while left(s3, options):  # noqa: ASYNC110 (the store tells nobody)
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("piece", [100_000, 10**9], ids=["pieces", "whole"])
async def test_what_is_written_is_read(blobs: S3Blobs, s3: SharedS3, options: S3Options, size: int, piece: int) -> None:
    content = os.urandom(size)
    name, writer = key(), None
    writer = blobs.create(name)
    for start in range(0, size, piece):
        await writer.write(memoryview(content)[start : start + piece])
    assert await writer.commit() == hashlib.sha256(content).digest()
    assert await blobs.size_of(name) == size
    assert s3.client().get_object(Bucket=BUCKET, Key=options.prefix + name)["Body"].read() == content
    assert await read(blobs, name, 0, size, expect=True) == content
    assert left(s3, options) == [options.prefix + name]


@pytest.mark.parametrize("size", SIZES[1:])
async def test_what_threads_append_is_read(blobs: S3Blobs, size: int) -> None:
    """As `rest/pouring.py` does it: pieces of one buffer, which is used again, many of them in a hop."""
    content = os.urandom(size)
    name, buffer, hops = key(), bytearray(2**20), 0
    writer = blobs.create(name)
    await writer.write(content[:10])
    offset = min(10, size)

    def hop() -> None:
        nonlocal offset
        for _ in range(7):
            piece = content[offset : offset + len(buffer)]
            buffer[: len(piece)] = piece
            writer.append(memoryview(buffer)[: len(piece)])
            offset += len(piece)

    while offset < size:
        await writer.run(hop)
        hops += 1
    assert await writer.commit() == hashlib.sha256(content).digest()
    assert await read(blobs, name, 0, size, expect=True) == content


@pytest.mark.parametrize("expect", [True, False], ids=["expected", "by-the-way"])
async def test_any_bytes_can_be_read(blobs: S3Blobs, expect: bool) -> None:
    content = os.urandom(PART + 3 * READ + 7)
    name, chance = await put(blobs, content), random.Random(8)
    ranges = [(0, 1), (len(content) - 1, len(content)), (READ, 2 * READ), (PART - 1, PART + 1), (5, len(content))]
    ranges += [tuple(sorted(chance.sample(range(len(content)), 2))) for _ in range(5)]  # type: ignore[misc]
    for start, stop in ranges:
        assert await read(blobs, name, start, stop, expect=expect) == content[start:stop], (start, stop)


async def test_reads_may_jump(blobs: S3Blobs) -> None:
    content = os.urandom(4 * READ)
    reader = blobs.open(await put(blobs, content))
    reader.expect(0, len(content))
    for start, length in ((0, 10), (10, 20), (READ, READ), (0, 5), (3 * READ, READ)):
        assert await reader.read(start, length) == content[start : start + length]
    reader.close()


async def test_a_reader_may_be_left_at_any_time(blobs: S3Blobs) -> None:
    name = await put(blobs, os.urandom(2 * PART))
    before = threading.active_count()
    for wait_s in (0.0, 0.002, 0.02):
        reader = blobs.open(name)
        reader.expect(0, 2 * PART)
        await reader.read(0, READ)
        task = asyncio.create_task(reader.read(READ, READ))
        await asyncio.sleep(wait_s)
        task.cancel()
        reader.close()
    assert await read(blobs, name, 0, 10, expect=False)
    async with asyncio.timeout(60):
        while threading.active_count() > before:  # noqa: ASYNC110 (a thread tells nobody of its end)
            await asyncio.sleep(0.01)


async def test_what_is_not_there_or_too_short_cannot_be_read(blobs: S3Blobs) -> None:
    name = await put(blobs, b"12345")
    for missing, stop in ((key(), 5), (name, 6)):
        with pytest.raises(ServiceError) as caught:
            await read(blobs, missing, 0, stop, expect=True)
        assert caught.value.code is Code.SERVICE_UNAVAILABLE


@pytest.mark.parametrize("size", [0, 10, CHUNK, PART, PART + 1, 3 * PART])
async def test_what_is_given_up_leaves_nothing(blobs: S3Blobs, s3: SharedS3, options: S3Options, size: int) -> None:
    writer = blobs.create(key())
    await writer.write(os.urandom(size))
    writer.abort()
    await eventually_nothing_is_left(s3, options)


@pytest.mark.parametrize("size", [10, 3 * PART])
async def test_what_is_given_up_after_all_leaves_nothing(blobs: S3Blobs, s3: SharedS3, options: S3Options, size: int) -> None:
    writer = blobs.create(key())
    await writer.write(os.urandom(size))
    await writer.commit()
    assert left(s3, options)
    writer.abort()
    await eventually_nothing_is_left(s3, options)


@pytest.mark.parametrize("after_s", [0.0, 0.005, 0.02, 0.1, 0.3])
@pytest.mark.parametrize("size", [1000, 3 * PART])
async def test_who_is_cancelled_leaves_nothing(
    blobs: S3Blobs, s3: SharedS3, options: S3Options, size: int, after_s: float
) -> None:
    async def upload() -> None:
        writer = blobs.create(key())
        try:
            for _ in range(0, size, READ):
                await writer.write(os.urandom(min(READ, size)))
            await writer.commit()
            await asyncio.sleep(60)
        finally:
            writer.abort()

    task = asyncio.create_task(upload())
    await asyncio.sleep(after_s)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await eventually_nothing_is_left(s3, options)


async def test_uploads_at_the_same_time(blobs: S3Blobs, s3: SharedS3, options: S3Options) -> None:
    contents = [os.urandom(random.Random(n).choice([10, CHUNK * 3, PART + 5])) for n in range(40)]
    names = await asyncio.gather(*(put(blobs, content) for content in contents))
    read_back = await asyncio.gather(
        *(read(blobs, name, 0, len(content), expect=True) for name, content in zip(names, contents, strict=True))
    )
    assert read_back == contents
    infos: list[BlobInfo] = [info async for batch in blobs.scan() for info in batch]
    assert {info.key: info.size for info in infos} == {
        name: len(content) for name, content in zip(names, contents, strict=True)
    }
    assert not any(info.unfinished for info in infos)


async def test_a_spool_that_is_gone_is_an_answer(options: S3Options, tmp_path: Any) -> None:
    blobs = S3Blobs(msgspec.structs.replace(options, spool_directory=tmp_path / "none"))
    for written in (10, CHUNK):
        writer = blobs.create(key())
        await writer.write(bytes(written))
        if written == 10:
            await writer.commit()
        else:
            with pytest.raises(ServiceError, match=r"upload\.s3_spool_directory") as caught:
                await writer.commit()
            assert caught.value.code is Code.SERVICE_UNAVAILABLE
            writer.abort()
    with pytest.raises(ServiceError, match=r"upload\.s3_spool_directory"):
        await blobs.check()
    await blobs.aclose()


@pytest.mark.parametrize("size", [10, PART + 1], ids=["put", "parts"])
async def test_the_store_is_asked_to_encrypt(s3: SharedS3, options: S3Options, size: int) -> None:
    blobs, content = S3Blobs(msgspec.structs.replace(options, server_side_encryption="AES256")), os.urandom(size)
    name = await put(blobs, content)
    assert await read(blobs, name, 0, size, expect=True) == content
    await blobs.quarantine([name])
    (moved,) = left(s3, options)
    found = s3.client().head_object(Bucket=BUCKET, Key=moved)
    assert (found["ContentLength"], found.get("ServerSideEncryption")) == (size, "AES256")
    await blobs.aclose()
