"""One thing at a time, of several in turns: what a request costs without others in its way.

Raw sockets and requests that are made beforehand: the client's share of the time must be small.
"""

import socket
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence

from benchmarks.servers import HOST

_WARM = 5  # turns before the clock counts
_READ_BYTES = 1 << 18
_FRESH_S = 2.0  # a connection unused for longer is opened anew: servers close idle ones after some seconds


class Line:
    """A kept connection to one server. It blocks."""

    def __init__(self, port: int, cookie: str) -> None:
        self._port = port
        self._used = time.monotonic()
        self._socket = self._connect()
        self._tail = f" HTTP/1.1\r\nHost: {HOST}\r\nCookie: {cookie}\r\n\r\n".encode()

    def _connect(self) -> socket.socket:
        connection = socket.create_connection((HOST, self._port), timeout=30)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def get(self, path: str) -> bytes:
        """The body of the answer. Raises RuntimeError unless the status is 200."""
        now = time.monotonic()
        if now - self._used > _FRESH_S:
            self._socket.close()
            self._socket = self._connect()
        self._used = now
        self._socket.sendall(b"GET " + path.encode() + self._tail)
        data = self._more(path)
        while b"\r\n\r\n" not in data:
            data += self._more(path)
        head, _, body = data.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"GET {path[:200]} answered {data[:300]!r}")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        while len(body) < length:
            body += self._more(path)
        return body

    def _more(self, path: str) -> bytes:
        if data := self._socket.recv(_READ_BYTES):
            return data
        raise RuntimeError(f"GET {path[:200]}: the connection was closed")

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


async def in_turns(acts: Sequence[Callable[[int], Awaitable[object]]], turns: int) -> list[float]:
    """The median time of each act in microseconds; they are done one after the other, `turns` times, with the turn's number."""
    taken: list[list[float]] = [[] for _ in acts]
    for turn in range(-_WARM, turns):
        for act, times in zip(acts, taken, strict=True):
            begun = time.perf_counter()
            await act(turn)
            if turn >= 0:
                times.append((time.perf_counter() - begun) * 1e6)
    return [statistics.median(times) for times in taken]
