"""An S3 that fails: stands between attachd and a real store, knows which operation each request is, and fails at it.

    with proxy.at("UploadPart", "slow-down"):
        …

What a client signs is the address that it connects to, which is passed on as it is: the store knows the proxy's requests.
"""

import asyncio
import contextlib
import re
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple
from urllib.parse import parse_qs, urlsplit

from tests.faults.loop import LoopThread, reset

Operation = Literal[
    "PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "AbortMultipartUpload", "GetObject",
    "HeadObject", "DeleteObject", "DeleteObjects", "ListObjectsV2", "ListMultipartUploads", "ListParts", "CopyObject", "Other",
]  # fmt: skip
# Answered without asking the store: 500, 503, an error in the body of a 200, nothing at all, RST. Asked, and then: no answer,
# RST in place of the answer, half of the answer's body, another ETag in it.
Fault = Literal[
    "internal-error", "slow-down", "error-in-200", "timeout", "reset", "lost-answer", "reset-after", "truncated", "wrong-etag"
]
_ERROR: Final = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{code} by the test</Message>'
    "<RequestId>test</RequestId></Error>"
)
_ANSWERS: Final = {
    "internal-error": (b"500 Internal Server Error", "InternalError"),
    "slow-down": (b"503 Slow Down", "SlowDown"),
    "error-in-200": (b"200 OK", "InternalError"),
}
_WRONG_ETAG: Final = b"0123456789abcdef0123456789abcdef"
_PIECE_BYTES: Final = 256 * 1024


class _Head(NamedTuple):
    """Request line or status line, and the headers by name in lower case; `raw` is all of it."""

    first: bytes
    headers: dict[bytes, bytes]
    raw: bytes

    @property
    def length(self) -> int:
        return int(self.headers.get(b"content-length", b"0"))

    @property
    def is_chunked(self) -> bool:
        return b"chunked" in self.headers.get(b"transfer-encoding", b"")


class _Rule:
    def __init__(self, operation: Operation, fault: Fault, after: int, times: int | None) -> None:
        self.operation = operation
        self.fault = fault
        self.spared = after
        self.left = times
        self.hits: list[str] = []

    def matches(self, operation: Operation, target: str) -> bool:
        if operation != self.operation or self.left == 0:
            return False
        if self.spared:
            self.spared -= 1
            return False
        self.left = None if self.left is None else self.left - 1
        self.hits.append(target)
        return True


class S3Proxy(LoopThread):
    """Listens at `url`; a context manager. `seen` are the operations that were asked for."""

    def __init__(self, upstream: str) -> None:
        super().__init__("s3-proxy")
        self._upstream = urlsplit(upstream)
        self._port = 0
        self._rules: list[_Rule] = []
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.seen: list[Operation] = []

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://127.0.0.1:{self._port}"

    async def begin(self) -> None:
        """Listen, on the port of the last time if there was one."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port, limit=2**20)
        self._port = self._server.sockets[0].getsockname()[1]

    async def end(self) -> None:
        """Listen no more; break all connections."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            reset(writer.transport)

    @contextlib.contextmanager
    def down(self) -> Iterator[None]:
        """Meanwhile nobody listens, and no connection is left."""
        self.do(self.end())
        try:
            yield
        finally:
            self.do(self.begin())

    @contextlib.contextmanager
    def at(self, operation: Operation, fault: Fault, *, after: int = 0, times: int | None = None) -> Iterator[list[str]]:
        """Meanwhile the fault is met at every such operation, or at `times` of them; the first `after` are spared.

        Gives the targets of the requests that met it.
        """
        rule = _Rule(operation, fault, after, times)
        self._rules.append(rule)
        try:
            yield rule.hits
        finally:
            self._rules.remove(rule)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            upstream_reader, upstream = await asyncio.open_connection(self._upstream.hostname, self._upstream.port, limit=2**20)
            self._writers.add(upstream)
            exchange = _Exchange(reader, writer, upstream_reader, upstream)
            while (head := await _head(reader)) is not None:
                operation = operation_of(head)
                self.seen.append(operation)
                target = head.first.split(b" ")[1].decode()
                rule = next((rule for rule in self._rules if rule.matches(operation, target)), None)
                if not await exchange.run(head, None if rule is None else rule.fault):
                    break
            self._writers.discard(upstream)
            upstream.close()
        except (OSError, asyncio.IncompleteReadError):
            reset(writer.transport)
        finally:
            self._writers.discard(writer)
            writer.close()


