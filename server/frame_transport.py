"""What stands between picows and uvloop, each of which takes the other for something that it is not."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any


class Lower:
    """What picows sees of the transport: all that is written goes through it, in order.

    picows writes past the transport when that has nothing to send, and leaves views of a buffer that it uses again in a
    transport that cannot send at once, so that a client that reads slowly gets other bytes than were sent to it. So here there
    is always something to send, and pieces are joined. While it is corked, what is written is held, to be sent together:
    uvloop makes one system call a write.
    """

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self._write = transport.write
        self._is_closing = transport.is_closing
        self._held: list[bytes] = []
        self.is_corked = False
        self.get_extra_info = transport.get_extra_info
        self.abort = transport.abort
        self.close = close

    def write(self, data: bytes) -> None:
        if self.is_corked:
            self._held.append(data)
        else:
            self._write(data)

    def uncork(self) -> None:
        self.is_corked = False
        held, self._held = self._held, []
        if held and not self._is_closing():
            self._write(b"".join(held))

    def writelines(self, pieces: Iterable[bytes | memoryview]) -> None:
        self.write(b"".join(pieces))

    def get_write_buffer_size(self) -> int:
        return 1


class Lingering(asyncio.Protocol):
    """Drops what comes; the end of the input closes the connection."""

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)
