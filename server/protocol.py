"""uvicorn's HTTP protocol with two limits that it and httptools lack, on the size of a request's head and on its time.

Without them one connection can fill the memory with a header that never ends, and idle connections stay for ever. Bodies
are limited where they are read.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from server.descriptors import run_short
from server.heads import has_body
from server.state import BEGIN_SHUTDOWN, BUSY, UPGRADES, Upgrade, Upgrades

# Request line and headers together. Node refuses at 16 KiB, nginx at 8 KiB a header; a GET batch of 100 calls needs 10 KiB.
MAX_HEAD_BYTES: Final = 65_536
# From the connection, or from the first byte of a later request, to the end of its headers.
HEAD_TIMEOUT_S: Final = 30.0
# The same on a connection that there is no room for: others wait for its place.
BUSY_HEAD_TIMEOUT_S: Final = 1.0
# How long the rest of a head that was refused is read and dropped: closing at once would make the kernel reset the
# connection, and the client would never read why.
LINGER_S: Final = 2.0
# What is handed to the parser at a time while it reads a head, so that the limit is exact to this many bytes.
_PIECE_BYTES: Final = 16_384

_TOO_LARGE_BODY: Final = (
    b'{"error":{"code":"BAD_REQUEST","message":"request line and headers exceed %d bytes"}}' % MAX_HEAD_BYTES
)
_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(_TOO_LARGE_BODY), _TOO_LARGE_BODY)
)


class LimitedProtocol(HttpToolsProtocol):
    """One connection; `uvicorn.Config(http=LimitedProtocol)`."""

    head_timeout_s = HEAD_TIMEOUT_S
    _head_bytes = 0
    _refused = False  # nothing that comes is looked at any more
    _is_handed_over = False
    _idle_since: float | None = None
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn declares it
        """Start the clock of the first head. Where there is no room for the connection, its request is only told so."""
        super().connection_made(transport)
        self.scope = {}  # type: ignore[typeddict-item]  # uvicorn says None until a request begins
        head_timeout_s = self.head_timeout_s
        if run_short(transport.get_extra_info("socket").fileno()):
            self.app = self.app_state.get(BUSY, self.app)
            head_timeout_s = BUSY_HEAD_TIMEOUT_S
        self._head_timer = self.loop.call_later(head_timeout_s, self._expire)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        self._stop_timer()
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser; a long read in small pieces until it is body."""
        while len(data) > _PIECE_BYTES and not self._in_body():
            self._feed(data[:_PIECE_BYTES])
            data = data[_PIECE_BYTES:]
        self._feed(data)

    def shutdown(self) -> None:
        """The process begins to stop, which uvicorn tells each connection before it waits for them: tell the application too.

        An answer under way may be a stream without an end. It is the application that ends it, once it knows.
        """
        begin_shutdown: Callable[[], None] | None = self.app_state.get(BEGIN_SHUTDOWN)
        if begin_shutdown is not None:
            begin_shutdown()
        super().shutdown()

    def _should_upgrade(self) -> bool:
        upgrades: Upgrades | None = self.app_state.get(UPGRADES)
        return (
            upgrades is not None
            and self.parser.get_method() == b"GET"
            and self.parser.get_http_version() == "1.1"
            and httptools.parse_url(self.url).path in upgrades.paths
            and self._get_upgrade() == b"websocket"
            and not has_body(self.headers)
        )

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over. A client waits for the answer before it sends more (RFC 6455, 4.1): nothing is lost."""
        self._refused = self._is_handed_over = True
        self._stop_timer()
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = None
        cycle = self._cycle()
        if cycle is not None and not cycle.response_complete:  # its answer would be taken for the one to this request
            self.transport.close()
            return
        upgrade = Upgrade(
            transport=self.transport,
            query=httptools.parse_url(self.url).query or b"",
            headers=dict(self.headers),
            connections=self.connections,
        )
        self.connections.discard(self)
        self.app_state[UPGRADES].upgrade(upgrade)
        # Each of these holds this protocol: it is freed now, not when Python looks for such rings.
        self.parser = None  # type: ignore[assignment]  # as uvicorn does at the end of a connection
        self.scope = {}  # type: ignore[typeddict-item]  # as between requests

    def _in_body(self) -> bool:
        cycle = self._cycle()
        return cycle is not None and cycle.more_body

    def _feed(self, data: bytes) -> None:
        while data and not self._refused and not self.transport.is_closing():
            data = self._behind_body(data)
            behind = self._parse(data)
            if self._is_handed_over:
                return
            # uvicorn makes a scope when a request line begins and adds the method when its headers are complete.
            scope: Mapping[str, object] = self.scope
            if "method" in scope:
                if self._head_timer is not None:
                    self._stop_timer()
            else:
                self._head_bytes += len(data)
                if self._head_bytes > MAX_HEAD_BYTES:
                    self._refuse()
                elif self._head_timer is None:
                    self._head_timer = self.loop.call_later(self.head_timeout_s, self._expire)
            data = behind

    def _behind_body(self, data: bytes) -> bytes:
        """What of the bytes is for the parser: all, if it is the parser that knows where bodies end."""
        return data

    def _parse(self, data: bytes) -> bytes:
        """Give the bytes to the parser. What it leaves is behind the head of a request that asks for another protocol.

        Does what uvicorn's `data_received` does, which forgets what is left.
        """
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.logger.warning("Invalid HTTP request received.")
            self.send_400_response("Invalid HTTP request received.")
        except httptools.HttpParserUpgrade as upgrade:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
            else:
                return data[upgrade.args[0] :]
        return b""

    def on_message_begin(self) -> None:
        """A request begins: the connection is not idle. (Line ends in front of one are none, RFC 9112, 2.2.)"""
        super().on_message_begin()
        self._idle_since = None

    def _unset_keepalive_if_required(self) -> None:
        """Nothing: uvicorn has a timer for each pause, which it stops here, and this protocol one for the connection."""

    def on_response_complete(self) -> None:
        """Take the next request of the pipeline, or be idle from now on; as in uvicorn, but with one timer a connection."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
            return
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self._close_if_idle)

    def _close_if_idle(self) -> None:
        self.timeout_keep_alive_task = None
        if self.transport.is_closing() or self._idle_since is None:  # a request is under way: its end begins a new time
            return
        left_s = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left_s <= 0:
            self.transport.close()
        else:
            self.timeout_keep_alive_task = self.loop.call_later(left_s, self._close_if_idle)

    def _cycle(self) -> RequestResponseCycle | None:
        """The newest request; uvicorn's annotation leaves out that there is none at first."""
        return self.cycle

    def _refuse(self) -> None:
        self._stop_timer()
        self.logger.warning("Request line and headers exceed %d bytes.", MAX_HEAD_BYTES)
        # A pipelined head must not break into the answer before it.
        cycle = self._cycle()
        if cycle is not None and not cycle.response_complete:
            self.transport.close()
            return
        self._refused = True
        self.transport.write(_TOO_LARGE)
        self.transport.write_eof()
        self._head_timer = self.loop.call_later(LINGER_S, self._expire)

    def _expire(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.close()

    def _stop_timer(self) -> None:
        self._head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
