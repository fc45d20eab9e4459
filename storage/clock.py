"""Times as text: ISO 8601 UTC with exactly three decimals and `Z`, which sorts as it reads and needs no rendering."""

import functools
import time
from datetime import datetime


def timestamp(seconds: float | None = None) -> str:
    """`seconds` since 1970 (default: now) as `2024-01-15T10:30:00.000Z`; parts of a millisecond are cut off."""
    milliseconds = (time.time_ns() // 1_000_000) if seconds is None else int(seconds * 1000)
    whole, fraction = divmod(milliseconds, 1000)
    return f"{_second(whole)}.{fraction:03d}Z"


@functools.lru_cache(maxsize=4)
def _second(whole: int) -> str:
    """That second without its parts; most times that are asked for are of the present one."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))


def seconds_of(text: str) -> float:
    """The seconds since 1970 of what `timestamp` gave."""
    return datetime.fromisoformat(text).timestamp()
