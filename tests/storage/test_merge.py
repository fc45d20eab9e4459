"""Rows and blobs side by side: every key once, in order, with what there is of it, however the batches fall."""

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.blobs import BlobInfo
from storage.catalog import KeptRow
from storage.merge import Pair, merge

KEYS = st.sets(st.text("abc/", min_size=1, max_size=3))


def row(key: str) -> KeptRow:
    return KeptRow(key, f"id of {key}", 1, b"", False)


def blob(key: str) -> BlobInfo:
    return BlobInfo(key, 1, 0.0, False)


async def merged(rows: set[str], blobs: set[str], after: str, size: int) -> list[Pair]:
    async def read(behind: str, limit: int) -> list[KeptRow]:
        return [row(key) for key in sorted(rows) if key > behind][: min(limit, size)]

    async def scan() -> AsyncIterator[list[BlobInfo]]:
        keys = sorted(key for key in blobs if key > after)
        for start in range(0, len(keys), size):
            yield [blob(key) for key in keys[start : start + size]]

    return [pair async for batch in merge(read, scan(), after) for pair in batch]


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@given(rows=KEYS, blobs=KEYS, after=st.text("abc/", max_size=3))
async def test_every_key_once_in_order(size: int, rows: set[str], blobs: set[str], after: str) -> None:
    expected = [
        Pair(key, row(key) if key in rows else None, blob(key) if key in blobs else None)
        for key in sorted(rows | blobs)
        if key > after
    ]
    assert await merged(rows, blobs, after, size) == expected


async def test_it_holds_two_batches_at_most() -> None:
    """A million of each take no more memory than a thousand: nothing is read before what was read is used up."""
    keys = [f"{number:06}" for number in range(10_000)]
    read_at, scanned_at, taken = 0, 0, 0

    async def read(behind: str, limit: int) -> list[KeptRow]:
        nonlocal read_at
        start = int(behind or -1) + 1
        read_at = start + limit
        return [row(key) for key in keys[start : start + limit]]

    async def scan() -> AsyncIterator[list[BlobInfo]]:
        nonlocal scanned_at
        for start in range(0, len(keys), 500):
            scanned_at = start + 500
            yield [blob(key) for key in keys[start:scanned_at]]

    async for pairs in merge(read, scan()):
        taken += len(pairs)
        assert max(read_at, scanned_at) - taken <= 1000
    assert taken == len(keys)
