"""Clients that go away in the midst of an upload or a download leave nothing: no descriptor, no thread, no file."""

import socket
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.running import Attachd

TIMES = 40
CONTENT = b"text " * 600_000  # 3 MB: more than the server, the kernel and this test hold of a stopped download
HEAD = b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
TAIL = b"\r\n--b--\r\n"
SETTLE_S = 60.0

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells what a process holds on Linux only")


class Held(NamedTuple):
    """What the server holds: open descriptors, threads, and keys of bytes."""

    descriptors: int
    threads: int
    files: int


def held(server: Attachd) -> Held:
    process = Path(f"/proc/{server.process.pid}")
    files = server.backing.bytes.kept()
    return Held(len(list((process / "fd").iterdir())), len(list((process / "task").iterdir())), len(files))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attachd]:
    with Attachd(tmp_path_factory.mktemp("leaks")) as server:
        yield server


@pytest.fixture(scope="module")
def attachment(server: Attachd) -> str:
    """The path of a download. The server has taken several at once: all threads that it ever needs have started."""

    def upload_and_download(_: int) -> str:
        with server.client() as client:
            url: str = client.post("/api/upload", files={"file": ("a.txt", CONTENT)}).json()["url"]
            assert client.get(url).content == CONTENT
            return url

    with ThreadPoolExecutor(20) as pool:
        url, *_ = pool.map(upload_and_download, range(40))
    return url


@pytest.fixture(scope="module")
def at_rest(server: Attachd, attachment: str) -> Held:
    """What the server holds after those uploads when nobody is connected."""
    assert attachment
    time.sleep(1)
    return held(server)


def connect(server: Attachd) -> socket.socket:
    host, port = server.base_url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), 60)


def request(server: Attachd, first: str, *headers: str) -> bytes:
    lines = [f"{first} HTTP/1.1", "host: localhost", f"cookie: session={server.tokens['member']}", *headers, "", ""]
    return "\r\n".join(lines).encode()


def upload(sent: int, *headers: str) -> Callable[[Attachd, str], bytes]:
    """The bytes of an upload that stops after `sent` bytes of its body."""

    def data(server: Attachd, _: str) -> bytes:
        body = HEAD + CONTENT + TAIL
        length = headers or (f"content-length: {len(body)}",)
        head = request(server, "POST /api/upload", "content-type: multipart/form-data; boundary=b", *length)
        return head + (b"%x\r\n" % len(body) if headers else b"") + body[:sent]

    return data


def upload_by_procedure(sent: int, *headers: str) -> Callable[[Attachd, str], bytes]:
    """As `upload`, of the file itself as the input of a procedure."""

    def data(server: Attachd, _: str) -> bytes:
        length = headers or (f"content-length: {len(CONTENT)}",)
        named = ("content-type: application/octet-stream", "x-attachd-filename: a.txt")
        head = request(server, "POST /api/trpc/attachments.upload", *named, *length)
        return head + (b"%x\r\n" % len(CONTENT) if headers else b"") + CONTENT[:sent]

    return data


def download(server: Attachd, url: str) -> bytes:
    return request(server, f"GET {url}")


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize(
    ("data", "answer_bytes"),
    [
        pytest.param(upload(0), 0, id="upload-head-only"),
        pytest.param(upload(50), 0, id="upload-in-part-header"),
        pytest.param(upload(100_000), 0, id="upload-little"),
        pytest.param(upload(2_000_000), 0, id="upload-much"),
        pytest.param(upload(len(HEAD + CONTENT)), 0, id="upload-all-but-the-last-boundary"),
        pytest.param(upload(2_000_000, "transfer-encoding: chunked"), 0, id="upload-chunked"),
        pytest.param(upload_by_procedure(0), 0, id="procedure-head-only"),
        pytest.param(upload_by_procedure(2_000_000), 0, id="procedure-much"),
        pytest.param(upload_by_procedure(2_000_000, "transfer-encoding: chunked"), 0, id="procedure-chunked"),
        pytest.param(download, 0, id="download-unread"),
        pytest.param(download, 1000, id="download-begun"),
    ],
)
def test_clients_that_go_away(
    server: Attachd, attachment: str, at_rest: Held, data: Callable[[Attachd, str], bytes], answer_bytes: int, *, reset: bool
) -> None:
    bytes_to_send = data(server, attachment)
    for _ in range(TIMES):
        with connect(server) as connection:
            connection.sendall(bytes_to_send)
            if answer_bytes:
                connection.recv(answer_bytes)
            if reset:  # RST in place of FIN: what a client that crashes or a phone that loses its network looks like
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert_nothing_more(server, at_rest)
    with server.client() as client:
        assert client.get(attachment).content == CONTENT
    assert_nothing_more(server, at_rest)


def assert_nothing_more(server: Attachd, at_rest: Held) -> None:
    """The server comes to hold no more than that; pools of connections may have become smaller."""
    deadline, found = time.monotonic() + SETTLE_S, held(server)
    while any(now > before for now, before in zip(found, at_rest, strict=True)):
        assert time.monotonic() < deadline, (found, at_rest)
        time.sleep(0.02)
        found = held(server)
