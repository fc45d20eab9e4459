"""Blobs in a folder of the local disk.

Rules:
1. A blob is visible under its key only when all of it is on the disk: temporary file beside the target, fsync, rename,
   fsync of the folder (rename is atomic, but durable only with the folder's fsync; fsync(2), rename(2)).
2. Disk work runs in worker threads, one hop for `CHUNK` bytes; the hash is taken in the same hop. While a chunk is being
   written the next may come in, so a writer holds at most two.
3. A descriptor is closed only when no worker thread uses it: its number would be given to another file.
"""

import asyncio
import contextlib
import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from schemas import Code, ServiceError
from storage.blobs import BlobInfo
from storage.ids import fresh_id

CHUNK = 256 * 1024  # bytes in one hop: a hop costs 60 us, hashing and writing this much 300 us; two for each upload in flight
WORKER_THREADS = 8  # disk operations at once in a process
PARTIAL = ".partial"  # the end of a temporary file's name
_IOV_MAX = 512  # pieces in one writev(2); the least that systems allow is 1024 on Linux and macOS

T = TypeVar("T")


def failed(error: OSError) -> ServiceError:
    """What a client is told when the disk fails: 503, which clients retry; the cause goes to the log."""
    full = error.errno in {errno.ENOSPC, errno.EDQUOT}
    why = "the storage is full" if full else "the storage is not available now, try again"
    return ServiceError(Code.SERVICE_UNAVAILABLE, why)


class DiskBlobs:
    """Blobs below `directory`, one file each, at the path that the key spells."""

    def __init__(self, directory: Path) -> None:
        """Creates the directory. Raises OSError when that fails."""
        directory.mkdir(parents=True, exist_ok=True)
        self.root = directory.resolve()
        self._threads = ThreadPoolExecutor(WORKER_THREADS, thread_name_prefix="attachd-disk")
        self._known_folders: set[Path] = set()

    def path(self, key: str) -> Path:
        """Where the blob lies. Raises ValueError for a key that leads out of the directory."""
        path = Path(os.path.normpath(self.root / key))
        if not path.is_relative_to(self.root) or path == self.root or "\0" in key:
            raise ValueError(f"blob key {key!r} is not inside the storage directory")
        return path

    def run(self, work: Callable[..., T], *arguments: object) -> asyncio.Future[T]:
        """`work(*arguments)` in a worker thread. The work goes on when the future is cancelled."""
        return asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    def create(self, key: str) -> "DiskWriter":
        """Begin to write under a key that was never used."""
        return DiskWriter(self, self.path(key))

    def open(self, key: str) -> "DiskReader":
        """A reader of a committed blob; the file is opened by the first read, in the same hop."""
        return DiskReader(self, self.path(key))

    async def delete(self, keys: list[str]) -> None:
        """Remove blobs; a missing one is no error."""
        paths = [self.path(key) for key in keys]

        def unlink() -> None:
            for path in paths:
                path.unlink(missing_ok=True)
            for folder in {path.parent for path in paths if path.parent.exists()}:
                _fsync(folder)

        try:
            await self.run(unlink)
        except OSError as error:
            raise failed(error) from error

    def scan(self) -> Iterator[BlobInfo]:
        """Every file below the directory as a blob, unfinished ones too."""
        for folder, _, names in os.walk(self.root):
            for name in names:
                path = os.path.join(folder, name)
                try:
                    status = os.stat(path, follow_symlinks=False)
                except FileNotFoundError:
                    continue  # committed or removed meanwhile
                yield BlobInfo(os.path.relpath(path, self.root).replace(os.sep, "/"), status.st_size, status.st_mtime)

    async def check(self) -> None:
        """Write, make durable and remove a small blob."""
        path = self.root / f".check-{fresh_id()}{PARTIAL}"

        def touch() -> None:
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                try:
                    os.write(descriptor, b"attachd")
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
            finally:
                path.unlink(missing_ok=True)

        try:
            await self.run(touch)
        except OSError as error:
            raise failed(error) from error

    def make_folder(self, folder: Path) -> None:
        """Create a folder for blobs, durably. Blocks."""
        if folder in self._known_folders:
            return
        missing = [folder, *(parent for parent in folder.parents if parent.is_relative_to(self.root) and not parent.exists())]
        folder.mkdir(parents=True, exist_ok=True)
        for created in missing:
            _fsync(created.parent)
        self._known_folders.add(folder)

    def close(self) -> None:
        """Wait for the disk operations under way and end the threads."""
        self._threads.shutdown()


