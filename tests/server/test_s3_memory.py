"""Memory of a server on a bucket: it grows neither with the files nor with how many come at once, or how slowly."""

import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.engines.s3 import SharedS3
from tests.running import Attachd

MIB = 2**20
UPLOADS, SIZE = 50, 6 * MIB
MOST_BYTES = 64 * MIB


@pytest.fixture
def server(tmp_path: Path, s3: SharedS3) -> Iterator[Attachd]:
    """A server with the smallest parts, so that there are two in each file."""
    settings: dict[str, str] = {
        **s3.fresh_prefix(),
        "ATTACHD_UPLOAD_S3_PART_SIZE_MB": "5",
        "ATTACHD_UPLOAD_IDLE_TIMEOUT_SECONDS": "120",  # each client waits for all others
    }
    with Attachd(tmp_path, credentials=True, **settings) as running:
        yield running


def resident_bytes(server: Attachd) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")) * 1024


class Client(threading.Thread):
    """Uploads a file, the second half of it when it is told to."""

    def __init__(self, server: Attachd, content: bytes, go_on: threading.Event) -> None:
        super().__init__()
        self._url = httpx.URL(server.base_url)
        self._token = server.tokens["member"]
        self._content = content
        self._go_on = go_on
        self.has_sent_half = False
        self.answer = b""

    def run(self) -> None:
        with socket.create_connection((self._url.host, self._url.port or 0), timeout=120) as connection:
            connection.sendall(
                f"POST /api/trpc/attachments.upload HTTP/1.1\r\nHost: x\r\nCookie: session={self._token}\r\n"
                "Content-Type: application/octet-stream\r\nX-Attachd-Filename: a.pdf\r\n"
                f"Content-Length: {len(self._content)}\r\n\r\n".encode()
            )
            half = len(self._content) // 2
            connection.sendall(self._content[:half])
            self.has_sent_half = True
            self._go_on.wait(120)
            connection.sendall(self._content[half:])
            self.answer = connection.recv(65536)


@pytest.mark.skipif(sys.platform != "linux", reason="the memory of another process is read from /proc")
def test_many_uploads_at_once(server: Attachd) -> None:
    content = b"%PDF-1.7" + os.urandom(SIZE - 8)
    go_on = threading.Event()
    go_on.set()
    first = Client(server, content, go_on)  # what is made once
    first.start()
    first.join(120)
    go_on.clear()
    before = peak = resident_bytes(server)
    clients = [Client(server, content, go_on) for _ in range(UPLOADS)]
    for client in clients:
        client.start()
    while not all(client.has_sent_half or not client.is_alive() for client in clients):
        time.sleep(0.05)
    go_on.set()
    while any(client.is_alive() for client in clients):
        peak = max(peak, resident_bytes(server))
        time.sleep(0.02)
    assert [client.answer[:15] for client in [first, *clients]] == [b"HTTP/1.1 200 OK"] * (UPLOADS + 1)
    assert peak - before < MOST_BYTES, f"{(peak - before) / MIB:.1f} MiB more"
