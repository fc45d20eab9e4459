"""The one byte range of a request (RFC 9110, 14). Pure.

Rules:
1. A Range field that is malformed, of another unit, or of several ranges is ignored: the answer is the whole file with 200.
   Several ranges may be answered so (14.2), and joining them has been a way to make servers work (CVE-2025-62727).
2. A well-formed range with nothing in the file is `RangeNotSatisfiable`: 416 with the size.
3. Ends are inclusive on the wire and exclusive here. Safari asks for `bytes=0-1` first and wants exactly two bytes.
"""

import re

import msgspec

_RANGE = re.compile(rb"(\d*)-(\d*)")
_BEYOND = 1 << 63  # more than any file holds; longer digits are not converted: int() refuses 4,300 of them
_MAX_DIGITS = 18


class Range(msgspec.Struct, frozen=True):
    """Bytes [start, stop) of a file."""

    start: int
    stop: int


class RangeNotSatisfiable(Exception):  # noqa: N818 - the name of the status
    """The range that was asked for holds nothing of the file."""


def parse_range(header: bytes, size_bytes: int) -> Range | None:
    """The range that `header` asks of a file of that size; None when the header must be ignored.

    Raises RangeNotSatisfiable. Source: RFC 9110, 14.1.2, 14.2.
    """
    unit, _, ranges = header.partition(b"=")
    specs = [spec for item in ranges.split(b",") if (spec := item.strip(b" \t"))]  # empty list items do not count (5.6.1)
    match = _RANGE.fullmatch(specs[0]) if unit.lower() == b"bytes" and len(specs) == 1 else None
    if match is None or specs[0] == b"-":
        return None
    first, last = match[1], match[2]
    if not first:
        return _suffix(_number(last), size_bytes)
    return _between(_number(first), _number(last) if last else None, size_bytes)


def _suffix(length: int, size_bytes: int) -> Range:
    if length == 0 or size_bytes == 0:
        raise RangeNotSatisfiable
    return Range(max(size_bytes - length, 0), size_bytes)


def _between(first: int, last: int | None, size_bytes: int) -> Range | None:
    if last is not None and last < first:
        return None  # invalid, not unsatisfiable (14.1.1)
    if first >= size_bytes:
        raise RangeNotSatisfiable
    return Range(first, size_bytes if last is None else min(last + 1, size_bytes))


def _number(digits: bytes) -> int:
    significant = digits.lstrip(b"0")
    return int(significant or b"0") if len(significant) <= _MAX_DIGITS else _BEYOND
