"""What stands between picows and uvloop, each of which takes the other for something that it is not."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any


class Lower:
    """What picows sees of the transport: all that is written goes through it, in order.

    picows writes past the transport, one system call a frame, when that has nothing to send, and leaves views of a buffer that
    it uses again in a transport that does not send at once, as uvloop's does not. So here there is always something to send,
    and pieces are joined. uvloop sends what was written in one turn of the loop together.
    """

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self.write = transport.write
        self.get_extra_info = transport.get_extra_info
        self.abort = transport.abort
        self.close = close

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
