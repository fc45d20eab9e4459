"""A file on its way in."""

import asyncio
import contextlib
import errno
import hashlib
import os
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from storage.disk.folder import PARTIAL, Folder, failed

# Bytes after which a hop is made: a hop costs 25 us, hashing and writing this much 130. uvloop reads up to 250 KiB at once, so
# that an upload in flight holds two such reads, one of them being written.
CHUNK = 128 * 1024
_IOV_MAX = 512  # pieces in one writev(2); the least that systems allow is 1024 on Linux and macOS

T = TypeVar("T")


class DiskWriter:
    """A file on its way in; see `BlobWriter`."""

    def __init__(self, folder: Folder, path: str) -> None:
        self._folder = folder
        self._path = path
        self.parent, _, name = path.rpartition("/")
        self._partial = f"{self.parent}/.{name}{PARTIAL}"
        self._hash = hashlib.sha256()
        self._descriptor = -1
        self._pieces: list[bytes | memoryview] = []
        self._held = 0
        self._work: asyncio.Future[Any] | None = None
        # A hop whose caller was cancelled goes on: what removes the file waits for it, and no hop begins behind that (rule 4).
        self._turn = threading.Lock()
        self._is_removed = False

    async def write(self, data: bytes | memoryview) -> None:
        """Hold the bytes; a worker thread writes each `CHUNK` of them, or `_IOV_MAX` pieces, while the next come in."""
        self._pieces.append(data)
        self._held += len(data)
        if self._held >= CHUNK or len(self._pieces) >= _IOV_MAX:
            await self._settle()
            self._work = self._folder.run(self._in_turn, self._append, self._pieces)
            self._pieces, self._held = [], 0

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` returns, from a worker thread, after what was written before."""
        await self._settle()
        pieces, self._pieces, self._held = self._pieces, [], 0

        def begin() -> T:
            if pieces:
                self._append(pieces)
            return work()

        future: asyncio.Future[T] = self._folder.run(self._in_turn, begin)
        self._work = future
        await self._settle()
        return future.result()

    def append(self, data: bytes | memoryview) -> None:
        """Hash and write the bytes, from within `run`. Raises SERVICE_UNAVAILABLE."""
        try:
            self._append([data])
        except OSError as error:
            raise failed(error) from error

    async def commit(self) -> bytes:
        """Write the rest, then rule 1 of the package, in one hop, with other files that end now."""
        await self._settle()
        self._work = self._folder.commit(self)
        await self._settle()
        return self._hash.digest()

    def finish(self) -> None:
        """Write the rest, make the file durable, give it its name. For worker threads. Raises OSError."""
        self._in_turn(self._finish)

    def abort(self) -> None:
        """Remove the temporary file, after the worker thread that writes to it."""
        if self._work is not None:  # else nothing was written yet
            self._work.add_done_callback(self._remove_after)

    def _remove_after(self, work: asyncio.Future[Any]) -> None:
        if not work.cancelled():
            work.exception()  # it was raised to the caller, unless that was cancelled meanwhile: then nobody asks for it
        with contextlib.suppress(RuntimeError):  # the store was closed: sweep removes it
            self._folder.run(self._in_turn, self._remove)

    async def _settle(self) -> None:
        """Wait for the hop under way; a caller that is cancelled leaves it to finish."""
        if self._work is not None:
            try:
                await self._work
            except OSError as error:
                raise failed(error) from error

    def _in_turn(self, work: Callable[..., T], *arguments: object) -> T:
        """What a hop does, after the hop before it."""
        with self._turn:
            if self._is_removed:
                raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED), self._partial)
            return work(*arguments)

    def _append(self, pieces: list[bytes | memoryview]) -> None:
        if self._descriptor < 0:
            self._create()
        for piece in pieces:
            self._hash.update(piece)
        _write_all(self._descriptor, pieces)

    def _create(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        if not self._folder.is_durable(self.parent):
            self._folder.make(self.parent)
        try:
            self._descriptor = os.open(self._partial, flags, 0o600)
        except FileNotFoundError:  # somebody removed it
            self._folder.make(self.parent)
            self._descriptor = os.open(self._partial, flags, 0o600)
        except FileExistsError:  # keys are fresh, except those of copies: one that was killed left this
            os.unlink(self._partial)
            self._descriptor = os.open(self._partial, flags, 0o600)

    def _finish(self) -> None:
        pieces, self._pieces = self._pieces, []
        self._append(pieces)
        os.fsync(self._descriptor)
        self._close()
        os.rename(self._partial, self._path)

    def _remove(self) -> None:
        self._is_removed = True
        with contextlib.suppress(OSError):
            self._close()
        with contextlib.suppress(OSError):  # most often it is renamed already; what fails to go now, sweep removes
            os.unlink(self._partial)
        with contextlib.suppress(OSError):
            os.unlink(self._path)  # a commit whose caller was cancelled: there will be no row

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1  # closed even when close(2) fails, and never twice (rule 4)
        if descriptor >= 0:
            os.close(descriptor)


def _write_all(descriptor: int, pieces: list[bytes | memoryview]) -> None:
    """Write every byte of the pieces: writev(2) may write fewer than it was given."""
    left = sum(map(len, pieces))
    written = os.writev(descriptor, pieces)
    while written < left:
        left -= written
        pieces = _behind(pieces, written)
        written = os.writev(descriptor, pieces)


def _behind(pieces: list[bytes | memoryview], count: int) -> list[bytes | memoryview]:
    """The pieces without their first `count` bytes."""
    for index, piece in enumerate(pieces):
        if count < len(piece):
            return [memoryview(piece)[count:], *pieces[index + 1 :]]
        count -= len(piece)
    return []
