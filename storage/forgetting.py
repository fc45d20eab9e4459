"""Removing direct uploads that nobody completes any more, and what was sent for them.

A row goes after its URLs are good no more. What lies behind `INCOMING` goes when it has no row that lives: it was sent and
never completed, or after its upload was over, or is older than a database that was restored.
"""

from storage.blobs import Blobs
from storage.catalog import DirectTable
from storage.clock import timestamp
from storage.incoming import Incoming, Leftover

_AT_ONCE = 500  # rows: bounds the length of a transaction


async def forget_expired(
    table: DirectTable, blobs: Blobs, incoming: Incoming, before: float, *, dry_run: bool
) -> list[Leftover]:
    """Forget what expired before that time, seconds since 1970; gives what lay there. With a dry run nothing is removed."""
    forgotten: list[Leftover] = []
    expired_before = timestamp(before)
    while not dry_run and await table.close_expired(expired_before, _AT_ONCE):
        pass  # from here on nobody completes them, and loses what it has
    async for batch in incoming.leftovers():
        old = [leftover for leftover in batch if leftover.modified_at <= before]
        alive = await table.alive([_id(leftover) for leftover in old], expired_before)
        gone = [leftover for leftover in old if _id(leftover) not in alive]
        forgotten += gone
        if not dry_run:
            await _remove(blobs, incoming, gone)
    while not dry_run and await table.forget_expired(expired_before, _AT_ONCE):
        pass
    return forgotten


def _id(leftover: Leftover) -> str:
    return leftover.key.rpartition("/")[2]


async def _remove(blobs: Blobs, incoming: Incoming, leftovers: list[Leftover]) -> None:
    for leftover in leftovers:
        if leftover.multipart_id is not None:
            await incoming.abort_parts(leftover.key, leftover.multipart_id)
    await blobs.delete([leftover.key for leftover in leftovers if leftover.multipart_id is None])