class DiskWriter:
    """A file on its way in; see `BlobWriter`."""

    def __init__(self, blobs: DiskBlobs, path: Path) -> None:
        self._blobs = blobs
        self._path = path
        self._partial = path.with_name(f".{path.name}{PARTIAL}")
        self._hash = hashlib.sha256()
        self._descriptor = -1
        self._pieces: list[bytes | memoryview] = []
        self._held = 0
        self._work: asyncio.Future[None] | None = None

    async def write(self, data: bytes | memoryview) -> None:
        """Hold the bytes; every `CHUNK` bytes a worker thread hashes and writes them while the next come in."""
        self._pieces.append(data)
        self._held += len(data)
        if self._held >= CHUNK:
            await self._settle()
            self._work = self._blobs.run(self._append, self._pieces)
            self._pieces, self._held = [], 0

    async def commit(self) -> bytes:
        """Write the rest, then rule 1 of the module, in one hop."""
        await self._settle()
        self._work = self._blobs.run(self._finish, self._pieces)
        await self._settle()
        return self._hash.digest()

    def abort(self) -> None:
        """Remove the temporary file, after the worker thread that writes to it."""
        if self._work is not None:  # else nothing was written yet
            self._work.add_done_callback(self._remove_after)

    def _remove_after(self, work: asyncio.Future[None]) -> None:
        work.exception()  # it was raised to the caller, unless that was cancelled meanwhile: then nobody asks for it
        self._blobs.run(self._remove)

    async def _settle(self) -> None:
        """Wait for the hop under way; a cancelled caller leaves it to finish (rule 3)."""
        if self._work is not None:
            try:
                await asyncio.shield(self._work)
            except OSError as error:
                raise failed(error) from error

    def _append(self, pieces: list[bytes | memoryview]) -> None:
        if self._descriptor < 0:
            self._create()
        for piece in pieces:
            self._hash.update(piece)
        for start in range(0, len(pieces), _IOV_MAX):
            _write_all(self._descriptor, pieces[start : start + _IOV_MAX])

    def _create(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            self._descriptor = os.open(self._partial, flags, 0o600)
        except FileNotFoundError:  # the first blob of its folder
            self._blobs.make_folder(self._path.parent)
            self._descriptor = os.open(self._partial, flags, 0o600)

    def _finish(self, pieces: list[bytes | memoryview]) -> None:
        self._append(pieces)
        os.fsync(self._descriptor)
        self._close()
        os.rename(self._partial, self._path)
        _fsync(self._path.parent)

    def _remove(self) -> None:
        self._close()
        with contextlib.suppress(OSError):  # what fails to go now, sweep removes
            self._partial.unlink(missing_ok=True)
            self._path.unlink(missing_ok=True)  # a commit whose caller was cancelled: there will be no row

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class DiskReader:
    """An open file; see `BlobReader`."""

    def __init__(self, blobs: DiskBlobs, path: Path) -> None:
        self._blobs = blobs
        self._path = path
        self._descriptor = -1
        self._work: asyncio.Future[bytes] | None = None

    async def read(self, offset: int, length: int) -> bytes:
        """Exactly those bytes, in one hop. Raises SERVICE_UNAVAILABLE also when the file is missing or too short."""
        self._work = self._blobs.run(self._read, offset, length)
        try:
            return await asyncio.shield(self._work)
        except OSError as error:
            raise failed(error) from error

    def _read(self, offset: int, length: int) -> bytes:
        if self._descriptor < 0:
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        data = os.pread(self._descriptor, length, offset)
        while len(data) < length:  # a signal may cut a read short; the end of the file must not
            more = os.pread(self._descriptor, length - len(data), offset + len(data))
            if not more:
                raise OSError(errno.EIO, "the file is shorter than its row says", str(self._path))
            data += more
        return data

    def close(self) -> None:
        """Close the file once no worker thread reads it (rule 3)."""
        if self._work is not None and not self._work.done():
            self._work.add_done_callback(lambda _: self._close())
        else:
            self._close()

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


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


def _fsync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
