"""Fresh ids: UUIDv7 (RFC 9562, 5.7), so that ids sort by the time they were made and index pages stay warm."""

import os
import time

_VERSION = 0x7 << 76
_VARIANT = 0b10 << 62
_RANDOM_BITS = (1 << 76) - 1 ^ (0b11 << 62)  # rand_a and rand_b, without the two bits of the variant


def fresh_id() -> str:
    """A new UUIDv7 in lower case, 8-4-4-4-12."""
    random = int.from_bytes(os.urandom(10)) & _RANDOM_BITS & ~(0xF << 76)
    digits = f"{(time.time_ns() // 1_000_000) << 80 | _VERSION | _VARIANT | random:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
