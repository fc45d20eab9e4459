"""A running server with small limits, and raw requests that call `attachments.upload` on it."""

import asyncio
import base64
import hashlib
import json
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from procedures import Router
from server.body_socket import BodyProtocol
from tests.rest.live import BOUNDARY, Answer, eventually, read_answer
from tests.running import Attachd
from tests.server.stepping import SteppedLoop, run_stepped
from tests.server.streaming import serving

PATH = "/api/trpc/attachments.upload"
OCTETS = "Content-Type: application/octet-stream"
FORM = f"Content-Type: multipart/form-data; boundary={BOUNDARY}"
ORIGIN = "https://app.example"
PATIENT_S = 60.0  # a client that the machine stalls is no silent one
IDLE_TIMEOUT_S = 1.0  # of the site for tests of silence
MAX_FILE_BYTES = 2 * 2**20  # over server.max_body_bytes, which is not the limit here
MAX_IMAGE_BYTES = 2**20
SETTINGS: dict[str, Any] = {
    "ATTACHD_UPLOAD_IDLE_TIMEOUT_SECONDS": str(PATIENT_S),
    "ATTACHD_UPLOAD_MAX_FILE_SIZE_MB": "2",
    "ATTACHD_UPLOAD_MAX_IMAGE_SIZE_MB": "1",
    "ATTACHD_SERVER_ALLOWED_ORIGINS": ORIGIN,
}


def name_header(filename: str) -> str:
    """The header that names the file, as a client with encodeURIComponent writes it."""
    return f"X-Attachd-Filename: {quote(filename, safe='')}"


def digest(content: bytes) -> str:
    """The digest field of the content."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"


class Site:
    """The server as a member sees it, over raw sockets."""

    def __init__(self, attachd: Attachd) -> None:
        self.attachd = attachd
        url = httpx.URL(attachd.base_url)
        self._address = (url.host, url.port or 0)

    def connect(self) -> socket.socket:
        """A fresh connection."""
        return socket.create_connection(self._address, timeout=60)

    def head(self, *headers: str, path: str = PATH, method: str = "POST", who: str | None = "member") -> bytes:
        """The head of a request."""
        cookie = [f"Cookie: session={self.attachd.tokens[who]}"] if who else []
        return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *cookie, *headers, "", ""]).encode("latin-1")

    def send(self, body: bytes, *headers: str, **head: Any) -> Answer:
        """The answer to one request with that body, on its own connection."""
        with self.connect() as connection:
            connection.sendall(self.head(*headers, f"Content-Length: {len(body)}", **head) + body)
            return read_answer(connection, head.get("method", "POST"))

    def upload(self, content: bytes, filename: str, *headers: str) -> Any:
        """What the procedure gives for a file that is sent as it is."""
        answer = self.send(content, OCTETS, name_header(filename), *headers)
        assert answer.status == 200, answer
        return answer.json()["result"]["data"]["json"]

    def download(self, id: str) -> bytes:
        """The bytes of an attachment."""
        with self.attachd.client() as client:
            answer = client.get(f"/api/attachments/{id}/download")
        assert answer.status_code == 200
        return answer.content

    def row(self, id: str) -> dict[str, Any]:
        """The row of an attachment, without what differs for every upload."""
        (row,) = self.attachd.backing.database.records("SELECT * FROM attachments WHERE id = ?", id)
        return {name: value for name, value in row.items() if name not in {"id", "storage_path", "created_at"}}

    def rows(self) -> int:
        """How many attachments there are."""
        ((count,),) = self.attachd.backing.query("SELECT count(*) FROM attachments")
        return int(count)

    def files(self) -> set[str]:
        """The keys of the bytes that are kept, finished or not."""
        return self.attachd.backing.bytes.kept()

    def assert_unchanged(self, before: tuple[set[str], int]) -> None:
        """The folder and the table come to be as they were."""
        assert eventually(lambda: (self.files(), self.rows()) == before), (self.files() ^ before[0], self.rows())

    def state(self) -> tuple[set[str], int]:
        """For `assert_unchanged`."""
        return self.files(), self.rows()

    def logged(self, status: int) -> list[dict[str, Any]]:
        """The log's lines of uploads with that status."""
        lines: list[dict[str, Any]] = self.attachd.lines()
        return [line for line in lines if line.get("route") == "attachments.upload" and line.get("status") == status]


def assert_error(answer: Answer, status: int, code: str, message: str, **data: Any) -> None:
    """The answer is the tRPC error with that message; `data` is what it holds beside code, status and path."""
    error = answer.json()["error"]["json"]
    assert (answer.status, error["message"]) == (status, message)
    path = {"path": data.pop("path", "attachments.upload")}
    expected = {"code": code, "httpStatus": status, **path, **data}
    assert error["data"] == {name: value for name, value in expected.items() if value is not None}, json.dumps(error)


def send_steadily(folder: Path, pieces: Sequence[bytes], *headers: str, path: str = PATH) -> int:
    """The status of an upload in pieces, of which each comes before the idle time is over, and all long after it."""

    async def main(loop: SteppedLoop) -> int:
        async with serving(folder, Router(), BodyProtocol, upload_idle_timeout_seconds=str(PATIENT_S)) as live:
            _, token = await live.session()
            reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
            length = f"Content-Length: {sum(map(len, pieces))}"
            lines = [f"POST {path} HTTP/1.1", "Host: x", f"Cookie: session={token}", *headers, length, "", ""]
            writer.write("\r\n".join(lines).encode())
            with loop.standing_still():
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.to_thread(time.sleep, 0.05)  # for the threads that read, and write to the disk
                    await loop.pass_time(PATIENT_S * 2 / 3)
            status = int((await reader.readuntil(b"\r\n\r\n")).split()[1])
            writer.close()
            await writer.wait_closed()
            return status

    return run_stepped(main)


def chunked(pieces: Sequence[bytes]) -> bytes:
    """The pieces as a chunked body, without its end."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
