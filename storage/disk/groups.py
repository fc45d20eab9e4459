"""Files that end at the same time are made durable together, as a database commits transactions in groups.

A thread takes every file that waits: each is written, made durable and given its name; then their folder is made durable, once
for all of them. While threads are free nothing waits for anything.
"""

import asyncio
import collections
import contextlib
import functools
from collections.abc import Callable
from typing import Protocol

from storage.disk.sync import fsync
from storage.threads import Threads, settle

GROUP_LIMIT = 32  # files; the last pieces of each are 128 KiB at most, so a group is hashed in some 3 ms

Outcome = tuple[asyncio.Future[None], None, Exception | None]


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
        self._is_called = False  # a thread was asked to look, and has not begun to

    def commit(self, file: Ending) -> asyncio.Future[None]:
        """Finish the file and make its name durable. The future raises OSError; cancelling it stops nothing.

        Raises RuntimeError when the threads were closed.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((future, file))
        if not self._is_called:
            self._is_called = True
            self._threads.start(self._commit)
        return future

    def _commit(self) -> None:
        self._is_called = False  # before it looks: who comes later, and finds it so, asks another thread
        # What is there by now; what comes later has its turn behind other calls.
        for _ in range(-(-len(self._waiting) // GROUP_LIMIT)):
            group = self._take()
            if not group:  # another thread was faster
                return
            outcomes = _finish(group)
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits
                group[0][0].get_loop().call_soon_threadsafe(_settle, outcomes)

    def _take(self) -> list[Waiting]:
        group: list[Waiting] = []
        with contextlib.suppress(IndexError):  # another thread may take from it, too
            while len(group) < GROUP_LIMIT:
                group.append(self._waiting.popleft())
        return group


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


def _settle(outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        settle(*outcome)
