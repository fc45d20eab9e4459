"""uvicorn's HTTP protocol with short ways for the bodies of POST requests.

A body whose length is known needs no parser: what is left of it is counted here, and behind its last byte the parser begins
anew. That saves the copies that httptools makes.

A large body is better read from the socket by the thread that hashes and writes it, into one buffer of its own, than copied on
the event loop into an object a read and handed over piece by piece. So the application may ask for the socket.
"""

import asyncio
import contextlib
import functools
import socket
import threading
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from rest import BODY_SOCKET, WHOLE_BODY, BodySocket
from schemas import ClientDisconnected
from server.heads import content_length
from server.quick_protocol import QuickProtocol

# A read at least so long probably holds much of a body behind the head. QuickProtocol cuts longer ones while it reads a head.
_LONG_READ_BYTES = 8192
_WAKE_BYTES = 128 * 1024  # what a worker thread is woken for


class BodyProtocol(QuickProtocol):
    """One connection; `uvicorn.Config(http=BodyProtocol)`."""

    _body_left = 0  # bytes of a POST's body that are still to come; 0 also when nobody has said how many

    def _extensions(self, cycle: RequestResponseCycle) -> dict[str, Any]:
        """Offer the application to read the body itself, too."""
        extensions = super()._extensions(cycle)
        if self._passes_upgrade_over or self.scope["method"] == "POST":
            self._body_left = content_length(self.headers)
            extensions[WHOLE_BODY] = functools.partial(self._whole_body, cycle)
            if self.scheme == "http":
                extensions[BODY_SOCKET] = functools.partial(self._open_body, cycle)
        return extensions

    def on_body(self, body: bytes | memoryview) -> None:
        """Count what the parser found of the body together with the head."""
        self._body_left = max(self._body_left - len(body), 0)
        super().on_body(body)

    def _knows_length(self) -> bool:
        return all(name != b"transfer-encoding" for name, _ in self.headers)

    def on_message_complete(self) -> None:
        """The message has ended, unless the parser only takes it for one without a body."""
        if not (self._passes_upgrade_over and self._body_left):
            super().on_message_complete()

    def _behind_body(self, data: bytes) -> bytes:
        """Take what is of a body that the parser does not know of."""
        return self._take_body(data) if self._passes_upgrade_over and self._body_left else data

    def data_received(self, data: bytes) -> None:
        """Feed the parser the head, and take the body as it is."""
        if not self._body_left and len(data) > _LONG_READ_BYTES and (end := data.find(b"\r\n\r\n", 0, _LONG_READ_BYTES)) != -1:
            super().data_received(data[: end + 4])
            view = memoryview(data)[end + 4 :]
            if len(view) == self._body_left and not self.transport.is_closing():
                self.hand_back(view, 0)  # all of one request and nothing else: its body is not even copied
                return
            data = data[end + 4 :]
        if self._body_left and not self.transport.is_closing():
            data = self._take_body(data)
            if not data:
                return
        super().data_received(data)

    def _take_body(self, data: bytes) -> bytes:
        """Keep what is of the body; gives what is behind it."""
        body = data if len(data) <= self._body_left else data[: self._body_left]
        self.hand_back(body, self._body_left - len(body))
        return data[len(body) :]

    def _whole_body(self, cycle: RequestResponseCycle) -> tuple[bytes, int] | None:
        """All of the body, if it has come and is held; None else. Does what the cycle's `receive` does then."""
        if cycle.more_body or cycle.disconnected or not cycle.body:
            return None
        self.flow.resume_reading()
        body: bytes | bytearray | memoryview = cycle.body
        cycle.body = bytearray()
        cycle.message_event.clear()
        if isinstance(body, memoryview) and isinstance(body.obj, bytes):  # the end of what was read
            return body.obj, len(body.obj) - len(body)
        return bytes(body), 0

    def _open_body(self, cycle: RequestResponseCycle, left: int) -> BodySocket | None:
        """The socket to read the last `left` bytes of the body from; None if they have come already or cannot be read so."""
        held = bytes(cycle.body)
        if cycle is not self.cycle or not self._body_left or self.transport.is_closing():
            return None
        if left != len(held) + self._body_left:
            raise ValueError(f"{len(held) + self._body_left} bytes of the body are left, not {left}")
        try:
            # A descriptor of its own: the event loop must not be asked to watch the one that the transport has.
            descriptor = socket.dup(self.transport.get_extra_info("socket").fileno())
        except OSError:  # there are no descriptors left
            return None
        self.flow.pause_reading()
        cycle.body = bytearray()
        cycle.message_event.clear()
        duplicate = socket.socket(fileno=descriptor)
        duplicate.setblocking(False)
        return _Body(self, held, duplicate)

    def hand_back(self, held: bytes | memoryview, left: int) -> None:
        """Go on with a body of which `held` has come and `left` bytes have not; behind its last byte the parser begins anew."""
        if held:
            super().on_body(held)
        self._body_left = left
        if left == 0 and self.cycle.more_body:
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            self.cycle.more_body = False
            self.cycle.message_event.set()

    @property
    def body_left(self) -> int:
        """How many bytes of the body are still to come."""
        return self._body_left

    def end(self) -> None:
        """The client is gone, which the event loop does not see while it does not read."""
        self.cycle.disconnected = True
        self.cycle.message_event.set()
        self.transport.close()


