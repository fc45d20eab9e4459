"""The load for what takes long: threads that do one thing after the other, and whose last ones are waited for and counted.

wrk counts what ends within its seconds. Of uploads that take one of them each, that leaves out what the seconds end in.
"""

import statistics
import threading
import time
from collections.abc import Callable, Sequence

import msgspec


class Repeated(msgspec.Struct, frozen=True, kw_only=True):
    """How often something was done, and how long the slowest hundredth took."""

    requests_per_s: float
    p99_ms: float
    elapsed_s: float


def repeat(acts: Sequence[Callable[[int], object]], seconds: float) -> Repeated:
    """Each act in a thread of its own, called with 0, 1, 2 … for so long. Raises what an act did, after all have ended."""
    taken: list[float] = []
    failures: list[Exception] = []
    begun = time.perf_counter()

    def work(act: Callable[[int], object]) -> None:
        number = 0
        try:
            while time.perf_counter() - begun < seconds:
                started = time.perf_counter()
                act(number)
                taken.append(time.perf_counter() - started)
                number += 1
        except Exception as error:  # noqa: BLE001 (not swallowed: it is raised below)
            failures.append(error)

    workers = [threading.Thread(target=work, args=(act,)) for act in acts]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if failures:
        raise failures[0]
    elapsed = time.perf_counter() - begun
    p99_s = statistics.quantiles(taken, n=100)[98] if len(taken) > 1 else taken[0]
    return Repeated(requests_per_s=len(taken) / elapsed, p99_ms=p99_s * 1000, elapsed_s=elapsed)
