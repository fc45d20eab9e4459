"""All blobs of a folder."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from storage.blobs import BlobInfo
from storage.disk.folder import PARTIAL, Folder, failed, fsync
from storage.disk.reader import DiskReader
from storage.disk.writer import DiskWriter
from storage.ids import fresh_id

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
# The files that this program makes. What else lies in the folder is somebody's, and sweep must not even look at it.
_OURS = re.compile(rf"(?:attachments/[^/]+/(?:{_UUID}|\.{_UUID}\.partial)|\.check-{_UUID}\.partial)\Z")


class DiskBlobs:
    """Blobs below `directory`, one file each, at the path that the key spells."""

    def __init__(self, directory: Path) -> None:
        """Creates the directory. Raises OSError when that fails."""
        self._folder = Folder(directory)
        self.run = self._folder.run

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

        try:
            await self.run(unlink)
        except OSError as error:
            raise failed(error) from error

    def scan(self) -> Iterator[BlobInfo]:
        """Every blob, unfinished ones too; files that this program did not make are passed over."""
        for folder, _, names in os.walk(self._folder.root):
            for name in names:
                path = os.path.join(folder, name)
                key = os.path.relpath(path, self._folder.root).replace(os.sep, "/")
                if not _OURS.match(key):
                    continue
                try:
                    status = os.stat(path, follow_symlinks=False)
                except FileNotFoundError:
                    continue  # committed or removed meanwhile
                yield BlobInfo(key, status.st_size, status.st_mtime)

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

        try:
            await self.run(touch)
        except OSError as error:
            raise failed(error) from error

    def exists(self, key: str) -> bool:
        """Whether the blob is there. Blocks."""
        return os.path.exists(self._folder.path(key))

    def close(self) -> None:
        """Wait for the disk operations under way and end the threads."""
        self._folder.close()
