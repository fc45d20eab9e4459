"""What a bucket can do beside taking files and giving them: listing, removing, quarantine, links, and saying what is wrong."""

import asyncio
import base64
import hashlib
import os
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import msgspec
import pytest

from schemas import Code, ServiceError
from storage import S3Options, fresh_id
from storage.blobs import BLOBS_AT_ONCE, BlobInfo, Blobs
from storage.s3 import S3Blobs
from tests.engines.s3 import SharedS3, options_of
from tests.engines.seaweedfs import BUCKET, READER_KEY, READER_SECRET, SECRET_KEY


@pytest.fixture
def options(s3: SharedS3) -> S3Options:
    """A part of the bucket for the test alone."""
    return options_of(s3.fresh_prefix())


@pytest.fixture
async def blobs(options: S3Options) -> AsyncIterator[Blobs]:
    opened = S3Blobs(options)
    yield opened
    await opened.aclose()


def fetch(url: str, **headers: str) -> httpx.Response:
    return httpx.get(url, headers=headers, timeout=60)


class Objects:
    """Objects of the test, put there past the program."""

    def __init__(self, s3: SharedS3, options: S3Options) -> None:
        self._client = s3.client()
        self._prefix = options.prefix

    def put(self, key: str, content: bytes = b"12345") -> str:
        self._client.put_object(Bucket=BUCKET, Key=self._prefix + key, Body=content)
        return key

    def begin(self, key: str) -> str:
        """A multipart upload with one part."""
        where = {"Bucket": BUCKET, "Key": self._prefix + key}
        id = self._client.create_multipart_upload(**where)["UploadId"]  # type: ignore[arg-type]
        self._client.upload_part(**where, UploadId=id, PartNumber=1, Body=b"12345")  # type: ignore[arg-type]
        return id

    def send(self, key: str, upload: str, number: int, content: bytes) -> None:
        self._client.upload_part(Bucket=BUCKET, Key=self._prefix + key, UploadId=upload, PartNumber=number, Body=content)

    def get(self, key: str) -> bytes:
        return self._client.get_object(Bucket=BUCKET, Key=self._prefix + key)["Body"].read()


@pytest.fixture
def objects(s3: SharedS3, options: S3Options) -> Objects:
    return Objects(s3, options)


async def scanned(blobs: Blobs, after: str = "") -> list[BlobInfo]:
    return [info async for batch in blobs.scan(after) for info in batch]


async def test_a_scan_gives_what_is_ours_and_nothing_else(blobs: Blobs, objects: Objects) -> None:
    ids = [fresh_id() for _ in range(3)]
    finished = [objects.put(f"attachments/o/{ids[0]}"), objects.put(f"quarantine/attachments/o/{ids[1]}")]
    unfinished = [objects.put(f".check-{ids[0]}")]
    uploads = [f"unfinished/attachments/o/{id}/{objects.begin(f'attachments/o/{id}')}" for id in ids]
    for other in (f"attachments/{ids[0]}", f"other/o/{ids[0]}", "attachments/o/notes.txt", f"attachments/o/p/{ids[0]}", ids[0]):
        objects.put(other)
    objects.begin("attachments/o/notes.txt")
    infos = await scanned(blobs)
    assert {info.key: info.unfinished for info in infos} == dict.fromkeys(finished, False) | dict.fromkeys(
        unfinished + uploads, True
    )
    assert {info.size for info in infos if info.key not in uploads} == {5}
    assert all(abs(info.modified_at - time.time()) < 600 for info in infos)


async def test_a_scan_goes_on_where_one_was_left(blobs: Blobs, objects: Objects) -> None:
    for folder in ("a", "a-b", "b"):
        objects.put(f"attachments/{folder}/{fresh_id()}")
        objects.put(f"quarantine/attachments/{folder}/{fresh_id()}")
        objects.begin(f"attachments/{folder}/{fresh_id()}")
    objects.put(f".check-{fresh_id()}")
    in_order = [info.key for info in await scanned(blobs)]
    assert len(in_order) == 10
    for count, key in enumerate(in_order, 1):
        assert [info.key for info in await scanned(blobs, key)] == in_order[count:], key


async def test_batches_are_bounded_and_all_of_them_are_found(blobs: Blobs) -> None:
    keys = [f"attachments/o{number % 3}/{fresh_id()}" for number in range(1100)]

    async def put(key: str) -> None:
        await blobs.create(key).commit()

    await asyncio.gather(*map(put, keys))
    batches = [batch async for batch in blobs.scan()]
    assert {info.key for batch in batches for info in batch} == set(keys)
    assert max(map(len, batches)) <= BLOBS_AT_ONCE
    assert await blobs.missing(keys[:BLOBS_AT_ONCE]) == set()
    await blobs.delete(keys)
    assert await scanned(blobs) == []


