"""Fresh ids: UUIDv7 (RFC 9562, 5.7), so that ids sort by the time they were made and index pages stay warm."""

import os
import time
from collections.abc import Iterator

_VERSION = 0x7 << 76
_VARIANT = 0b10 << 62
_RANDOM_BITS = ((1 << 76) - 1) ^ (0b11 << 62)  # rand_a and rand_b, without the two bits of the variant
_RANDOM_BYTES = 10
_IDS_A_READ = 256  # the kernel's generator is asked once for so many: each time, the event loop gives way to other threads


def _random_numbers() -> Iterator[int]:
    """Random numbers of 80 bits from the kernel."""
    while True:
        pool = os.urandom(_RANDOM_BYTES * _IDS_A_READ)
        for start in range(0, len(pool), _RANDOM_BYTES):
            yield int.from_bytes(pool[start : start + _RANDOM_BYTES])


_next_random = _random_numbers().__next__


def fresh_id() -> str:
    """A new UUIDv7 in lower case, 8-4-4-4-12. Call it on one thread only."""
    random = _next_random() & _RANDOM_BITS
    digits = f"{(time.time_ns() // 1_000_000) << 80 | _VERSION | _VARIANT | random:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
