"""A server on a bucket: what its clients are redirected to, what it answers itself, and what is left of broken uploads."""

import contextlib
import os
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.descriptors import needs_proc, open_sockets, settled_sockets
from tests.engines.s3 import SharedS3
from tests.engines.seaweedfs import BUCKET, SECRET_KEY
from tests.rest.live import eventually
from tests.rest.posts import PNG, api_key
from tests.running import Attachd, run_attachd

MIB = 2**20
EXPIRY_S = 900
IDLE_TIMEOUT_S = 60.0
PDF = b"%PDF-1.7\n" + bytes(range(256)) * 40


@pytest.fixture(scope="module")
def settings(s3: SharedS3) -> dict[str, Any]:
    return {
        **s3.fresh_prefix(),
        "ATTACHD_UPLOAD_S3_URL_EXPIRY": f"{EXPIRY_S}s",
        "ATTACHD_UPLOAD_S3_PART_SIZE_MB": "5",
        "ATTACHD_UPLOAD_IDLE_TIMEOUT_SECONDS": str(IDLE_TIMEOUT_S),
        "ATTACHD_FILES_RATE_LIMIT": "",
    }


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, settings: dict[str, Any]) -> Iterator[Attachd]:
    """A server that redirects."""
    with Attachd(tmp_path_factory.mktemp("s3"), **settings, ATTACHD_UPLOAD_S3_PROXY="false") as running:
        yield running


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory, settings: dict[str, Any]) -> Iterator[Attachd]:
    """A server that hands the bytes over itself."""
    with Attachd(tmp_path_factory.mktemp("proxy"), **settings, ATTACHD_UPLOAD_S3_PROXY="true") as running:
        yield running


def kept(s3: SharedS3, settings: dict[str, Any]) -> tuple[set[str], int]:
    """The objects of the server, and how many multipart uploads there are."""
    prefix = settings["ATTACHD_UPLOAD_S3_PREFIX"]
    objects = s3.client().list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
    uploads = s3.client().list_multipart_uploads(Bucket=BUCKET, Prefix=prefix).get("Uploads", [])
    return {one["Key"] for one in objects}, len(uploads)


def upload(client: httpx.Client, content: bytes, name: str, **headers: str) -> str:
    """The path of the download of a new file."""
    answer = client.post("/api/upload", files={"file": (name, content)}, headers=headers)
    assert answer.status_code == 200, answer.text
    url: str = answer.json()["url"]
    return url


def follow(answer: httpx.Response, **headers: str) -> httpx.Response:
    """What the store gives for the redirect, to somebody without any credential."""
    assert answer.status_code == 302, answer.text
    assert answer.content == b""
    url = answer.headers["location"]
    assert parse_qs(urlsplit(url).query)["X-Amz-Expires"] == [str(EXPIRY_S)]
    assert SECRET_KEY not in url
    return httpx.get(url, headers=headers, timeout=30)


@pytest.mark.parametrize(
    ("name", "content", "type_", "disposition"),
    [
        pytest.param("a.png", PNG, "image/png", 'inline; filename="a.png"', id="image"),
        pytest.param("a.pdf", PDF, "application/pdf", 'inline; filename="a.pdf"', id="pdf"),
        pytest.param("a.txt", b"<script>", "text/plain", 'attachment; filename="a.txt"', id="text"),
        pytest.param("b 1.zip", b"PK\x03\x04" + bytes(90), "application/zip", 'attachment; filename="b 1.zip"', id="zip"),
        pytest.param(
            "Grüße.png", PNG, "image/png", "inline; filename=\"Gru_e.png\"; filename*=UTF-8''Gr%C3%BC%C3%9Fe.png", id="umlauts"
        ),
    ],
)
def test_a_download_is_a_redirect_to_the_store(
    server: Attachd, name: str, content: bytes, type_: str, disposition: str
) -> None:
    with server.client() as client:
        answer = client.get(upload(client, content, name))
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["cross-origin-resource-policy"] == "same-site"
    file = follow(answer)
    assert (file.status_code, file.content) == (200, content)
    assert file.headers["content-type"] == type_
    assert file.headers["content-disposition"] == disposition
    part = follow(answer, range="bytes=2-5")
    assert (part.status_code, part.content) == (206, content[2:6])


def test_what_is_saved_is_saved_at_the_store(server: Attachd) -> None:
    with server.client() as client:
        file = follow(client.get(f"{upload(client, PNG, 'a.png')}?download=1"))
    assert file.headers["content-disposition"] == 'attachment; filename="a.png"'


