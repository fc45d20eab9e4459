"""Downloads over a real connection: every header, ranges, conditions, HEAD, links, refusals."""

import base64
import hashlib
from typing import Any

import pytest

from rest.delivery import CHUNK_BYTES
from storage import fresh_id
from tests.rest.live import PNG, Client, Server, error, read_answer
from tests.rest.test_conditions import MODIFIED
from tests.rest.test_ranges import IGNORED

CONTENT = b"%PDF-1.7\n" + bytes(range(256)) * 3000  # three chunks, the last of them short
OTHER_ORGANIZATION = "0190a000-0000-7000-8000-000000000002"


@pytest.fixture(scope="module")
def stored(client: Client) -> Any:
    return client.store("a.pdf", CONTENT)


@pytest.fixture(scope="module")
def url(stored: Any) -> str:
    path: str = stored["url"]
    return path


def sha256(content: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"


def test_sends_the_file_with_exactly_these_headers(client: Client, url: str) -> None:
    answer = client.get(url)
    assert (answer.status, answer.body) == (200, CONTENT)
    modified = answer.headers["last-modified"]
    assert answer.headers == {
        "date": answer.headers["date"],
        "server": "uvicorn",
        "content-type": "application/pdf",
        "content-length": str(len(CONTENT)),
        "content-disposition": 'inline; filename="a.pdf"',
        "etag": f'"{hashlib.sha256(CONTENT).hexdigest()}"',
        "last-modified": modified,
        "accept-ranges": "bytes",
        "content-digest": sha256(CONTENT),
        "repr-digest": sha256(CONTENT),
        "cache-control": "private, no-cache",
        "vary": "accept",
        "x-content-type-options": "nosniff",
        "content-security-policy": "sandbox; default-src 'none'",
        "cross-origin-resource-policy": "same-site",
    }


def test_head_has_the_same_headers_and_no_body(client: Client, url: str) -> None:
    answer = client.request("HEAD", url, ["Range: bytes=0-1"])
    whole = client.get(url)
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers | {"date": ""} == whole.headers | {"date": ""}


def test_head_and_get_share_a_connection(client: Client, url: str) -> None:
    with client.connect() as connection:
        for method in ("HEAD", "GET", "HEAD", "GET"):
            connection.sendall(client.head(method, url))
            assert len(read_answer(connection, method).body) == (len(CONTENT) if method == "GET" else 0)


@pytest.mark.parametrize(
    ("name", "content", "content_type", "disposition"),
    [
        pytest.param("a.png", PNG, "image/png", 'inline; filename="a.png"', id="image"),
        pytest.param("a.txt", b"text", "text/plain", 'attachment; filename="a.txt"', id="text"),
        pytest.param("a.csv", b"a,b", "text/csv", 'attachment; filename="a.csv"', id="csv"),
        pytest.param("a.json", b"{}", "application/json", 'attachment; filename="a.json"', id="json"),
        pytest.param(
            "ä.zip", b"PK\3\4", "application/zip", "attachment; filename=\"a.zip\"; filename*=UTF-8''%C3%A4.zip", id="UTF-8"
        ),
    ],
)
def test_says_what_the_file_is(client: Client, name: str, content: bytes, content_type: str, disposition: str) -> None:
    answer = client.get(client.store(name, content)["url"])
    assert answer.body == content
    assert (answer.headers["content-type"], answer.headers["content-disposition"]) == (content_type, disposition)


@pytest.mark.parametrize(
    ("query", "kind"), [("?download=1", "attachment"), ("?x=y&download=1", "attachment"), ("?download=0", "inline")]
)
def test_download_1_saves_the_file(client: Client, url: str, query: str, kind: str) -> None:
    assert client.get(url + query).headers["content-disposition"] == f'{kind}; filename="a.pdf"'


@pytest.mark.parametrize("size", [1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 2 * CHUNK_BYTES + 1])
def test_every_size_comes_whole(client: Client, size: int) -> None:
    content = (b"abc" * (size // 3 + 1))[:size]
    assert client.get(client.store("a.txt", content)["url"]).body == content


# Ranges

SIZE = len(CONTENT)


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [
        pytest.param("bytes=0-1", 0, 2, id="Safari's probe"),
        pytest.param("bytes=0-0", 0, 1, id="first byte"),
        pytest.param(f"bytes={SIZE - 1}-", SIZE - 1, SIZE, id="last byte"),
        pytest.param("bytes=-5", SIZE - 5, SIZE, id="suffix"),
        pytest.param(f"bytes=-{SIZE + 5}", 0, SIZE, id="suffix of more"),
        pytest.param("bytes=0-", 0, SIZE, id="all"),
        pytest.param(f"bytes=100-{SIZE + 100}", 100, SIZE, id="end past the file"),
        pytest.param("bytes=1-" + "9" * 5000, 1, SIZE, id="huge digits"),
        pytest.param(f"bytes={CHUNK_BYTES - 1}-{CHUNK_BYTES}", CHUNK_BYTES - 1, CHUNK_BYTES + 1, id="over a chunk's end"),
    ],
)
def test_sends_the_range(client: Client, url: str, header: str, start: int, stop: int) -> None:
    answer = client.get(url, f"Range: {header}")
    assert (answer.status, answer.body) == (206, CONTENT[start:stop])
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{SIZE}"
    assert answer.headers["content-length"] == str(stop - start)
    assert answer.headers["repr-digest"] == sha256(CONTENT)
    assert "content-digest" not in answer.headers


@pytest.mark.parametrize("header", [f"bytes={SIZE}-", f"bytes={SIZE}-{SIZE}", "bytes=-0", "bytes=" + "9" * 5000 + "-"])
def test_a_range_outside_is_416(client: Client, url: str, header: str) -> None:
    answer = client.get(url, f"Range: {header}")
    message = f"the range lies outside the file of {SIZE} bytes"
    assert (answer.status, answer.json()) == (416, error("RANGE_NOT_SATISFIABLE", message))
    assert answer.headers["content-range"] == f"bytes */{SIZE}"


@pytest.mark.parametrize("header", [header for header in IGNORED if b"\0" not in header], ids=lambda header: repr(header[:20]))
def test_a_malformed_range_is_ignored(client: Client, url: str, header: bytes) -> None:
    head = client.head("GET", url, ["X: y"]).replace(b"X: y", b"Range: " + header)
    # A blank before the value belongs to HTTP, not to the field.
    if header.startswith(b" "):
        assert client.exchange(head).status == 206
    else:
        answer = client.exchange(head)
        assert (answer.status, answer.body) == (200, CONTENT)


def test_two_range_headers_are_ignored(client: Client, url: str) -> None:
    assert client.get(url, "Range: bytes=0-1", "Range: bytes=0-1").status == 200


# Conditions


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param(["If-None-Match: {etag}"], 304, id="same tag"),
        pytest.param(['If-None-Match: W/{etag}, "x"'], 304, id="weak, in a list"),
        pytest.param(['If-None-Match: "x"', "If-None-Match: {etag}"], 304, id="in a second header"),
        pytest.param(["If-None-Match: *"], 304, id="any"),
        pytest.param(['If-None-Match: "x"'], 200, id="another tag"),
        pytest.param(["If-Modified-Since: {modified}"], 304, id="same date"),
        pytest.param([f"If-Modified-Since: {MODIFIED.decode()}"], 200, id="earlier date"),
        pytest.param(["If-Match: {etag}"], 200, id="match"),
        pytest.param(['If-Match: "x"'], 412, id="no match"),
        pytest.param(["If-Match: W/{etag}"], 412, id="weak match"),
        pytest.param([f"If-Unmodified-Since: {MODIFIED.decode()}"], 412, id="modified since"),
        pytest.param(["Range: bytes=0-1", "If-Range: {etag}"], 206, id="range of the same"),
        pytest.param(["Range: bytes=0-1", "If-Range: {modified}"], 206, id="range of the same date"),
        pytest.param(["Range: bytes=0-1", 'If-Range: "x"'], 200, id="range of another"),
        pytest.param(["Range: bytes=0-1", "If-Range: W/{etag}"], 200, id="range of a weak tag"),
        pytest.param([f"Range: bytes={SIZE}-", 'If-Range: "x"'], 200, id="outside, of another"),
        pytest.param(["Range: bytes=0-1", "If-None-Match: {etag}"], 304, id="condition before range"),
        pytest.param([f"Range: bytes={SIZE}-", 'If-Match: "x"'], 412, id="412 before 416"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_conditional_requests(client: Client, url: str, method: str, headers: list[str], status: int) -> None:
    whole = client.get(url)
    etag, modified = whole.headers["etag"], whole.headers["last-modified"]
    answer = client.request(method, url, [header.format(etag=etag, modified=modified) for header in headers])
    assert answer.status == (200 if method == "HEAD" and status == 206 else status)
    if status == 304:
        assert answer.body == b""
        assert answer.headers | {"date": ""} == {
            "date": "",
            "server": "uvicorn",
            "etag": etag,
            "last-modified": modified,
            "cache-control": "private, no-cache",
            "vary": "accept",
        }
    if status == 412 and method == "GET":
        message = f"the file is not the one that was asked for; its ETag is {etag}"
        assert answer.json() == error("PRECONDITION_FAILED", message)


# Links


def test_json_is_a_link_from_the_base_url_never_from_host(client: Client, url: str) -> None:
    answer = client.get(url, "Accept: application/json")
    assert (answer.status, answer.json()) == (200, {"url": f"https://files.example{url}"})
    assert answer.headers["vary"] == "accept"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("accept", ["*/*", "application/pdf", "application/json, text/plain, */*"])
def test_bytes_are_the_default(client: Client, url: str, accept: str) -> None:
    assert client.get(url, f"Accept: {accept}").body == CONTENT


# Refusals


def test_what_is_missing_foreign_or_deleted_is_404(client: Client, server: Server) -> None:
    stored = client.store("a.png", PNG)
    foreign = Client(server, server.token(OTHER_ORGANIZATION)).get(stored["url"])
    server.run(lambda: server.store.attachments.delete(client.principal(), stored["id"]))
    missing = fresh_id()
    for answer, id in (
        (foreign, stored["id"]),
        (client.get(stored["url"]), stored["id"]),
        (client.get(f"/api/attachments/{missing}/download"), missing),
        (client.get("/api/attachments/..%2f..%2fetc%2fpasswd/download".replace("%2f", "%5c")), "..\\..\\etc\\passwd"),
        (client.get("/api/attachments/%00%ff/download"), "\0\ufffd"),
        (client.get(f"/api/attachments/{missing}/download", "Accept: application/json"), missing),
    ):
        assert (answer.status, answer.json()) == (404, error("NOT_FOUND", f'attachment "{id}" not found'))


def test_a_stranger_is_401(server: Server, url: str) -> None:
    answer = Client(server, None).get(url)
    assert (answer.status, answer.json()) == (401, error("UNAUTHORIZED", "authentication required"))
    assert answer.headers["www-authenticate"] == 'Bearer realm="api"'


def test_a_cross_site_request_is_403(client: Client, url: str) -> None:
    answer = client.get(url, "Sec-Fetch-Site: cross-site")
    assert (answer.status, answer.json()) == (403, error("FORBIDDEN", "cross-site request refused"))


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_other_methods_are_405(client: Client, url: str, method: str) -> None:
    answer = client.request(method, url, body=b"x" * 100)
    assert (answer.status, answer.json()) == (
        405,
        error("METHOD_NOT_SUPPORTED", f"{method} is not supported here, only GET, HEAD"),
    )
    assert answer.headers["allow"] == "GET, HEAD"


def test_other_paths_are_404_in_the_same_shape(client: Client) -> None:
    answer = client.get("/nothing/here")
    assert (answer.status, answer.json()) == (404, error("NOT_FOUND", "there is nothing at /nothing/here"))
