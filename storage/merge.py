"""The rows and the blobs side by side, in the order of their keys: each is read once and in batches, whatever their number.

The two are not read at the same instant. What one side lacks must be asked for again before it is called lost.
"""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Generic, NamedTuple, TypeVar

from storage.blobs import BLOBS_AT_ONCE, BlobInfo
from storage.catalog import KeptRow

Left = TypeVar("Left", KeptRow, BlobInfo)
Right = TypeVar("Right", KeptRow, BlobInfo)
ReadRows = Callable[[str, int], Awaitable[list[KeptRow]]]  # rows by key: behind which, and at most how many


class Pair(NamedTuple):
    """What there is of a key."""

    key: str
    row: KeptRow | None
    blob: BlobInfo | None


async def merge(read_rows: ReadRows, blobs: AsyncIterator[list[BlobInfo]], after: str = "") -> AsyncIterator[list[Pair]]:
    """Every key that has a row or a blob, in batches; rows from behind `after`, and `blobs` as they come, in order."""
    async for batch in side_by_side(pages(read_rows, after), blobs):
        yield [Pair(*each) for each in batch]


async def pages(read: ReadRows, after: str = "") -> AsyncIterator[list[KeptRow]]:
    """The rows from behind `after`, in batches."""
    while page := await read(after, BLOBS_AT_ONCE):
        after = page[-1].key
        yield page


async def side_by_side(
    lefts: AsyncIterator[list[Left]], rights: AsyncIterator[list[Right]]
) -> AsyncIterator[list[tuple[str, Left | None, Right | None]]]:
    """Every key of two streams that are in order, with what each has of it; in batches of at most what both gave in one."""
    left, right = _Side(lefts), _Side(rights)
    while True:
        await left.fill()
        await right.fill()
        if not left.items and not right.items:
            return
        batch = []
        # As far as it is known what either side has.
        while (left.items or left.ended) and (right.items or right.ended) and (left.items or right.items):
            key = min(items[0].key for items in (left.items, right.items) if items)
            batch.append((key, left.take(key), right.take(key)))
        yield batch


class _Side(Generic[Left]):
    """One of the streams, as far as it was read."""

    def __init__(self, batches: AsyncIterator[list[Left]]) -> None:
        self._batches: AsyncIterator[list[Left]] = batches
        self.items: deque[Left] = deque()
        self.ended = False

    async def fill(self) -> None:
        """Have an item, unless there are no more."""
        while not self.items and not self.ended:
            batch = await anext(self._batches, None)
            self.ended = batch is None
            self.items.extend(batch or ())

    def take(self, key: str) -> Left | None:
        """The next item, if it is of that key."""
        return self.items.popleft() if self.items and self.items[0].key == key else None
