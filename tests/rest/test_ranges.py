"""The one range of a request; every malformed kind is ignored or 416 as RFC 9110 (14) has it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rest.ranges import Range, RangeNotSatisfiable, parse_range

SATISFIABLE = [
    pytest.param(b"bytes=0-1", Range(0, 2), id="Safari's probe"),
    pytest.param(b"bytes=0-0", Range(0, 1), id="first byte"),
    pytest.param(b"bytes=9-9", Range(9, 10), id="last byte"),
    pytest.param(b"bytes=0-9", Range(0, 10), id="all"),
    pytest.param(b"bytes=0-10", Range(0, 10), id="end past the file"),
    pytest.param(b"bytes=0-", Range(0, 10), id="open from the start"),
    pytest.param(b"bytes=9-", Range(9, 10), id="open from the last"),
    pytest.param(b"bytes=-1", Range(9, 10), id="last one"),
    pytest.param(b"bytes=-10", Range(0, 10), id="suffix of all"),
    pytest.param(b"bytes=-11", Range(0, 10), id="suffix of more"),
    pytest.param(b"BYTES=2-3", Range(2, 4), id="unit in capitals"),
    pytest.param(b"bytes= 2-3 ,", Range(2, 4), id="blanks and an empty item"),
    pytest.param(b"bytes=0-" + b"9" * 5000, Range(0, 10), id="5,000 digits as end"),
    pytest.param(b"bytes=-" + b"9" * 5000, Range(0, 10), id="5,000 digits as suffix"),
    pytest.param(b"bytes=" + b"0" * 5000 + b"2-3", Range(2, 4), id="5,000 leading zeros"),
]
UNSATISFIABLE = [b"bytes=10-", b"bytes=10-11", b"bytes=-0", b"bytes=" + b"9" * 5000 + b"-", b"bytes=%d-" % (1 << 64)]
IGNORED = [
    b"",
    b"bytes",
    b"bytes=",
    b"bytes=-",
    b"bytes=,",
    b"bytes=a-b",
    b"bytes=1",
    b"bytes=1-2-3",
    b"bytes=--1",
    b"bytes=1 -2",
    b"bytes=1-+2",
    b"bytes=0x1-2",
    b"bytes=1.0-2",
    b"bytes=5-2",
    b"bytes=" + b"9" * 5000 + b"-2",
    b"bytes =0-1",
    b" bytes=0-1",
    b"bytes:0-1",
    b"bytes 0-1",
    b"bytes 0-1/10",
    b"items=0-1",
    b"bytes=0-1,3-4",
    b"bytes=0-1, bytes=3-4",
    b"bytes=0-,-1",
    b"bytes=0-1;3-4",
    b"bytes=\xd9\xa1-\xd9\xa2",
    b"bytes=0-1\0",
]


@pytest.mark.parametrize(("header", "expected"), SATISFIABLE)
def test_reads_ranges(header: bytes, expected: Range) -> None:
    assert parse_range(header, 10) == expected


@pytest.mark.parametrize("header", UNSATISFIABLE, ids=lambda header: header[:20].decode())
def test_refuses_what_lies_outside(header: bytes) -> None:
    with pytest.raises(RangeNotSatisfiable):
        parse_range(header, 10)


@pytest.mark.parametrize("header", IGNORED, ids=lambda header: repr(header[:20]))
def test_ignores_the_malformed_and_the_many(header: bytes) -> None:
    assert parse_range(header, 10) is None


@pytest.mark.parametrize("header", [b"bytes=0-", b"bytes=0-0", b"bytes=-1", b"bytes=-0"])
def test_an_empty_file_has_no_range(header: bytes) -> None:
    with pytest.raises(RangeNotSatisfiable):
        parse_range(header, 0)


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 25))
def test_gives_exactly_the_bytes_between(first: int, last: int, size: int) -> None:
    content = bytes(range(size))
    try:
        found = parse_range(b"bytes=%d-%d" % (first, last), size)
    except RangeNotSatisfiable:
        assert first >= size
        return
    assert (found is None) == (last < first)
    if found is not None:
        assert content[found.start : found.stop] == bytes(byte for byte in content if first <= byte <= last)


@given(st.binary(max_size=30) | st.text("bytes=-,0123456789 ", max_size=20).map(str.encode), st.integers(0, 1000))
def test_any_bytes_give_a_range_none_or_416(header: bytes, size: int) -> None:
    try:
        found = parse_range(header, size)
    except RangeNotSatisfiable:
        return
    assert found is None or 0 <= found.start < found.stop <= size
