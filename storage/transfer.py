"""Having the blobs of rows at another place too: moving the bytes, making a backup and putting one back are all this.

The two places and the rows are read side by side, so that what is at the target already costs no call: a run that was stopped
goes on where it was, and there is nothing to remember.

- What counts as copied was compared with the SHA-256 of its row before it became visible at the target, and then read back.
- Nothing at the target is ever written over. What is there and differs is told.
- Nothing is removed from the source unless that is asked for, and then only what was read at the target in the same run.
- Blobs without a row are not copied: an upload under way copies itself, and the rest is for `sweep`.

Only one run at a time may have a target: see `storage.disk.exclusive`.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from storage.blobs import BlobInfo, Blobs
from storage.catalog import KeptRow
from storage.copies import WHOLE, Condition, Pacer, State, condition, copy, each, no_pace
from storage.merge import Pair, ReadRows, merge

Place: TypeAlias = Literal["source", "target"]
Known = Callable[[list[str]], Awaitable[set[str]]]  # which of the keys still have a row


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """The blob of a row that is not what the row says, at the source or at the target."""

    problem: State
    place: Place
    key: str
    attachment: str
    expected: str
    found: str


class Step(NamedTuple):
    """Everything up to `key` is settled: so many more rows and bytes; what was copied of them, and removed from the source."""

    key: str
    rows: int
    size: int
    copied: int
    copied_bytes: int
    removed: int
    gone: tuple[KeptRow, ...]


class TransferOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`parallel` blobs are copied at a time, at most `max_bytes_per_s` in all if that is not 0.

    `verify` reads also what is at the target already. `remove_source` does so too, and removes what is whole at the target.
    """

    parallel: int = 4
    max_bytes_per_s: float = 0
    verify: bool = False
    remove_source: bool = False


class _Outcome(NamedTuple):
    row: KeptRow
    place: Place
    condition: Condition
    copied: bool = False


class Transfer:
    """One run from one place to another. `known` is asked whether a row is still there when its bytes are not."""

    def __init__(self, read_rows: ReadRows, known: Known, source: Blobs, target: Blobs, options: TransferOptions) -> None:
        self._read_rows = read_rows
        self._known = known
        self._source = source
        self._target = target
        self._options = options
        self._pace = Pacer(options.max_bytes_per_s) if options.max_bytes_per_s else no_pace

    async def run(self) -> AsyncIterator[Problem | Step]:
        """What is wrong, in the order of keys, and how far it got.

        Raises SERVICE_UNAVAILABLE when a place or the table fails.
        """
        async for pairs in merge(self._read_rows, self._target.scan()):
            rows = await self._looked_at_again([pair for pair in pairs if pair.row is not None])
            outcomes = await each(self._settle, rows, self._options.parallel)
            gone = await self._gone([outcome.row for outcome in outcomes if outcome.condition.state == "missing"])
            for outcome in outcomes:
                if outcome.condition != WHOLE and outcome.row not in gone:
                    yield _problem(outcome)
            whole = [outcome.row.key for outcome in outcomes if outcome.condition == WHOLE]
            if self._options.remove_source and whole:
                whole = sorted(set(whole) - await self._source.missing(whole))
                await self._source.delete(whole)
            copied = [outcome.row.size for outcome in outcomes if outcome.copied]
            size = sum(outcome.row.size for outcome in outcomes)
            removed = len(whole) if self._options.remove_source else 0
            yield Step(pairs[-1].key, len(rows), size, len(copied), sum(copied), removed, tuple(gone))

    async def _looked_at_again(self, pairs: list[Pair]) -> list[Pair]:
        """Those pairs, with the blobs that came to the target after it was read: servers write there meanwhile."""
        lacking = [pair.key for pair in pairs if pair.blob is None]
        there = set(lacking) - await self._target.missing(lacking) if lacking else set()
        sizes = {key: await self._target.size_of(key) for key in there}
        return [
            pair if pair.key not in there else pair._replace(blob=BlobInfo(pair.key, sizes[pair.key] or 0, 0.0, False))
            for pair in pairs
        ]

    async def _gone(self, rows: list[KeptRow]) -> list[KeptRow]:
        """Which of the rows are no longer there: removed by a sweep meanwhile, before their bytes."""
        known = await self._known([row.key for row in rows]) if rows else set()
        return [row for row in rows if row.key not in known]

    async def _settle(self, pair: Pair) -> _Outcome:
        row, blob = pair.row, pair.blob
        if row is None:
            raise ValueError(pair.key)
        if blob is None:
            found = await copy(row, self._source, self._target, self._pace)
            return _Outcome(row, "source", found, copied=found == WHOLE)
        if blob.size != row.size:
            return _Outcome(row, "target", Condition("size", str(blob.size)))
        if self._options.verify or self._options.remove_source:
            return _Outcome(row, "target", await condition(row, self._target, self._pace))
        return _Outcome(row, "target", WHOLE)


def _problem(outcome: _Outcome) -> Problem:
    row, (state, found) = outcome.row, outcome.condition
    expected = {"size": str(row.size), "checksum": row.sha256.hex()}.get(state, "")
    return Problem(problem=state, place=outcome.place, key=row.key, attachment=row.id, expected=expected, found=found)
