"""The storage with a meter around it: files on their way, bytes, times and failures, whatever keeps the bytes."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final, TypeVar

from schemas import Code, ServiceError
from server.metrics import families as names
from server.metrics.failures import storage_kind
from server.metrics.incoming import MeteredIncoming
from server.metrics.meters import Meters
from storage import BlobInfo, BlobReader, Blobs, BlobWriter

T = TypeVar("T")

_WRITE: Final = "write"
_READ: Final = "read"
_DELETE: Final = "delete"
_OTHER: Final = "other"


class StorageMeter:
    """What is counted of the storage."""

    def __init__(self, meters: Meters) -> None:
        self._meters = meters
        self._times = {name: meters.histogram(names.STORAGE_TIME, name) for name in names.STORAGE_OPERATIONS}
        self.uploads = meters.counter(names.UPLOADS)
        self.stored = meters.counter(names.UPLOADS_ENDED, "stored")
        self.aborted = meters.counter(names.UPLOADS_ENDED, "aborted")
        self.downloads = meters.counter(names.DOWNLOADS)
        self.written = meters.counter(names.WRITTEN)
        self.read = meters.counter(names.READ)

    async def timed(self, operation: str, work: Awaitable[T]) -> T:
        """What `work` gives; notes how long it took, or that it failed."""
        started = time.perf_counter()
        try:
            result = await work
        except ServiceError as error:
            self.failed(operation, error)
            raise
        self._times[operation].since(started)
        return result

    def failed(self, operation: str, error: ServiceError) -> None:
        """Note what an operation raised, if it was a failure."""
        if error.code is Code.SERVICE_UNAVAILABLE:
            self._meters.counter(names.STORAGE_FAILURES, operation, storage_kind(error.origin)).add()


class MeteredBlobs:
    """A place for blobs as it is, and counted; see `Blobs`."""

    def __init__(self, blobs: Blobs, meters: Meters) -> None:
        self._blobs = blobs
        self._meter = StorageMeter(meters)
        self.incoming = None if blobs.incoming is None else MeteredIncoming(blobs.incoming, self._meter)
        self.link = blobs.link
        self.aclose = blobs.aclose

    def create(self, key: str) -> BlobWriter:
        """Begin to write; it is on its way from its first bytes on."""
        return _MeteredWriter(self._blobs.create(key), self._meter)

    def open(self, key: str) -> BlobReader:
        """A reader; it is on its way from its first read on."""
        return _MeteredReader(self._blobs.open(key), self._meter)

    def scan(self, after: str = "") -> AsyncIterator[list[BlobInfo]]:
        """All that is kept."""
        return self._blobs.scan(after)

    async def delete(self, keys: list[str]) -> None:
        """Remove blobs."""
        await self._meter.timed(_DELETE, self._blobs.delete(keys))

    async def quarantine(self, keys: list[str]) -> None:
        """Move blobs aside."""
        await self._meter.timed(_OTHER, self._blobs.quarantine(keys))

    async def release(self, keys: list[str]) -> None:
        """Move blobs back."""
        await self._meter.timed(_OTHER, self._blobs.release(keys))

    async def missing(self, keys: Sequence[str]) -> set[str]:
        """Which of the keys have no blob."""
        return await self._meter.timed(_OTHER, self._blobs.missing(keys))

    async def size_of(self, key: str) -> int | None:
        """The size of a blob."""
        return await self._meter.timed(_OTHER, self._blobs.size_of(key))

    async def check(self) -> None:
        """Try the place out."""
        await self._meter.timed(_OTHER, self._blobs.check())


class _MeteredWriter:
    __slots__ = ("_has_begun", "_meter", "_size", "_writer")

    def __init__(self, writer: BlobWriter, meter: StorageMeter) -> None:
        self._writer = writer
        self._meter = meter
        self._size = 0
        self._has_begun = False

    async def write(self, data: bytes | memoryview) -> None:
        self._begin()
        self._size += len(data)
        try:
            await self._writer.write(data)
        except ServiceError as error:
            self._meter.failed(_WRITE, error)
            raise

    async def run(self, work: Callable[[], T]) -> T:
        self._begin()
        try:
            return await self._writer.run(work)
        except ServiceError as error:
            self._meter.failed(_WRITE, error)
            raise

    def append(self, data: bytes | memoryview) -> None:
        self._size += len(data)
        self._writer.append(data)

    async def commit(self) -> bytes:
        digest = await self._meter.timed(_WRITE, self._writer.commit())
        self._end()
        self._meter.stored.add()
        self._meter.written.add(self._size)
        return digest

    def abort(self) -> None:
        if self._has_begun:
            self._end()
            self._meter.aborted.add()
        self._writer.abort()

    def _begin(self) -> None:
        if not self._has_begun:
            self._has_begun = True
            self._meter.uploads.add()

    def _end(self) -> None:
        if self._has_begun:
            self._has_begun = False
            self._meter.uploads.add(-1)


class _MeteredReader:
    __slots__ = ("_has_begun", "_meter", "_reader")

    def __init__(self, reader: BlobReader, meter: StorageMeter) -> None:
        self._reader = reader
        self._meter = meter
        self._has_begun = False

    def expect(self, start: int, stop: int) -> None:
        self._reader.expect(start, stop)

    async def read(self, offset: int, length: int) -> bytes | bytearray:
        if not self._has_begun:
            self._has_begun = True
            self._meter.downloads.add()
        data = await self._meter.timed(_READ, self._reader.read(offset, length))
        self._meter.read.add(len(data))
        return data

    def close(self) -> None:
        if self._has_begun:
            self._has_begun = False
            self._meter.downloads.add(-1)
        self._reader.close()
