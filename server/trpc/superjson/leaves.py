"""Values without parts, as superjson writes them: JSON and an annotation, None where the JSON says it all."""

import datetime as dt
import decimal
import enum
import math
import re
import uuid
from collections.abc import Callable
from types import NoneType
from typing import Any, Final

import msgspec

from server.trpc.superjson.values import InvalidDate, Url

# Beyond these JavaScript's numbers are not exact (Number.MAX_SAFE_INTEGER).
_MAX_SAFE_INTEGER: Final = 2**53 - 1
_PATTERN_FLAGS: Final = ((re.IGNORECASE, "i"), (re.MULTILINE, "m"), (re.DOTALL, "s"))

Leaf = tuple[object, object]


def write_leaf(value: object) -> Leaf:
    """The JSON and the annotation of `value`. Raises TypeError or ValueError for what no client could read."""
    if type(value) in LEAF_TYPES:
        return _WRITERS[type(value)](value)
    if isinstance(value, enum.Enum):
        return write_leaf(value.value)
    for cls in type(value).__mro__:
        if cls in _WRITERS:
            return _WRITERS[cls](value)
    raise TypeError(f"a {type(value).__name__} is no data that superjson can say")


def _write_plain(value: object) -> Leaf:
    return value, None


def _write_string(value: str) -> Leaf:
    return str(value), None


def _write_integer(value: int) -> Leaf:
    return (value, None) if -_MAX_SAFE_INTEGER <= value <= _MAX_SAFE_INTEGER else (str(value), "bigint")


def _write_float(value: float) -> Leaf:
    if math.isnan(value):
        return "NaN", "number"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity", "number"
    return ("-0", "number") if value == 0 and math.copysign(1, value) < 0 else (value, None)


def _write_datetime(value: dt.datetime) -> Leaf:
    if value.tzinfo is None:
        raise ValueError(f"{value.isoformat()} has no time zone: clients cannot tell which moment it is")
    return value.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"), "Date"


def _write_url(value: Url) -> Leaf:
    return str(value), "URL"


def _write_pattern(value: re.Pattern[Any]) -> Leaf:
    if not isinstance(value.pattern, str) or value.flags & re.VERBOSE:
        raise TypeError("JavaScript has no bytes patterns and no verbose ones")
    flags = "".join(letter for flag, letter in _PATTERN_FLAGS if value.flags & flag)
    return f"/{value.pattern or '(?:)'}/{flags}", "regexp"


def _write_bytes(value: bytes | bytearray | memoryview) -> Leaf:
    return list(bytes(value)), ["typed-array", "Uint8Array"]


def _write_unset(_: object) -> Leaf:
    return None, "undefined"


def _write_invalid_date(_: object) -> Leaf:
    return None, None


_WRITERS: Final[dict[type, Callable[[Any], Leaf]]] = {
    str: _write_string,
    int: _write_integer,
    float: _write_float,
    bool: _write_plain,
    NoneType: _write_plain,
    Url: _write_url,
    dt.datetime: _write_datetime,
    re.Pattern: _write_pattern,
    bytes: _write_bytes,
    bytearray: _write_bytes,
    memoryview: _write_bytes,
    msgspec.UnsetType: _write_unset,
    # Left to msgspec's encoder, so that they look the same in answers that need no annotations.
    dt.date: _write_plain,
    dt.time: _write_plain,
    dt.timedelta: _write_plain,
    decimal.Decimal: _write_plain,
    uuid.UUID: _write_plain,
    msgspec.Raw: _write_plain,
    InvalidDate: _write_invalid_date,
}
LEAF_TYPES: Final = frozenset(_WRITERS)
