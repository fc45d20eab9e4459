"""An event loop in a thread of its own, for what stands between a server under test and what it uses."""

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine
from typing import Any, Self, TypeVar

T = TypeVar("T")

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST


class LoopThread:
    """A context manager; `do` runs a coroutine on the loop."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """What the coroutine returns, which runs on the loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def begin(self) -> None:
        """What is done first."""

    async def end(self) -> None:
        """What is done last."""

    def __enter__(self) -> Self:
        self._thread.start()
        self.do(self.begin())
        return self

    def __exit__(self, *_: object) -> None:
        self.do(self._finish())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        assert not self._thread.is_alive()
        self._loop.close()

    async def _finish(self) -> None:
        await self.end()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def reset(transport: asyncio.BaseTransport) -> None:
    """Break a connection as a machine does that crashed: with RST."""
    found: socket.socket | None = transport.get_extra_info("socket")
    if found is not None and not transport.is_closing():
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    assert isinstance(transport, asyncio.Transport)
    transport.abort()
