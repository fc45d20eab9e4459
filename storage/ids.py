"""Fresh ids: UUIDv7 (RFC 9562, 5.7), so that ids sort by the time they were made and index pages stay warm."""

import os
import time
from collections.abc import Iterator

_RANDOM_BYTES = 10  # for the 74 random bits of an id
_IDS_A_READ = 256  # the kernel's generator is asked once for so many: each time, the event loop gives way to other threads
_VARIANT = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))  # two bits of a hexadecimal digit are the variant's, `10`


def _random_ends() -> Iterator[str]:
    """Ends of ids, from the digit of the version on: random numbers from the kernel."""
    while True:
        digits = os.urandom(_RANDOM_BYTES * _IDS_A_READ).hex()
        randoms = [digits[start : start + 2 * _RANDOM_BYTES] for start in range(0, len(digits), 2 * _RANDOM_BYTES)]
        yield from [f"7{some[:3]}-{_VARIANT[some[3]]}{some[4:7]}-{some[7:19]}" for some in randoms]


_next_end = _random_ends().__next__


def fresh_id() -> str:
    """A new UUIDv7 in lower case, 8-4-4-4-12. Call it on one thread only."""
    milliseconds = f"{time.time_ns() // 1_000_000:012x}"
    return f"{milliseconds[:8]}-{milliseconds[8:]}-{_next_end()}"
