"""uvicorn's HTTP protocol with short ways for the beginning of a request, for small answers and for streams.

It does what uvicorn does, without what this server never asks of it: an answer of headers that are known is not looked through,
and a piece of a body is not copied (docs/decisions/0007-hot-path.md).
"""

import asyncio
import functools
from typing import Any, Final

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from rest import WHOLE_ANSWER
from server.body_stream import BODY_STREAM, BodyStream
from server.heads import HeaderLines, has_body, method_of, target_of
from server.protocol import LimitedProtocol

# How much of a body is held for an application that does not ask for it, beside one read of the socket. uvicorn's limit is
# 64 KiB, at which an upload of that size stops and starts the reading for nothing.
_MAX_HELD_BYTES: Final = 131_072

_added = HeaderLines()  # of what uvicorn adds to each answer; it makes that list anew each second, for the date


class QuickProtocol(LimitedProtocol):
    """One connection; `uvicorn.Config(http=QuickProtocol)`."""

    _passes_upgrade_over = False  # the request asks for another protocol that is not spoken here, and is served all the same
    _body_stream: BodyStream | None = None
    _running: RequestResponseCycle | None = None  # the newest one that was begun; pipelined ones wait behind it

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request and the stream under way; uvicorn tells only the newest request, which may wait behind it."""
        super().connection_lost(exc)
        running, self._running = self._running, None
        if running is not None and not running.response_complete:
            running.disconnected = True
            running.message_event.set()
        stream, self._body_stream = self._body_stream, None
        if stream is not None and stream.on_gone is not None:
            stream.on_gone()

    def on_headers_complete(self) -> None:
        """Begin the request as uvicorn does, and offer the application to take its answer whole.

        A server may pass over an upgrade (RFC 9110, 7.8), and clients of HTTP/2 ask for it with any request. But the parser
        takes the message to end with its head then, body or not: it is this protocol that must know where the body ends.
        """
        parser, scope = self.parser, self.scope
        scope["method"] = method_of(parser.get_method())
        version = parser.get_http_version()
        if version != "1.1":
            scope["http_version"] = version
        self._passes_upgrade_over = False
        if parser.should_upgrade():
            if self._should_upgrade():
                return
            self._passes_upgrade_over = True
            if has_body(self.headers) and not self._knows_length():
                # In a callback of the parser: it is answered with 400, and the connection closed.
                raise ValueError("an upgrade with a body whose end is not known")
        scope["path"], scope["raw_path"], scope["query_string"] = target_of(self.url)
        before = self._cycle()
        self.cycle = cycle = RequestResponseCycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        scope["extensions"] = self._extensions(cycle)
        if before is None or before.response_complete:
            self._start_asgi_task(cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _extensions(self, cycle: RequestResponseCycle) -> dict[str, Any]:
        """What the application is offered beside what ASGI has."""
        return {
            WHOLE_ANSWER: functools.partial(self._answer, cycle),
            BODY_STREAM: functools.partial(self._open_stream, cycle),
        }

    def _knows_length(self) -> bool:
        """Whether this protocol finds the end of the body without the parser."""
        return False

    def _open_stream(self, cycle: RequestResponseCycle) -> BodyStream:
        """The body of the answer that has begun, to be written piece by piece."""
        self._body_stream = stream = BodyStream(cycle, self.flow, self.transport)
        return stream

    async def _answer(self, cycle: RequestResponseCycle, status: int, headers: bytes, body: bytes) -> None:
        """Send an answer in one write. `headers` are whole lines with their CRLF, Content-Length among them.

        Does what the cycle's `send` does for the two messages of such an answer, without looking through each header.
        """
        if self.flow.write_paused and not cycle.disconnected:
            await self.flow.drain()
        if cycle.disconnected:
            return
        cycle.response_started = cycle.response_complete = True
        defaults = _added.of(self.server_state.default_headers)
        connection = b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n"
        if cycle.scope["method"] == "HEAD":
            body = b""
        self.transport.write(b"".join((STATUS_LINE[status], defaults, headers, connection, body)))
        cycle.message_event.set()
        # These hold the cycle, which holds the scope, which holds these: every request would wait for the garbage collector.
        del cycle.scope["extensions"]
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()

    def on_body(self, body: bytes | memoryview) -> None:
        """Keep a piece of the body until it is asked for; unlike in uvicorn the usual one piece is never copied."""
        cycle = self.cycle
        if cycle.response_complete:
            return
        held: bytes | bytearray | memoryview = cycle.body
        if isinstance(held, bytearray) and held:
            held += body
        else:  # no bytearray, unlike what uvicorn has
            cycle.body = bytearray().join((held, body)) if held else body  # type: ignore[assignment]
        if len(cycle.body) > _MAX_HELD_BYTES:
            self.flow.pause_reading()
        cycle.message_event.set()
