"""A file on its way out."""

import asyncio
import errno
import os

from storage.disk.folder import Folder, failed

# Linux only; without it every read takes a thread.
_NOWAIT: int | None = getattr(os, "RWF_NOWAIT", None)


class DiskReader:
    """An open file; see `BlobReader`."""

    def __init__(self, folder: Folder, path: str) -> None:
        self._folder = folder
        self._path = path
        self._descriptor = -1
        self._work: asyncio.Future[bytes] | None = None

    def expect(self, start: int, stop: int) -> None:
        """Nothing to do: the kernel reads ahead by itself."""

    async def read(self, offset: int, length: int) -> bytes | bytearray:
        """Exactly those bytes. Raises SERVICE_UNAVAILABLE also when the file is missing or too short."""
        try:
            cached = self._read_cached(offset, length)
            if cached is not None:
                return cached
            self._work = self._folder.run(self._read, offset, length)
            return await asyncio.shield(self._work)
        except OSError as error:
            raise failed(error) from error

    def _read_cached(self, offset: int, length: int) -> bytearray | None:
        """Those bytes, if all of them are in memory."""
        if _NOWAIT is None or (self._work is not None and not self._work.done()):
            return None
        if self._descriptor < 0:
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        data = bytearray(length)
        try:
            count = os.preadv(self._descriptor, [data], offset, _NOWAIT)
        except OSError as error:
            if error.errno in {errno.EAGAIN, errno.EOPNOTSUPP}:  # not in memory; a file system that cannot tell, such as tmpfs
                return None
            raise
        return data if count == length else None

    def _read(self, offset: int, length: int) -> bytes:
        if self._descriptor < 0:
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        data = os.pread(self._descriptor, length, offset)
        while len(data) < length:  # a signal may cut a read short; the end of the file must not
            more = os.pread(self._descriptor, length - len(data), offset + len(data))
            if not more:
                raise OSError(errno.EIO, "the file is shorter than its row says", self._path)
            data += more
        return data

    def close(self) -> None:
        """Close the file once no worker thread reads it (rule 4)."""
        if self._work is not None and not self._work.done():
            self._work.add_done_callback(lambda _: self._close())
        else:
            self._close()

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
