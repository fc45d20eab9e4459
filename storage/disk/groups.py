"""Files that end at the same time are made durable together, as a database commits transactions in groups.

A thread takes its share of the files that wait: each is written, made durable and given its name; then their folder is made
durable, once for all of them. There are as many shares as threads, since a disk makes several files durable in the time of one.
"""

import asyncio
import collections
import contextlib
import functools
import threading
from collections.abc import Callable
from typing import Protocol

from storage.disk.sync import fsync
from storage.threads import Outcome, Threads, settle_all

GROUP_LIMIT = 32  # files, all of which wait for the last of them


class Ending(Protocol):
    """A file whose last bytes are here."""

    parent: str  # the folder of its name

    def finish(self) -> None:
        """Write what is left, make the file durable and give it its name. Blocks. Raises OSError."""


Waiting = tuple[asyncio.Future[None], Ending]


class Groups:
    """The files of a folder that end. To be used on the event loop."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._waiting: collections.deque[Waiting] = collections.deque()
        self._calls = 0  # how many threads were asked to look, and have not begun to
        self._counting = threading.Lock()

    def commit(self, file: Ending) -> asyncio.Future[None]:
        """Finish the file and make its name durable. The future raises OSError; cancelling it stops nothing.

        Raises RuntimeError when the threads were closed.
        """
        self._threads.must_be_open()
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((future, file))  # before it counts: whoever has not begun to look will see it
        with self._counting:
            is_called = self._calls == self._threads.count
            if not is_called:
                self._calls += 1
        if not is_called:
            self._threads.start(self._commit)
        return future

    def _commit(self) -> None:
        """One share of what has come by now: all, when no other thread was asked."""
        with self._counting:
            self._calls -= 1
            share = max(1, len(self._waiting) // (self._calls + 1))
            files = [self._waiting.popleft() for _ in range(min(share, len(self._waiting)))]
        for start in range(0, len(files), GROUP_LIMIT):
            outcomes = _finish(files[start : start + GROUP_LIMIT])
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits
                outcomes[0][0].get_loop().call_soon_threadsafe(settle_all, outcomes)


def _finish(group: list[Waiting]) -> list[Outcome]:
    """What became of each file: it fails alone, or with all that have its folder."""
    failures: list[Exception | None] = [_failure(file.finish) for _, file in group]
    folders = {file.parent for (_, file), failure in zip(group, failures, strict=True) if failure is None}
    failed = {folder: _failure(functools.partial(fsync, folder)) for folder in folders}
    return [(future, None, failure or failed[file.parent]) for (future, file), failure in zip(group, failures, strict=True)]


def _failure(work: Callable[[], None]) -> Exception | None:
    """What the work raised."""
    try:
        work()
    except Exception as error:  # noqa: BLE001 (not swallowed: it is the outcome)
        return error
    return None
