"""One WebSocket from its handshake to its end (RFC 6455): frames in, payloads of messages out, and the limits on them.

picows reads the frames, in C: it unmasks them, refuses what the RFC forbids in a frame, and refuses a frame over the limit by
its header, before it is read. What is a matter of several frames is here: messages in fragments, the closing handshake, the
rate, keep-alive, a client that does not read. It speaks no tRPC. See docs/decisions/0015-websocket.md.

The states are open, closing (a close frame was sent; nothing more is, and what comes is only waited out) and gone.
"""

import asyncio
import logging
from typing import Any, Final, Protocol

import msgspec
from picows import WSAutoPingStrategy, WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeResponse
from picows.common import WSUpgradeResponseWithListener
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # what its `ws_create_server` makes; left out of its stubs

from server.frame_transport import Lingering, Lower
from server.log import log_exception

# How long a client may take to answer a close frame and to take what was sent before it.
CLOSE_TIMEOUT_S: Final = 5.0
# How long the rest of what a client sends is read and dropped after it broke the protocol: closing at once would make the
# kernel reset the connection, and the client would never read why.
LINGER_S: Final = 1.0
# picows doubles it when a message is larger, and keeps it.
_READ_BUFFER_BYTES: Final = 4096
# It tells of each connection and of each client's mistakes; the request log does that.
_SILENT: Final = logging.Logger("attachd.websocket", logging.CRITICAL + 1)  # noqa: LOG001 (not one of the tree: nobody may turn it on)

_TEXT, _BINARY, _CONTINUATION = WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION


class FrameLimits(msgspec.Struct, frozen=True):
    """What a client may send, and when it is taken for dead.

    `ping_s` is 0 to never ask; `ping` is the text to ask with, empty for a ping frame, which every client answers by itself.
    """

    max_message_bytes: int
    max_per_second: int
    ping_s: float
    pong_wait_s: float
    ping: bytes


class Receiver(Protocol):
    """Who is told what comes over a socket."""

    def received(self, payload: bytes, *, is_text: bool) -> None:
        """A whole message. Raises UnicodeDecodeError for a text that is none, which closes the socket."""

    def overrun(self) -> None:
        """The client sends faster than it may."""

    def disconnected(self) -> None:
        """The socket is gone."""


