"""Conditional requests, and the dates in them (RFC 9110, 5.6.7, 13)."""

import calendar
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rest.conditions import Outcome, evaluate, range_applies
from rest.dates import http_date, parse_http_date

ETAG = b'"abc"'
MODIFIED = b"Mon, 15 Jan 2024 10:30:00 GMT"
BEFORE = b"Mon, 15 Jan 2024 10:29:59 GMT"
AFTER = b"Mon, 15 Jan 2024 10:30:01 GMT"
PROCEED, NOT_MODIFIED, FAILED = Outcome.PROCEED, Outcome.NOT_MODIFIED, Outcome.FAILED


@pytest.mark.parametrize(
    ("request_headers", "outcome"),
    [
        pytest.param({}, PROCEED, id="none"),
        pytest.param({b"if-match": b'"abc"'}, PROCEED, id="match"),
        pytest.param({b"if-match": b"*"}, PROCEED, id="match any"),
        pytest.param({b"if-match": b'"x", "abc"'}, PROCEED, id="match in a list"),
        pytest.param({b"if-match": b'"x"'}, FAILED, id="no match"),
        pytest.param({b"if-match": b'W/"abc"'}, FAILED, id="match is strong"),
        pytest.param({b"if-match": b"abc"}, FAILED, id="match malformed"),
        pytest.param({b"if-match": b""}, FAILED, id="match empty"),
        pytest.param({b"if-match": b'"abc'}, FAILED, id="match open quote"),
        pytest.param({b"if-match": b'"abc" "x"'}, FAILED, id="match without comma"),
        pytest.param({b"if-match": b'"x", "*"'}, FAILED, id="a quoted star is a tag"),
        pytest.param({b"if-match": b'"abc"', b"if-unmodified-since": BEFORE}, PROCEED, id="match beats unmodified"),
        pytest.param({b"if-unmodified-since": MODIFIED}, PROCEED, id="unmodified"),
        pytest.param({b"if-unmodified-since": AFTER}, PROCEED, id="unmodified since later"),
        pytest.param({b"if-unmodified-since": BEFORE}, FAILED, id="modified since"),
        pytest.param({b"if-unmodified-since": b"yesterday"}, PROCEED, id="no date"),
        pytest.param({b"if-none-match": b'"abc"'}, NOT_MODIFIED, id="none-match"),
        pytest.param({b"if-none-match": b'W/"abc"'}, NOT_MODIFIED, id="none-match is weak"),
        pytest.param({b"if-none-match": b" * "}, NOT_MODIFIED, id="none-match any"),
        pytest.param({b"if-none-match": b'"x",,W/"y" , "abc"'}, NOT_MODIFIED, id="none-match in a list"),
        pytest.param({b"if-none-match": b'"x"'}, PROCEED, id="another"),
        pytest.param({b"if-none-match": b'w/"abc"'}, PROCEED, id="lower-case weak is malformed"),
        pytest.param({b"if-none-match": b'"ab,c"'}, PROCEED, id="comma within a tag"),
        pytest.param({b"if-none-match": b'abc, "abc"'}, PROCEED, id="read up to the malformed"),
        pytest.param({b"if-none-match": b'"x"', b"if-modified-since": AFTER}, PROCEED, id="none-match beats modified"),
        pytest.param({b"if-modified-since": MODIFIED}, NOT_MODIFIED, id="not modified"),
        pytest.param({b"if-modified-since": AFTER}, NOT_MODIFIED, id="not modified since later"),
        pytest.param({b"if-modified-since": BEFORE}, PROCEED, id="modified"),
        pytest.param({b"if-modified-since": b"0"}, PROCEED, id="modified since no date"),
        pytest.param({b"if-match": b'"abc"', b"if-none-match": b'"abc"'}, NOT_MODIFIED, id="both tags"),
        pytest.param({b"if-unmodified-since": BEFORE, b"if-none-match": b'"abc"'}, FAILED, id="412 before 304"),
    ],
)
def test_evaluates_in_the_order_of_the_rfc(request_headers: dict[bytes, bytes], outcome: Outcome) -> None:
    assert evaluate(request_headers, ETAG, MODIFIED) is outcome


@pytest.mark.parametrize(
    ("condition", "applies"),
    [
        pytest.param(None, True, id="none"),
        pytest.param(b'"abc"', True, id="tag"),
        pytest.param(b'W/"abc"', False, id="weak"),
        pytest.param(b'"x"', False, id="another tag"),
        pytest.param(b'"x", "abc"', False, id="a list is none"),
        pytest.param(b"*", False, id="star"),
        pytest.param(MODIFIED, True, id="date"),
        pytest.param(b"Monday, 15-Jan-24 10:30:00 GMT", True, id="date in another form"),
        pytest.param(AFTER, False, id="later date"),
        pytest.param(b"nonsense", False, id="malformed"),
    ],
)
def test_if_range_wants_the_very_file(condition: bytes | None, applies: bool) -> None:
    request = {} if condition is None else {b"if-range": condition}
    assert range_applies(request, ETAG, MODIFIED) is applies


@pytest.mark.parametrize(
    "value", [b"Sun, 06 Nov 1994 08:49:37 GMT", b"Sunday, 06-Nov-94 08:49:37 GMT", b"Sun Nov  6 08:49:37 1994"]
)
def test_reads_the_three_forms_of_a_date(value: bytes) -> None:
    assert parse_http_date(value) == 784111777


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"0",
        b"1994-11-06T08:49:37Z",
        b"Sun, 06 Nov 1994 08:49:37",
        b"Sun, 06 Nov 1994 08:49:37 +0000",
        b"Sun, 31 Feb 1994 08:49:37 GMT",
        b"Sun, 06 Nov 1994 25:49:37 GMT",
        b"Sun, 06 Nov 1994 08:49:61 GMT",
        b"Sun, 06 Nov 0000 08:49:37 GMT",
        "Sun, 0\u0666 Nov 1994 08:49:37 GMT".encode(),
        b"Sun, 06 Nov 1994 08:49:37 GMT" + b" " * 99,
    ],
)
def test_ignores_what_is_no_date(value: bytes) -> None:
    assert parse_http_date(value) is None


def test_writes_dates() -> None:
    assert http_date("2024-01-15T10:30:00.999Z") == MODIFIED
    assert http_date("2024-02-29T00:00:00.000Z") == b"Thu, 29 Feb 2024 00:00:00 GMT"


@given(st.datetimes())
def test_dates_survive_the_round_trip(when: datetime) -> None:
    timestamp = when.isoformat(timespec="milliseconds") + "Z"
    assert parse_http_date(http_date(timestamp)) == calendar.timegm(when.timetuple())


@given(st.binary(max_size=50))
def test_any_bytes_are_a_date_or_none(value: bytes) -> None:
    parse_http_date(value)


NAMES = st.sampled_from([b"if-match", b"if-none-match", b"if-unmodified-since", b"if-modified-since"])


@given(st.dictionaries(NAMES, st.binary(max_size=20) | st.text('W/"abc*, ', max_size=12).map(str.encode)))
def test_any_bytes_are_an_outcome(request_headers: dict[bytes, bytes]) -> None:
    assert evaluate(request_headers, ETAG, MODIFIED) in Outcome