async def test_unfinished_uploads_are_removed_by_their_keys(blobs: Blobs, objects: Objects) -> None:
    for _ in range(3):
        objects.begin(f"attachments/o/{fresh_id()}")
    kept = objects.put(f"attachments/o/{fresh_id()}")
    found = [info.key for info in await scanned(blobs) if info.unfinished]
    assert len(found) == 3
    await blobs.delete(found)
    await blobs.delete(found)
    assert [info.key for info in await scanned(blobs)] == [kept]


async def test_an_unfinished_upload_is_as_old_as_its_last_part(blobs: Blobs, objects: Objects) -> None:
    """A slow client may be at it for hours; and what its parts take is known."""
    key = f"attachments/o/{fresh_id()}"
    id = objects.begin(key)
    (begun,) = await scanned(blobs)
    await asyncio.sleep(1.1)  # the store tells whole seconds
    for number in (2, 3):
        objects.send(key, id, number, bytes(1000))
    (found,) = await scanned(blobs)
    assert (found.key, found.size, found.unfinished) == (begun.key, begun.size + 2000, True)
    assert found.modified_at >= begun.modified_at + 1


async def test_a_list_of_keys_to_delete_has_the_checksum_that_every_store_knows(options: S3Options) -> None:
    requests: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(re.findall(rb"(?i)content-length: (\d+)", head)[0])
        requests.append(head + await reader.readexactly(length))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n<DeleteResult/>")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        blobs = S3Blobs(msgspec.structs.replace(options, endpoint_url=f"http://127.0.0.1:{port}"))
        await blobs.delete([f"attachments/o/{fresh_id()}"])
        await blobs.aclose()
    head, _, body = requests[0].partition(b"\r\n\r\n")
    md5 = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest())
    assert b"\r\nContent-MD5: " + md5 in head


async def test_which_are_missing_and_how_large_they_are(blobs: Blobs, objects: Objects) -> None:
    there, gone = objects.put(f"attachments/o/{fresh_id()}", b"1234567"), f"attachments/o/{fresh_id()}"
    assert await blobs.missing([]) == set()
    assert await blobs.missing([there, gone]) == {gone}
    assert (await blobs.size_of(there), await blobs.size_of(gone)) == (7, None)


async def test_quarantine_and_back(blobs: Blobs, objects: Objects) -> None:
    keys = [objects.put(f"attachments/{folder}/{fresh_id()}", os.urandom(9)) for folder in ("a", "b")]
    contents = [objects.get(key) for key in keys]
    gone = f"attachments/a/{fresh_id()}"
    await blobs.quarantine([*keys, gone])
    assert [info.key for info in await scanned(blobs)] == sorted(f"quarantine/{key}" for key in keys)
    await blobs.quarantine(keys)
    objects.put(keys[1], b"there again")
    await blobs.release([*keys, gone])
    assert (objects.get(keys[0]), objects.get(keys[1])) == (contents[0], b"there again")
    assert [info.key for info in await scanned(blobs) if info.key.startswith("quarantine/")] == [f"quarantine/{keys[1]}"]


@pytest.mark.parametrize("key", ["", "/", "../x", "a/../b", "/etc/passwd", "a//b", "a\0b", "ä", "a\n"])
async def test_a_key_that_is_none_is_refused(blobs: Blobs, key: str) -> None:
    with pytest.raises(ValueError, match="is not the key of a blob"):
        blobs.open(key)
    with pytest.raises(ValueError, match="is not the key of a blob"):
        await blobs.delete([key])


async def test_a_link_gives_the_file_with_its_headers(blobs: Blobs, objects: Objects) -> None:
    key = objects.put(f"attachments/o/{fresh_id()}", b"0123456789")
    disposition = "attachment; filename=\"Bild _.png\"; filename*=UTF-8''Bild%20%C3%BC.png"
    url = blobs.link(key, content_type="image/png", disposition=disposition)
    assert url is not None
    answer = fetch(url)
    assert (answer.status_code, answer.content) == (200, b"0123456789")
    assert (answer.headers["content-type"], answer.headers["content-disposition"]) == ("image/png", disposition)
    part = fetch(url, range="bytes=2-4")
    assert (part.status_code, part.content) == (206, b"234")
    assert fetch(url.replace("X-Amz-Signature=", "X-Amz-Signature=0")).status_code == 403
    assert fetch(url.replace("image", "text")).status_code == 403
    assert SECRET_KEY not in url


