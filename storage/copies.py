"""Reading blobs whole: to know that they are what their rows say, or to have them elsewhere. A piece of each is in memory."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import Literal, NamedTuple, TypeAlias, TypeVar

from schemas import Code, ServiceError
from storage.blobs import Blobs, BlobWriter
from storage.catalog import KeptRow

PIECE_BYTES = 1024 * 1024

Pace = Callable[[int], Awaitable[None]]  # called with the bytes that were just read; waits as long as a limit wants
State: TypeAlias = Literal["whole", "missing", "size", "checksum", "unreadable"]
T = TypeVar("T")
Item = TypeVar("Item")


class Condition(NamedTuple):
    """What became of a blob: `found` is its size or its digest where that is not what the row says."""

    state: State
    found: str = ""


WHOLE = Condition("whole")


class Pacer:
    """Lets no more than so many bytes a second go by, counted from the first."""

    def __init__(self, bytes_per_s: float) -> None:
        self._bytes_per_s = bytes_per_s
        self._next = 0.0

    async def __call__(self, size: int) -> None:
        """Wait until it is the turn of the bytes behind these."""
        now = asyncio.get_running_loop().time()
        self._next = max(self._next, now) + size / self._bytes_per_s
        await asyncio.sleep(self._next - now)


async def no_pace(_size: int) -> None:
    """As fast as it goes."""


async def _pieces(blobs: Blobs, key: str, size: int, pace: Pace) -> AsyncGenerator[bytes | bytearray, None]:
    reader = blobs.open(key)
    reader.expect(0, size)
    try:
        for offset in range(0, size, PIECE_BYTES):
            piece = await reader.read(offset, min(PIECE_BYTES, size - offset))
            yield piece
            await pace(len(piece))
    finally:
        reader.close()


async def condition(row: KeptRow, blobs: Blobs, pace: Pace = no_pace) -> Condition:
    """What became of the blob of a row, by reading all of it. Raises SERVICE_UNAVAILABLE when the storage does not answer."""
    sha256 = hashlib.sha256()
    try:
        async with aclosing(_pieces(blobs, row.key, row.size, pace)) as pieces:
            async for piece in pieces:
                sha256.update(piece)
    except ServiceError:
        unreadable = True
    else:
        unreadable = False
    size = await blobs.size_of(row.key)  # raises when it is the storage that fails, and not the one blob
    if size is None:
        return Condition("missing")
    if size != row.size:
        return Condition("size", str(size))
    if unreadable:
        return Condition("unreadable")
    return WHOLE if sha256.digest() == row.sha256 else Condition("checksum", sha256.hexdigest())


async def copy(row: KeptRow, source: Blobs, target: Blobs, pace: Pace = no_pace) -> Condition:
    """Have the blob of the row in `target` too, where it must not be yet, and read it back from there.

    Gives what it is at the source: unless it is whole there, nothing is left at the target. Raises SERVICE_UNAVAILABLE when
    either does not answer, or the target gives other bytes than it got.
    """
    writer = target.create(row.key)
    try:
        found = await _write(row, source, writer, pace)
        if found == WHOLE:
            await writer.commit()
    except BaseException:
        writer.abort()
        raise
    if found != WHOLE:
        writer.abort()
        return found
    state, _ = await condition(row, target)
    if state != "whole":
        await target.delete([row.key])
        raise ServiceError(
            Code.SERVICE_UNAVAILABLE, f"the target does not give back what was written to it: {row.key} ({state})"
        )
    return WHOLE


async def _write(row: KeptRow, source: Blobs, writer: BlobWriter, pace: Pace) -> Condition:
    sha256 = hashlib.sha256()
    async with aclosing(_pieces(source, row.key, row.size, pace)) as pieces:
        while True:
            try:
                piece = await anext(pieces, None)
            except ServiceError:  # of the source; what the target raises is not caught
                return await condition(row, source)
            if piece is None:
                break
            sha256.update(piece)
            await writer.write(memoryview(piece))
    return WHOLE if sha256.digest() == row.sha256 else await condition(row, source)


async def each(work: Callable[[Item], Awaitable[T]], items: Iterable[Item], parallel: int) -> list[T]:
    """What `work` gives for each item, in their order, so many at a time. Raises the first that was raised."""
    places = asyncio.Semaphore(parallel)

    async def one(item: Item) -> T:
        async with places:
            return await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(item)) for item in items]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from errors
    return [task.result() for task in tasks]