@pytest.mark.parametrize("size", [1, 100_000, 5 * MIB - 9, 5 * MIB - 8, 5 * MIB - 7, 10 * MIB - 8, 23 * MIB + 7])
def test_every_size_comes_back(server: Attachd, proxy: Attachd, size: int) -> None:
    content = b"%PDF-1.7" + os.urandom(size)
    for running in (server, proxy):
        with running.client() as client:
            answer = client.get(upload(client, content, "a.pdf"))
        if running is server:
            answer = follow(answer)
        assert (answer.status_code, len(answer.content)) == (200, len(content))
        assert answer.content == content


def test_what_is_asked_of_us_is_answered_by_us(server: Attachd) -> None:
    with server.client() as client:
        url = upload(client, PNG, "a.png")
        head = client.head(url)
        assert (head.status_code, head.headers["content-length"]) == (200, str(len(PNG)))
        etag = head.headers["etag"]
        assert client.get(url, headers={"if-none-match": etag}).status_code == 304
        assert client.get(url, headers={"if-match": '"other"'}).status_code == 412
        assert client.get(url, headers={"range": "bytes=999999-"}).status_code == 416
        assert client.get(url, headers={"if-none-match": '"other"'}).status_code == 302
        assert client.get(url, headers={"range": "bytes=1-2"}).status_code == 302
        # The store would compare these with a tag of its own.
        whole = client.get(url, headers={"if-match": etag})
        assert (whole.status_code, whole.content) == (200, PNG)
        part = client.get(url, headers={"if-range": etag, "range": "bytes=1-2"})
        assert (part.status_code, part.content) == (206, PNG[1:3])
        assert client.get(url, headers={"accept": "application/json"}).json() == {"url": server.base_url + url}


def test_a_deleted_file_is_gone_at_once(server: Attachd) -> None:
    with server.client() as client:
        url = upload(client, PNG, "a.png")
        id = url.split("/")[3]
        assert client.post("/api/trpc/attachments.delete", json={"id": id}).status_code == 200
        assert client.get(url).status_code == 404


def test_signed_links_are_redirects(server: Attachd) -> None:
    with server.client() as client, server.client(None) as anyone:
        id = upload(client, PNG, "a.png").split("/")[3]
        signed = client.get("/api/trpc/attachments.url", params={"input": f'{{"id":"{id}"}}'}).json()
        link = signed["result"]["data"]["json"]["url"]
        assert follow(anyone.get(link)).content == PNG
        assert anyone.get(link.replace("sig=", "sig=A")).status_code == 403


def test_media_have_urls_of_the_store(server: Attachd) -> None:
    with server.client() as client:
        answer = client.post("/api/v1/media", files={"file": ("a.png", PNG)}, data={"inline": "true"})
        media = answer.json()["data"]
        assert parse_qs(urlsplit(media["url"]).query)["X-Amz-Expires"] == [str(EXPIRY_S)]
        file = httpx.get(media["url"], timeout=30)
        assert (file.status_code, file.content, file.headers["content-type"]) == (200, PNG, "image/png")
        assert follow(client.get(f"/uploads/{media['uuid']}")).content == PNG
        posted = client.post(
            "/api/v1/conversations/0190a000-0000-7000-8000-000000000001/messages",
            json={"content": "<p>Hi</p>", "attachments": [media["uuid"]], "to": ["a@example.com"]},
        )
        (attachment,) = posted.json()["data"]["attachments"]
        assert httpx.get(attachment["url"], timeout=30).content == PNG


def test_previews_and_public_links_are_redirects(server: Attachd) -> None:
    with httpx.Client(base_url=server.base_url, headers={"authorization": f"Bearer {server.key}"}, timeout=30) as client:
        id = client.post("/files/upload", files={"file": ("a.png", PNG)}).json()["id"]
        assert follow(client.get(f"/files/{id}/preview")).content == PNG
        saved = follow(client.get(f"/files/{id}/preview?as_attachment=true"))
        assert saved.headers["content-disposition"] == 'attachment; filename="a.png"'
    token = api_key(server, "store")
    with httpx.Client(base_url=server.base_url, headers={"authorization": f"Token {token}"}, timeout=30) as client:
        url = client.post("/v1/chat/upload/", files={"file": ("a.png", PNG)}).json()["url"]
    answer = httpx.get(url, timeout=30)
    assert follow(answer).content == PNG
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"