async def test_a_link_expires(blobs: Blobs, objects: Objects) -> None:
    key = objects.put(f"attachments/o/{fresh_id()}")
    urls = {expires_s: blobs.link(key, content_type="a/b", disposition="inline", expires_s=expires_s) for expires_s in (1, 600)}
    await asyncio.sleep(2.1)
    for expires_s, url in urls.items():
        assert url is not None
        assert parse_qs(urlsplit(url).query)["X-Amz-Expires"] == [str(expires_s)]
        assert fetch(url).status_code == (403 if expires_s == 1 else 200)


async def host_of_link(options: S3Options, **changed: object) -> str:
    """Scheme, host and path of a link."""
    blobs = S3Blobs(msgspec.structs.replace(options, **changed))
    url = blobs.link("attachments/o/x", content_type="a/b", disposition="inline")
    await blobs.aclose()
    return "" if url is None else url.partition("?")[0]


async def test_where_links_lead(options: S3Options) -> None:
    prefix = options.prefix
    assert await host_of_link(options, proxy=True) == ""
    assert await host_of_link(options) == f"{options.endpoint_url}/{BUCKET}/{prefix}attachments/o/x"
    public = "https://files.example.com"
    assert await host_of_link(options, public_endpoint_url=public) == f"{public}/{BUCKET}/{prefix}attachments/o/x"
    virtual = f"https://{BUCKET}.files.example.com/{prefix}attachments/o/x"
    assert await host_of_link(options, public_endpoint_url=public, addressing="virtual") == virtual
    aws = {"endpoint_url": "", "region": "eu-central-1"}
    regional = "s3.eu-central-1.amazonaws.com"
    assert await host_of_link(options, **aws) == f"https://{BUCKET}.{regional}/{prefix}attachments/o/x"
    assert await host_of_link(options, **aws, addressing="path") == f"https://{regional}/{BUCKET}/{prefix}attachments/o/x"


async def test_a_bucket_is_checked_for_real(blobs: Blobs) -> None:
    await blobs.check()
    assert await scanned(blobs) == []


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        pytest.param(
            {"bucket": "no-such-bucket"}, r'upload\.s3_bucket: there is no bucket "no-such-bucket" at ht', id="bucket"
        ),
        pytest.param(
            {"secret_key": "hunter2"},
            r"upload\.s3_access_key, upload\.s3_secret_key: \S+ does not accept .*Sig",
            id="secret",
        ),
        pytest.param(
            {"access_key": "nobody"}, r"upload\.s3_access_key, upload\.s3_secret_key: \S+ does not accept .*InvalidA", id="key"
        ),
        pytest.param(
            {"access_key": READER_KEY, "secret_key": READER_SECRET},
            r"upload\.s3_access_key: these credentials may not PutObject in the bucket \"attachd\" \(AccessDenied\)",
            id="permission",
        ),
        pytest.param(
            {"endpoint_url": "http://127.0.0.1:9"},
            r"upload\.s3_endpoint_url: http://127\.0\.0\.1:9 cannot be r",
            id="nobody",
        ),
        pytest.param({"endpoint_url": "http://s3.invalid"}, r"upload\.s3_endpoint_url: http://s3\.invalid cannot", id="name"),
    ],
)
async def test_what_is_wrong_is_said_in_one_line(options: S3Options, changed: dict[str, str], message: str) -> None:
    blobs = S3Blobs(msgspec.structs.replace(options, **changed, attempts=1))
    with pytest.raises(ServiceError) as caught:
        await blobs.check()
    await blobs.aclose()
    assert caught.value.code is Code.SERVICE_UNAVAILABLE
    assert re.match(message, str(caught.value)), str(caught.value)
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert caught.value.message == "the storage is not available now, try again"


async def test_credentials_come_from_elsewhere_when_none_are_set(
    options: S3Options, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for variable in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(variable, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    nobody = S3Blobs(msgspec.structs.replace(options, access_key="", secret_key=""))
    with pytest.raises(ServiceError) as caught:
        await nobody.check()
    await nobody.aclose()
    assert str(caught.value).startswith("upload.s3_access_key and upload.s3_secret_key are not set, and this machine has no")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", options.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", options.secret_key)
    somebody = S3Blobs(msgspec.structs.replace(options, access_key="", secret_key=""))
    await somebody.check()
    await somebody.aclose()