class Socket(WSListener):
    """An open WebSocket over a transport that a request to upgrade came by."""

    def __init__(self, transport: asyncio.Transport, receiver: Receiver, limits: FrameLimits) -> None:
        self._loop = asyncio.get_running_loop()
        self._now = self._loop.time
        self._lower = transport
        self._receiver = receiver
        self._limits = limits
        self.is_open = True
        self.is_paused = False  # the client does not read what is sent; see `drained`
        self._held = False
        self._drained = asyncio.Event()
        self._fragments: list[bytes] = []
        self._fragments_size = 0
        self._fragments_are_text = False
        self._spent = 0
        self._spent_since = self._heard_at = self._now()
        self._pinged_at: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._upper: WSTransport | None = None
        self._request_id = ""
        self._protocol: Any = None
        self._cork: Lower | None = None

    def begin(self, request: bytes, request_id: str) -> None:
        """Answer the handshake and read frames from now on; `request` is the plain form, see `server/handshake.py`."""
        self._request_id = request_id
        response = WSUpgradeResponse.create_101_response({"x-request-id": request_id})
        self._protocol = protocol = WSProtocol(
            host_port=None,
            ws_path=None,
            is_client_side=False,
            ws_listener_factory=lambda _: WSUpgradeResponseWithListener(response, self),
            logger=_SILENT,
            disconnect_on_exception=True,
            websocket_handshake_timeout=None,
            enable_auto_ping=False,
            auto_ping_idle_timeout=0,
            auto_ping_reply_timeout=0,
            auto_ping_strategy=WSAutoPingStrategy.PING_WHEN_IDLE,
            enable_auto_pong=False,
            max_frame_size=self._limits.max_message_bytes,
            extra_headers=None,
            read_buffer_init_size=_READ_BUFFER_BYTES,
        )
        self._cork = Lower(self._lower, self.linger)
        protocol.connection_made(self._cork)
        protocol.get_buffer(-1)[: len(request)] = request
        protocol.buffer_updated(len(request))
        self._switch(protocol)
        self._timer = self._loop.call_later(self._limits.ping_s or CLOSE_TIMEOUT_S, self._tick)

    def _switch(self, protocol: asyncio.BaseProtocol) -> None:
        """Give the transport another protocol. uvloop looks at whether it has a buffer of its own when reading starts."""
        self._lower.pause_reading()
        self._lower.set_protocol(protocol)
        self._update_reading()

    def send(self, payload: bytes) -> None:
        """Send a text message, unless the socket is closing. Whoever sends much waits while `is_paused`."""
        if self._upper is not None and self.is_open:
            self._upper.send(_TEXT, payload)

    def cork(self) -> bool:
        """Hold what is sent until `uncork`, to send it together; whether it was not held before."""
        cork = self._cork
        if cork is None or cork.is_corked:
            return False
        cork.is_corked = True
        return True

    def uncork(self) -> None:
        """Send what is held."""
        if self._cork is not None:
            self._cork.uncork()

    async def drained(self) -> None:
        """Wait until the client has read, or is gone."""
        await self._drained.wait()

    def close(self, code: int, reason: str) -> None:
        """Send a close frame, the last one; the client answers it in time or is cut off."""
        if self._upper is not None and self.is_open:
            self.is_open = False
            self._upper.send_close(WSCloseCode(code), reason.encode())
            self._set_deadline(CLOSE_TIMEOUT_S)

    def abort(self) -> None:
        """Cut the client off."""
        self.is_open = False
        self._lower.abort()

    def hold(self, held: bool) -> None:
        """Read nothing more from the client, or read on."""
        self._held = held
        self._update_reading()

    def is_overrun(self, messages: int) -> bool:
        """Count messages; whether they are more than the client may send in about a second."""
        self._spent += messages
        if self._spent <= self._limits.max_per_second:
            return False
        now = self._now()
        if now - self._spent_since < 1.0:
            return True
        self._spent, self._spent_since = messages, now
        return False

    def _update_reading(self) -> None:
        if self.is_paused or self._held:
            self._lower.pause_reading()
        else:
            self._lower.resume_reading()

    # What picows calls.

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._upper = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        is_close = frame.msg_type == WSMsgType.CLOSE
        if not self.is_open and not is_close:
            return
        self._heard_at = self._now()
        if not is_close and self.is_overrun(1):  # the answer to our own close must not count: it ends the connection
            self._receiver.overrun()
            return
        try:
            if frame.msg_type == _TEXT and frame.fin and not self._fragments and not (frame.rsv1 or frame.rsv2 or frame.rsv3):
                self._receiver.received(frame.get_payload_as_bytes(), is_text=True)
            else:
                self._take(transport, frame)
        except UnicodeDecodeError:
            self._violated(WSCloseCode.INVALID_TEXT, "text must be UTF-8")
        except Exception as error:  # noqa: BLE001 (the edge: picows would log it its own way)
            log_exception(error, route="trpc", request_id=self._request_id)
            self.close(WSCloseCode.INTERNAL_ERROR.value, "internal error")

    def _take(self, transport: WSTransport, frame: WSFrame) -> None:
        """Any frame but the usual one, a text in one piece."""
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            self._violated(WSCloseCode.PROTOCOL_ERROR, "no extension was negotiated")
        elif frame.msg_type == WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
        elif frame.msg_type == WSMsgType.CLOSE:
            self._close_received(transport, frame)
        elif frame.msg_type != WSMsgType.PONG:
            self._add_fragment(frame)

    def _close_received(self, transport: WSTransport, frame: WSFrame) -> None:
        if self.is_open:
            self.is_open = False
            code = frame.get_close_code()
            transport.send_close(WSCloseCode.OK if code == WSCloseCode.NO_INFO else code)
        self._set_deadline(CLOSE_TIMEOUT_S)
        self._lower.close()

    def _add_fragment(self, frame: WSFrame) -> None:
        begins = frame.msg_type != _CONTINUATION
        if begins == bool(self._fragments):
            self._violated(WSCloseCode.PROTOCOL_ERROR, "a fragment out of order")
            return
        if begins:
            self._fragments_are_text, self._fragments_size = frame.msg_type == _TEXT, 0
        self._fragments.append(frame.get_payload_as_bytes())
        self._fragments_size += frame.payload_size
        if self._fragments_size > self._limits.max_message_bytes:
            self._violated(WSCloseCode.MESSAGE_TOO_BIG, f"a message exceeds {self._limits.max_message_bytes} bytes")
        elif frame.fin:
            payload = b"".join(self._fragments)
            self._fragments = []
            self._receiver.received(payload, is_text=self._fragments_are_text)

    def _violated(self, code: WSCloseCode, reason: str) -> None:
        """The client broke the protocol: nothing it sends from now on can be understood."""
        if self._upper is not None:
            self.is_open = False
            self._upper.send_close(code, reason.encode())
            self.linger()

    def linger(self) -> None:
        """Drop what still comes until the client has closed, for a while. picows asks for it after a violation it has found."""
        self.is_open = self._held = self.is_paused = False
        if not self._lower.is_closing():
            self._switch(Lingering(self._protocol))
            self._lower.write_eof()
            self._set_deadline(LINGER_S)

    def _set_deadline(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._lower.abort)

    def _tick(self) -> None:
        """Ask a client that was quiet for a while whether it is there, and cut off one that does not say so."""
        now, limits = self._now(), self._limits
        if self._upper is not None and self._upper.is_close_frame_sent:  # by picows, or the deadline would have taken over
            self.linger()
            return
        if self._pinged_at is not None and self._heard_at < self._pinged_at:
            self.abort()
            return
        self._pinged_at = None
        left_s = self._heard_at + limits.ping_s - now if limits.ping_s else CLOSE_TIMEOUT_S
        if left_s <= 0:
            self._ask()
            self._pinged_at, left_s = now, limits.pong_wait_s
        self._timer = self._loop.call_later(left_s, self._tick)

    def _ask(self) -> None:
        if self._limits.ping:
            self.send(self._limits.ping)
        elif self._upper is not None:
            self._upper.send_ping()

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002 (as picows calls it)
        self.is_open = self.is_paused = False
        if self._timer is not None:
            self._timer.cancel()
        self._drained.set()
        self._upper = self._protocol = self._cork = None
        self._receiver.disconnected()
        del self._receiver  # it holds the socket: both are freed now, not when Python looks for such rings

    def pause_writing(self) -> None:
        self.is_paused = True
        self._drained.clear()
        self._update_reading()

    def resume_writing(self) -> None:
        self.is_paused = False
        self._drained.set()
        self._update_reading()