def test_a_proxy_answers_as_on_disk(proxy: Attachd) -> None:
    content = b"%PDF-1.7" + os.urandom(3 * MIB)
    with proxy.client() as client:
        url = upload(client, content, "a.pdf")
        answer = client.get(url)
        assert answer.content == content
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
        for start, stop in ((0, 1), (MIB, 2 * MIB + 5), (3 * MIB, len(content))):
            part = client.get(url, headers={"range": f"bytes={start}-{stop - 1}", "if-range": answer.headers["etag"]})
            assert (part.status_code, part.content) == (206, content[start:stop])
        media = client.post("/api/v1/media", files={"file": ("a.png", PNG)}).json()["data"]
        assert media["url"].startswith(f"{proxy.base_url}/uploads/")
        assert httpx.get(media["url"], timeout=30).content == PNG


def part_of_an_upload(server: Attachd, sent: int, announced: int) -> socket.socket:
    """A connection on which `sent` bytes of a file of `announced` were sent."""
    url = httpx.URL(server.base_url)
    connection = socket.create_connection((url.host, url.port or 0), timeout=60)
    connection.sendall(
        f"POST /api/trpc/attachments.upload HTTP/1.1\r\nHost: x\r\nCookie: session={server.tokens['member']}\r\n"
        "Content-Type: application/octet-stream\r\nX-Attachd-Filename: a.pdf\r\n"
        f"Content-Length: {announced}\r\n\r\n".encode()
    )
    connection.sendall(b"%PDF-1.7" + bytes(sent - 8))
    return connection


@pytest.mark.parametrize("sent", [1000, 6 * MIB, 16 * MIB], ids=["head", "a-part", "parts"])
def test_a_client_that_leaves_leaves_nothing(server: Attachd, s3: SharedS3, settings: dict[str, Any], sent: int) -> None:
    before = kept(s3, settings)
    with part_of_an_upload(server, sent, 20 * MIB):
        if sent > 5 * MIB:
            assert eventually(lambda: kept(s3, settings)[1] == before[1] + 1)
    assert eventually(lambda: kept(s3, settings) == before)


@needs_proc
def test_a_client_that_leaves_a_download_leaves_no_connection_to_the_store(proxy: Attachd) -> None:
    url = httpx.URL(proxy.base_url)
    with proxy.client() as client, contextlib.ExitStack() as leaving:
        path = upload(client, b"%PDF-1.7" + bytes(24 * MIB), "a.pdf")
        assert client.get(path).is_success
        before = settled_sockets(proxy.process.pid, lambda: client.get("/healthz"))
        for _ in range(20):  # more than there are connections to the store that are kept for the next call
            connection = leaving.enter_context(socket.socket())
            connection.settimeout(60)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 10_000)
            connection.connect((url.host, url.port or 0))
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nCookie: session={proxy.tokens['member']}\r\n\r\n".encode())
            assert connection.recv(12) == b"HTTP/1.1 200"
        assert open_sockets(proxy.process.pid) >= before + 20 + 10
        leaving.close()
        assert eventually(lambda: open_sockets(proxy.process.pid) <= before)


def test_slow_clients_do_not_keep_others_waiting(server: Attachd) -> None:
    """Far more of them than there are threads, each in the middle of a part."""
    with contextlib.ExitStack() as slow, server.client() as client:
        for _ in range(60):
            slow.enter_context(part_of_an_upload(server, 2 * MIB, 20 * MIB))
        client.timeout = httpx.Timeout(IDLE_TIMEOUT_S / 2)
        upload(client, b"%PDF-1.7" + bytes(6 * MIB), "a.pdf")


def test_no_secret_is_in_the_log(server: Attachd) -> None:
    with server.client() as client:
        client.get(upload(client, PNG, "a.png"))
    log = server.log.read_text()
    assert SECRET_KEY not in log
    assert "X-Amz-Signature" not in log


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"S3_BUCKET": "no-such-bucket"}, 'upload.s3_bucket: there is no bucket "no-such-bucket" at http'),
        ({"S3_SECRET_KEY": "hunter2"}, "upload.s3_access_key, upload.s3_secret_key: http"),
        ({"S3_ENDPOINT_URL": "http://127.0.0.1:9", "S3_ATTEMPTS": "1"}, "upload.s3_endpoint_url: http://127.0.0.1:9 cannot"),
    ],
    ids=["bucket", "secret", "nobody"],
)
def test_a_bucket_that_cannot_be_used_stops_the_start(
    tmp_path: Any, settings: dict[str, Any], changed: dict[str, str], error: str
) -> None:
    chosen = settings | {f"ATTACHD_UPLOAD_{key}": value for key, value in changed.items()}
    done = run_attachd("serve", folder=tmp_path, **chosen, ATTACHD_SERVER_PORT="0")
    assert done.returncode != 0
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"Error: {error}")
    assert "hunter2" not in line