class _Body:
    """See `rest.BodySocket`. `read_into` runs in a worker thread, everything else on the event loop."""

    def __init__(self, protocol: BodyProtocol, held: bytes, duplicate: socket.socket) -> None:
        self._protocol = protocol
        self._held = held  # had come before
        self._socket = duplicate
        # A read must not meet a descriptor that was closed meanwhile, by a caller that was cancelled, and given to another.
        self._open = threading.Lock()
        self._closed = False
        self._gone = False  # the client is
        self.left = len(held) + protocol.body_left

    def read_into(self, buffer: bytearray) -> int:
        """Read what has come into the buffer; 0 if nothing has. Raises ClientDisconnected."""
        with self._open:
            if self._closed:
                raise ClientDisconnected
            if self.left == 0:
                return 0
            try:
                count = self._take_held(buffer) if self._held else self._receive(buffer)
            except ClientDisconnected:
                self._gone = True
                raise
            self.left -= count
            return count

    def _take_held(self, buffer: bytearray) -> int:
        count = min(len(buffer), len(self._held))
        buffer[:count] = self._held[:count]
        self._held = self._held[count:]
        return count

    def _receive(self, buffer: bytearray) -> int:
        try:
            count = self._socket.recv_into(buffer, min(len(buffer), self.left))
        except BlockingIOError:
            return 0
        except OSError as error:
            raise ClientDisconnected from error
        if count == 0:
            raise ClientDisconnected
        return count

    async def wait(self, timeout_s: float) -> bool:
        """Wait until there is something to read, or the end; False if nothing came for that long."""
        loop = self._protocol.loop
        come: asyncio.Future[None] = loop.create_future()
        # Not for every segment: a hop to the thread is worth it for many. A client that is slower than that is read from
        # when the time is over.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, min(self.left, _WAKE_BYTES))
        loop.add_reader(self._socket, _wake, come)
        try:
            async with asyncio.timeout(timeout_s):
                await come
        except TimeoutError:
            return self._has_bytes()
        finally:
            loop.remove_reader(self._socket)
        return True

    def _has_bytes(self) -> bool:
        try:
            return bool(self._socket.recv(1, socket.MSG_PEEK))
        except OSError:
            return False

    def close(self) -> None:
        """Hand the socket back."""
        with self._open:
            self._closed = True
            if self._gone:
                self._protocol.end()
            else:
                self._protocol.hand_back(self._held, self.left - len(self._held))
            with contextlib.suppress(OSError):  # the connection may be gone
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
            self._socket.close()


def _wake(come: asyncio.Future[None]) -> None:
    if not come.done():
        come.set_result(None)
