"""The body of an answer that is written piece by piece, at once and from outside the request's own task too.

ASGI's `send` is a coroutine that checks and frames every message, and going away is told to whoever awaits `receive`: a stream
would need a second task for that, and a third for pings. `server/quick_protocol.py` offers this instead, an extension of ASGI.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

# The name of the extension: `scope["extensions"][BODY_STREAM]()` gives a BodyStream, once `http.response.start` was sent
# without Content-Length.
BODY_STREAM: Final = "attachd.body_stream"


class BodyStream:
    """One such body. `on_gone` is called once when the client goes away; `size_bytes` counts what was written.

    `close` may be called at any time and the rest afterwards does nothing.
    """

    __slots__ = ("_cycle", "_flow", "_transport", "on_gone", "size_bytes")

    def __init__(self, cycle: RequestResponseCycle, flow: FlowControl, transport: asyncio.Transport) -> None:
        self._cycle = cycle
        self._flow = flow
        self._transport = transport
        self.on_gone: Callable[[], None] | None = None
        self.size_bytes = 0

    @property
    def gone(self) -> bool:
        """Whether nobody will read what is written."""
        return self._cycle.disconnected or self._transport.is_closing()

    @property
    def is_full(self) -> bool:
        """Whether the client reads so slowly that `drain` would wait."""
        return self._flow.write_paused

    def write(self, data: bytes) -> None:
        """Send a piece, which is not empty, as one chunk (RFC 9112, 7.1) in one write."""
        if not self._cycle.response_complete and not self.gone:
            self.size_bytes += len(data)
            self._transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    async def drain(self) -> None:
        """Wait until the client has read enough, or is gone."""
        if self._flow.write_paused:
            await self._flow.drain()

    def cut(self) -> None:
        """End the body before it was written whole; a client that does not read what there is is not waited for."""
        if self.is_full and not self._cycle.response_complete and not self._transport.is_closing():
            self.on_gone = None
            self._transport.abort()
        else:
            self.close()

    def close(self) -> None:
        """End the body, so that the answer is complete."""
        self.on_gone = None
        cycle = self._cycle
        if cycle.response_complete:
            return
        cycle.response_complete = True
        if not self.gone:
            self._transport.write(b"0\r\n\r\n")
            if not cycle.keep_alive:
                self._transport.close()
        cycle.message_event.set()
        cycle.on_response()