class _Exchange:
    """A connection to the proxy and its own to the store."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        upstream_reader: asyncio.StreamReader,
        upstream: asyncio.StreamWriter,
    ) -> None:
        self._reader, self._writer = reader, writer
        self._upstream_reader, self._upstream = upstream_reader, upstream

    async def run(self, head: _Head, fault: Fault | None) -> bool:
        """Answer a request; whether the connection can go on."""
        if fault == "reset":
            reset(self._writer.transport)
            return False
        if fault == "timeout":
            while await self._reader.read(_PIECE_BYTES):
                pass
            return False
        if fault in _ANSWERS:
            return await self._answer(head, *_ANSWERS[fault])
        self._upstream.write(head.raw)
        sending = asyncio.create_task(_copy(self._reader, self._upstream, head))
        try:
            return await self._pass_on(head, fault) and await _done(sending)
        finally:
            sending.cancel()

    async def _answer(self, head: _Head, status: bytes, code: str) -> bool:
        if head.headers.get(b"expect") != b"100-continue":  # else nothing is sent before it was asked for
            await _drop(self._reader, head)
        body = b"" if head.first.startswith(b"HEAD ") else _ERROR.format(code=code).encode()
        close = b"connection: close\r\n" if b"expect" in head.headers else b""
        self._writer.write(
            b"HTTP/1.1 %b\r\ncontent-type: application/xml\r\n%bcontent-length: %d\r\n\r\n%b" % (status, close, len(body), body)
        )
        await self._writer.drain()
        return not close

    async def _pass_on(self, request: _Head, fault: Fault | None) -> bool:
        """Hand the store's answer on, as the fault has it; whether the connection can go on."""
        while (answer := await _head(self._upstream_reader)) is not None and answer.first.split(b" ")[1] == b"100":
            self._writer.write(answer.raw)
        if answer is None or fault == "reset-after":
            reset(self._writer.transport)
            return False
        if fault == "lost-answer":
            while await self._reader.read(_PIECE_BYTES):
                pass
            return False
        has_body = not request.first.startswith(b"HEAD ") and answer.first.split(b" ")[1] not in (b"204", b"304")
        if fault == "wrong-etag":
            body = await self._upstream_reader.readexactly(answer.length) if has_body else b""
            changed = re.sub(rb"(?i)(etag: *\"?)[0-9a-f]{32}", rb"\g<1>" + _WRONG_ETAG, answer.raw)
            wrong = re.sub(rb"(<ETag>(?:&#34;|&quot;|\")?)[0-9a-f]{32}", rb"\g<1>" + _WRONG_ETAG, body)
            assert changed != answer.raw or wrong != body, answer.raw
            self._writer.write(changed + wrong)
        elif fault == "truncated":
            self._writer.write(answer.raw + await self._upstream_reader.readexactly(answer.length // 2))
            await self._writer.drain()
            return False
        else:
            self._writer.write(answer.raw)
            if has_body:
                await _copy(self._upstream_reader, self._writer, answer)
        await self._writer.drain()
        return True


def operation_of(head: _Head) -> Operation:
    """Which operation of S3 a request is, by its method and query (Amazon S3 API reference); addresses are path-style."""
    method, target, _ = head.first.decode().split(" ")
    parts = urlsplit(target)
    query = parse_qs(parts.query, keep_blank_values=True)
    has_key = parts.path.count("/") > 1 and not parts.path.endswith("/")
    found: Operation = "Other"
    match method:
        case "PUT" if "partNumber" in query:
            found = "UploadPart"
        case "PUT" if has_key:
            found = "CopyObject" if b"x-amz-copy-source" in head.headers else "PutObject"
        case "POST":
            names: dict[str, Operation] = {
                "uploads": "CreateMultipartUpload", "uploadId": "CompleteMultipartUpload", "delete": "DeleteObjects"
            }  # fmt: skip
            found = next((operation for name, operation in names.items() if name in query), "Other")
        case "DELETE":
            found = "AbortMultipartUpload" if "uploadId" in query else "DeleteObject"
        case "GET" if "list-type" in query:
            found = "ListObjectsV2"
        case "GET" if "uploads" in query:
            found = "ListMultipartUploads"
        case "GET" if has_key:
            found = "ListParts" if "uploadId" in query else "GetObject"
        case "HEAD" if has_key:
            found = "HeadObject"
    return found


async def _head(reader: asyncio.StreamReader) -> _Head | None:
    """The next head; None at the end of the connection."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    first, *lines = raw[:-4].split(b"\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
    return _Head(first, headers, raw)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: _Head) -> None:
    """Hand on the body behind a head."""
    if head.is_chunked:
        while True:
            line = await reader.readuntil(b"\r\n")
            size = int(line.split(b";")[0], 16)
            writer.write(line + await reader.readexactly(size + 2))
            await writer.drain()
            if size == 0:
                return
    left = head.length
    while left:
        data = await reader.read(min(left, _PIECE_BYTES))
        if not data:
            raise asyncio.IncompleteReadError(b"", left)
        left -= len(data)
        writer.write(data)
        await writer.drain()


async def _drop(reader: asyncio.StreamReader, head: _Head) -> None:
    await reader.readexactly(head.length)


async def _done(sending: "asyncio.Task[None]") -> bool:
    """Whether the whole request was handed on: an answer may come before."""
    if not sending.done():
        await asyncio.wait([sending], timeout=0.5)
    return sending.done() and sending.exception() is None
