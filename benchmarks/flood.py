"""The load of the memory measurement, a process of its own: N uploads or N downloads of one file at the same time.

`python -m benchmarks.flood PORT COOKIE upload FORM` prints the ids of the attachments; `… download SHA256 ID…` downloads
each id and compares the digest. Every connection is open before the first byte is sent, and this process holds the form
once and one buffer of 64 KiB a connection.
"""

import asyncio
import hashlib
import json
import mmap
import socket
import sys
from pathlib import Path

from benchmarks.payloads import BOUNDARY
from benchmarks.servers import HOST

UPLOADS = 50
_SLICE = 256 << 10
_BUFFER = 64 << 10


async def _connect(port: int) -> socket.socket:
    connection = socket.socket()
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, (HOST, port))
    return connection


async def _head(connection: socket.socket) -> tuple[bytes, bytes]:
    """The head of an answer and what came with it of the body. Raises RuntimeError unless the status is 200."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = await asyncio.get_running_loop().sock_recv(connection, _BUFFER)
        if not more:
            raise RuntimeError(f"the server closed the connection after {data!r}")
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise RuntimeError(f"the server answered {data[:300]!r}")
    return head, rest


async def _upload(connection: socket.socket, cookie: str, form: memoryview) -> str:
    loop = asyncio.get_running_loop()
    head = (
        f"POST /api/upload HTTP/1.1\r\nHost: {HOST}\r\nCookie: {cookie}\r\nContent-Length: {len(form)}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nConnection: close\r\n\r\n"
    )
    await loop.sock_sendall(connection, head.encode())
    for start in range(0, len(form), _SLICE):
        await loop.sock_sendall(connection, form[start : start + _SLICE])
    _, body = await _head(connection)
    while more := await loop.sock_recv(connection, _BUFFER):
        body += more
    found: str = json.loads(body)["id"]
    return found


async def _download(connection: socket.socket, cookie: str, id: str, sha256: str) -> None:
    loop = asyncio.get_running_loop()
    head = f"GET /api/attachments/{id}/download HTTP/1.1\r\nHost: {HOST}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"
    await loop.sock_sendall(connection, head.encode())
    _, start = await _head(connection)
    digest, buffer = hashlib.sha256(start), bytearray(_BUFFER)
    while count := await loop.sock_recv_into(connection, buffer):
        digest.update(memoryview(buffer)[:count])
    if digest.hexdigest() != sha256:
        raise RuntimeError(f"attachment {id} came back different")


async def _upload_all(port: int, cookie: str, form: memoryview) -> list[str]:
    connections = [await _connect(port) for _ in range(UPLOADS)]
    return await asyncio.gather(*(_upload(connection, cookie, form) for connection in connections))


async def _download_all(port: int, cookie: str, sha256: str, ids: list[str]) -> None:
    connections = [await _connect(port) for _ in ids]
    pairs = zip(connections, ids, strict=True)
    await asyncio.gather(*(_download(connection, cookie, one, sha256) for connection, one in pairs))


def _main(port: int, cookie: str, mode: str, arguments: list[str]) -> None:
    if mode == "download":
        asyncio.run(_download_all(port, cookie, arguments[0], arguments[1:]))
        return
    with (
        Path(arguments[0]).open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as form,
        memoryview(form) as view,
    ):
        print(*asyncio.run(_upload_all(port, cookie, view)), sep="\n")


if __name__ == "__main__":
    _main(int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:])
