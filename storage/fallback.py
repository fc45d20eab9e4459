"""Two places for blobs while their bytes are moved from one to the other: new ones go to the first, reads find them in either.

Rules:
1. A blob is looked for at the first place, and at the second when the first says that it has none; a failure of the first is a
   failure, not an absence.
2. While this is in use the bytes of a blob may go away from the second place, but only after they are at the first. So a reader
   that loses the second looks at the first again.
3. Clients get no links into a bucket: the blob may not be in it yet.
"""

from collections.abc import AsyncIterator, Sequence

from schemas import ServiceError
from storage.blobs import BLOBS_AT_ONCE, BlobInfo, BlobReader, Blobs, BlobWriter
from storage.merge import side_by_side


class FallbackReader:
    """See `BlobReader`."""

    def __init__(self, first: Blobs, second: Blobs, key: str) -> None:
        self._places = (first, second, first)  # in this order, the first again: rule 2
        self._key = key
        self._reader: BlobReader = first.open(key)
        self._expected = (0, 0)

    def expect(self, start: int, stop: int) -> None:
        """Told to whatever is read from."""
        self._expected = (start, stop)
        self._reader.expect(start, stop)

    async def read(self, offset: int, length: int) -> bytes | bytearray:
        """Exactly those bytes, from where the blob is."""
        for _ in range(len(self._places) - 1):
            try:
                return await self._reader.read(offset, length)
            except ServiceError:
                place = await self._find()
                if place is None:
                    raise
            self._reader.close()
            self._reader = place.open(self._key)
            self._reader.expect(*self._expected)
        return await self._reader.read(offset, length)

    async def _find(self) -> Blobs | None:
        """Where the blob is now."""
        for place in self._places:
            if await place.size_of(self._key) is not None:
                return place
        return None

    def close(self) -> None:
        """Let go of it."""
        self._reader.close()


class FallbackBlobs:
    """Blobs at `first`, and those that are not there yet at `second`."""

    def __init__(self, first: Blobs, second: Blobs) -> None:
        self._first = first
        self._second = second
        self.incoming = first.incoming
        self._unfinished: dict[str, Blobs] = {}  # where those are that the scan gave: each place has names of its own for them

    def create(self, key: str) -> BlobWriter:
        """Begin to write at the first place."""
        return self._first.create(key)

    def open(self, key: str) -> FallbackReader:
        """A reader of a committed blob, wherever it is."""
        return FallbackReader(self._first, self._second, key)

    async def delete(self, keys: list[str]) -> None:
        """Remove blobs from both, and unfinished ones from where they are."""
        for blobs in (self._first, self._second):
            await blobs.delete([key for key in keys if self._unfinished.get(key, blobs) is blobs])

    async def quarantine(self, keys: list[str]) -> None:
        """Move them in both."""
        await self._first.quarantine(keys)
        await self._second.quarantine(keys)

    async def release(self, keys: list[str]) -> None:
        """Move them back in both."""
        await self._first.release(keys)
        await self._second.release(keys)

    async def scan(self, after: str = "") -> AsyncIterator[list[BlobInfo]]:
        """All that is kept at either place; of what is at both, what the first says."""
        async for batch in side_by_side(self._first.scan(after), self._second.scan(after)):
            infos: list[BlobInfo] = []
            for key, first, second in batch:
                info = first or second
                if info is not None:
                    infos.append(info)
                if info is not None and info.unfinished:
                    self._unfinished[key] = self._first if first else self._second
            for start in range(0, len(infos), BLOBS_AT_ONCE):
                yield infos[start : start + BLOBS_AT_ONCE]

    async def missing(self, keys: Sequence[str]) -> set[str]:
        """Which of the keys have no blob at either place."""
        lacking = await self._first.missing(keys)
        for blobs in (self._second, self._first):  # the first again: rule 2
            lacking = await blobs.missing(sorted(lacking)) if lacking else lacking
        return lacking

    async def size_of(self, key: str) -> int | None:
        """The size of the blob in bytes; None if there is none at either place."""
        for blobs in (self._first, self._second, self._first):
            if (size := await blobs.size_of(key)) is not None:
                return size
        return None

    def link(self, key: str, *, content_type: str, disposition: str, expires_s: int | None = None) -> None:
        """None (rule 3)."""

    async def check(self) -> None:
        """Write, make durable and remove a small blob at the first place: nothing is written to the second."""
        await self._first.check()

    async def aclose(self) -> None:
        """Let go of both."""
        await self._first.aclose()
        await self._second.aclose()
