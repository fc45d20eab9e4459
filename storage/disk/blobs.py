"""All blobs of a folder."""

import asyncio
import contextlib
import itertools
import os
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from storage.blobs import BLOBS_AT_ONCE, QUARANTINE, BlobInfo
from storage.disk.folder import PARTIAL, Folder, failed
from storage.disk.reader import DiskReader
from storage.disk.sync import fsync
from storage.disk.walk import walk
from storage.disk.writer import DiskWriter
from storage.ids import fresh_id

T = TypeVar("T")


class DiskBlobs:
    """Blobs below `directory`, one file each, at the path that the key spells."""

    incoming: Final = None  # clients have no way into a folder but through this program

    def __init__(self, directory: Path) -> None:
        """Creates the directory. Raises OSError when that fails."""
        self._folder = Folder(directory)

    def create(self, key: str) -> DiskWriter:
        """Begin to write under a key that was never used."""
        return DiskWriter(self._folder, self._folder.path(key))

    def open(self, key: str) -> DiskReader:
        """A reader of a committed blob; the file is opened by the first read."""
        return DiskReader(self._folder, self._folder.path(key))

    async def delete(self, keys: list[str]) -> None:
        """Remove blobs; a missing one is no error."""
        paths = [self._folder.path(key) for key in keys]

        def unlink() -> None:
            for path in paths:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
            for folder in {os.path.dirname(path) for path in paths}:
                with contextlib.suppress(FileNotFoundError):
                    fsync(folder)

        await self._run(unlink)

    async def quarantine(self, keys: list[str]) -> None:
        """Rename blobs to the same key behind `QUARANTINE`; a missing one is no error."""
        await self._run(lambda: self._move([(key, QUARANTINE + key) for key in keys]))

    async def release(self, keys: list[str]) -> None:
        """Rename blobs back from behind `QUARANTINE`, unless there is one in its place."""
        await self._run(lambda: self._move([(QUARANTINE + key, key) for key in keys if self._size_of(key) is None]))

    def _move(self, pairs: list[tuple[str, str]]) -> None:
        paths = [(self._folder.path(key), self._folder.path(target)) for key, target in pairs]
        for path, target in paths:
            with contextlib.suppress(FileNotFoundError):
                os.utime(path)  # when it was moved; before the move, so that nothing in quarantine looks older than it is
                parent = os.path.dirname(target)
                if not os.path.isdir(parent):
                    self._folder.make(parent)
                os.rename(path, target)
        for folder in {os.path.dirname(path) for pair in paths for path in pair}:
            with contextlib.suppress(FileNotFoundError):
                fsync(folder)

    async def scan(self, after: str = "") -> AsyncIterator[list[BlobInfo]]:
        """All that is kept, in batches; files that this program did not make are passed over."""
        files = walk(self._folder.root, after)
        while batch := await self._run(lambda: list(itertools.islice(files, BLOBS_AT_ONCE))):
            yield batch

    async def missing(self, keys: Sequence[str]) -> set[str]:
        """Which of the keys have no file."""
        return await self._run(lambda: {key for key in keys if self._size_of(key) is None})

    async def size_of(self, key: str) -> int | None:
        """The size of the file in bytes; None if there is none."""
        return await self._run(lambda: self._size_of(key))

    def _size_of(self, key: str) -> int | None:
        try:
            return os.stat(self._folder.path(key)).st_size
        except FileNotFoundError:
            return None

    def link(self, key: str, *, content_type: str, disposition: str, expires_s: int | None = None) -> None:
        """None: clients get nothing from a folder but through this program."""

    async def check(self) -> None:
        """Write, make durable and remove a small blob."""
        path = f"{self._folder.root}/.check-{fresh_id()}{PARTIAL}"

        def touch() -> None:
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                try:
                    os.write(descriptor, b"attachd")
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)

        await self._run(touch)

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.shield(self._folder.run(work))
        except OSError as error:
            raise failed(error) from error

    async def aclose(self) -> None:
        """Wait for the disk operations under way and end the threads."""
        self._folder.close()
