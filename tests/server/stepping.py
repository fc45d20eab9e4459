"""An event loop whose time a test has in hand, for limits of time that a machine which stalls must not reach."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


class SteppedLoop(asyncio.SelectorEventLoop):
    """An event loop whose time can stand still and pass in steps: timers run as a test wants it, whatever the machine does."""

    _ahead_s = 0.0
    _stands_at: float | None = None

    def time(self) -> float:
        """The time by which timers run."""
        return super().time() + self._ahead_s if self._stands_at is None else self._stands_at

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Time passes in steps alone; afterwards it goes on from there."""
        self._stands_at = self.time()
        try:
            yield
        finally:
            self._ahead_s = self._stands_at - super().time()
            self._stands_at = None

    async def pass_time(self, seconds: float) -> None:
        """So much later, with all done that there was to do before and that is due then."""
        assert self._stands_at is not None
        for step in (seconds, 0.0):
            for _ in range(20):  # each time, what has come to a socket is read, and handed on
                await asyncio.sleep(0)
            self._stands_at += step


def run_stepped(main: Callable[[SteppedLoop], Coroutine[Any, Any, T]]) -> T:
    """The result of `main`, run on such a loop."""
    with asyncio.Runner(loop_factory=SteppedLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, SteppedLoop)
        return runner.run(main(loop))
