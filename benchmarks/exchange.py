"""One request at a time: for filling a server, for checking its answers before they are timed, and for what takes long."""

import http.client
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from benchmarks.servers import HOST

_PIECE_BYTES = 1 << 16
_FRESH_S = 2.0  # a connection unused for longer is opened anew: servers close idle ones, Node after 5 s


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer; header names are as they were sent."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def json(self) -> Any:
        """The body decoded."""
        return msgspec.json.decode(self.body)


class Client:
    """A kept connection to a port of this machine; every request carries `headers`."""

    def __init__(self, port: int, headers: Mapping[str, str]) -> None:
        self._connection = http.client.HTTPConnection(HOST, port, timeout=60)
        self._headers = dict(headers)
        self._used = time.monotonic()

    def request(self, method: str, path: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Answer:
        """The answer to one request, read whole."""
        reply = self._ask(method, path, body=body, headers=headers)
        answer = Answer(status=reply.status, headers=reply.getheaders(), body=reply.read())
        self._used = time.monotonic()
        return answer

    def _ask(
        self, method: str, path: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> http.client.HTTPResponse:
        if time.monotonic() - self._used > _FRESH_S:
            self._connection.close()
        self._connection.request(method, path, body=body, headers=self._headers | dict(headers or {}))
        return self._connection.getresponse()

    def get(self, path: str) -> Answer:
        """The answer to a GET. Raises RuntimeError unless it is 200."""
        answer = self.request("GET", path)
        if answer.status != 200:
            raise RuntimeError(f"GET {path[:80]} answered {answer.status}: {answer.body[:200]!r}")
        return answer

    def count(self, path: str) -> int:
        """The length of the answer to a GET, read piece by piece and forgotten. Raises RuntimeError unless it is 200."""
        reply = self._ask("GET", path)
        size, piece = 0, bytearray(_PIECE_BYTES)
        while read := reply.readinto(piece):
            size += read
        self._used = time.monotonic()
        if reply.status != 200:
            raise RuntimeError(f"GET {path[:80]} answered {reply.status}")
        return size

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
