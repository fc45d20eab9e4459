"""Where the numbers are: a row of doubles, in which every series has its place, the same in all workers of a server.

A place is found once, at start; counting is adding to a double in memory (docs/decisions/0031-metrics.md).
"""

import hashlib
import time
from bisect import bisect_left
from collections.abc import Iterable
from typing import Final, Protocol, cast

from server.metrics.families import BOUNDS, Family

BUCKETS: Final = len(BOUNDS) + 1  # the last is for what is longer than every bound
_HISTOGRAM_CELLS: Final = BUCKETS + 1  # and the sum
DOUBLE_BYTES: Final = 8

Labels = tuple[str, ...]


class Layout:
    """Which cells belong to which series of the families."""

    def __init__(self, families: Iterable[Family]) -> None:
        self.families = tuple(families)
        self._starts: dict[tuple[str, Labels], int] = {}
        size = 0
        for family in self.families:
            width = _HISTOGRAM_CELLS if family.kind == "histogram" else 1
            for labels in family.series:
                self._starts[family.name, labels] = size
                size += width
        self.size = size
        # Two processes may add up their cells only if this is the same in both.
        self.fingerprint = hashlib.sha256(repr(list(self._starts)).encode()).digest()

    def start(self, name: str, labels: Labels = ()) -> int:
        """The first cell of a series. Raises KeyError."""
        return self._starts[name, labels]

    def gauges(self) -> list[int]:
        """The cells that tell of the present."""
        return [self.start(each.name, labels) for each in self.families if each.kind == "gauge" for labels in each.series]


class Numbers(Protocol):
    """Cells: doubles in a row. A `memoryview` of them, whose stubs know of bytes only."""

    def __getitem__(self, index: int, /) -> float:
        """One of them."""
        ...

    def __setitem__(self, index: int, value: float, /) -> None:
        """Change one."""

    def tolist(self) -> list[float]:
        """All of them, as they are now."""
        ...


def numbers_in(memory: memoryview) -> Numbers:
    """The cells that the memory is made of."""
    return cast(Numbers, memory.cast("d"))


def private_cells(size: int) -> Numbers:
    """Cells for a process that shares them with no other, all zero."""
    return numbers_in(memoryview(bytearray(size * DOUBLE_BYTES)))


class Histogram:
    """The cells of one series of a histogram."""

    __slots__ = ("_cells", "_start")

    def __init__(self, cells: Numbers, start: int) -> None:
        self._cells = cells
        self._start = start

    def since(self, started: float) -> None:
        """Note what took from `started`, by `time.perf_counter()`, until now."""
        seconds = time.perf_counter() - started
        cells, start = self._cells, self._start
        cells[start + bisect_left(BOUNDS, seconds)] += 1.0
        cells[start + BUCKETS] += seconds


class Counter:
    """The cell of one series of a counter or a gauge."""

    __slots__ = ("_cells", "_start")

    def __init__(self, cells: Numbers, start: int) -> None:
        self._cells = cells
        self._start = start

    def add(self, amount: float = 1.0) -> None:
        """Count so much more, or of a gauge less. Call it on the event loop: two threads at once would lose one."""
        self._cells[self._start] += amount
