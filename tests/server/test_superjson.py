"""What superjson's reader makes of good payloads."""

import datetime as dt
import math
import re
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from server.trpc.superjson import INVALID_DATE, ErrorValue, Url, deserialize
from tests.server.payloads import wrapped

NEW_YEAR = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)


def leaf(json: object, annotation: object) -> object:
    return deserialize(wrapped(json, [annotation]))


READ: dict[str, tuple[object, object, object]] = {
    "undefined": (None, "undefined", UNSET),
    "bigint": ("123456789012345678901234567890", "bigint", 123456789012345678901234567890),
    "bigint-negative": ("-5", "bigint", -5),
    "bigint-hexadecimal": ("0xff", "bigint", 255),
    "bigint-leading-zeros": ("007", "bigint", 7),
    "bigint-from-number": (5, "bigint", 5),
    "date": ("2024-01-01T00:00:00.000Z", "Date", NEW_YEAR),
    "date-milliseconds": ("2024-01-01T00:00:00.129999Z", "Date", NEW_YEAR.replace(microsecond=129000)),
    "date-only": ("2024-01-01", "Date", NEW_YEAR),
    "date-year": ("2024", "Date", NEW_YEAR),
    "date-month-and-time": ("2024-01T00:00Z", "Date", NEW_YEAR),
    "date-six-digit-year": ("+002024-01-01T00:00:00Z", "Date", NEW_YEAR),
    "date-offset": ("2024-01-01T02:30:00+02:30", "Date", NEW_YEAR),
    "date-negative-offset": ("2023-12-31T22:00:00-02:00", "Date", NEW_YEAR),
    "date-without-offset": ("2024-01-01T00:00:00", "Date", NEW_YEAR),
    "date-midnight-24": ("2023-12-31T24:00:00Z", "Date", NEW_YEAR),
    "date-30-february": ("2023-02-30", "Date", dt.datetime(2023, 3, 2, tzinfo=dt.UTC)),
    "date-from-milliseconds": (1704067200000, "Date", NEW_YEAR),
    "date-before-1970": ("0001-01-01T00:00:00.000Z", "Date", dt.datetime(1, 1, 1, tzinfo=dt.UTC)),
    "set": ([1, "a", None], "set", {1, "a", None}),
    "map": ([["a", 1], [2, "b"]], "map", {"a": 1, 2: "b"}),
    "infinity": ("Infinity", "number", math.inf),
    "minus-infinity": ("-Infinity", "number", -math.inf),
    "number": (1.5, "number", 1.5),
    "error": ({"name": "TypeError", "message": "no"}, "Error", ErrorValue("TypeError", "no")),
    "error-with-cause": ({"name": "E", "message": "", "cause": 1}, "Error", ErrorValue("E", "", 1)),
    "error-bare": ({}, "Error", ErrorValue("Error", "")),
    "regexp": ("/a+\\/b/ims", "regexp", re.compile("a+\\/b", re.IGNORECASE | re.MULTILINE | re.DOTALL)),
    "regexp-global": ("/a/gu", "regexp", re.compile("a")),
    "uint8array": ([0, 255], ["typed-array", "Uint8Array"], b"\0\xff"),
    "uint8clampedarray": ([7], ["typed-array", "Uint8ClampedArray"], b"\7"),
    "int16array": ([-32768, 32767], ["typed-array", "Int16Array"], [-32768, 32767]),
    "uint32array": ([2**32 - 1], ["typed-array", "Uint32Array"], [2**32 - 1]),
    "float64array": ([1, 2.5, None], ["typed-array", "Float64Array"], [1.0, 2.5, 0.0]),
}


@pytest.mark.parametrize(("json", "annotation", "value"), READ.values(), ids=READ)
def test_reads_an_annotated_value(json: object, annotation: object, value: object) -> None:
    read = leaf(json, annotation)
    assert read == value
    assert type(read) is type(value)


def test_reads_nan_and_minus_zero() -> None:
    nan, zero = leaf("NaN", "number"), leaf("-0", "number")
    assert isinstance(nan, float)
    assert math.isnan(nan)
    assert isinstance(zero, float)
    assert math.copysign(1, zero) == -1


def test_reads_a_url_as_sent() -> None:
    url = leaf("HTTPS://Example.org/a?b#c", "URL")
    assert (url, type(url)) == ("HTTPS://Example.org/a?b#c", Url)


NO_DATES: list[object] = ["", "x", "Jan 1 2024", "٢٠٢٤-01-01", "-000001-01-01", "+010000-01-01", None, True, [], 1e300]
NO_DATES += ["2024-13-01", "2024-01-32", "2024-01-00", "2024-01-01T25:00Z", "2024-01-01T24:00:01Z", "2024-01-01T10:60Z"]
NO_DATES += ["2024-01-01T10:00+24:00", "2024-01-01T10:00+00:60", "0001-01-01T00:00+01:00", "9999-12-31T23:59-01:00"]


@pytest.mark.parametrize("text", NO_DATES)
def test_a_date_that_python_cannot_say_is_invalid(text: object) -> None:
    assert leaf(text, "Date") is INVALID_DATE


@pytest.mark.parametrize("annotation", [str, int, dt.datetime, list[Any], dict[str, Any], None], ids=str)
def test_no_type_accepts_an_invalid_date(annotation: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(INVALID_DATE, annotation)


STRUCTURES = {
    "bare": ({"a": 1}, {"a": 1}),
    "bare-list": ([1], [1]),
    "bare-scalar": (5, 5),
    "bare-null": (None, None),
    "bare-meta-only": ({"meta": {}}, {"meta": {}}),
    "wrapped": ({"json": {"a": 1}}, {"a": 1}),
    "extra-members-ignored": ({"json": 1, "more": 2, "__proto__": 3}, 1),
    "meta-null": ({"json": 1, "meta": None}, 1),
    "meta-scalar": ({"json": 1, "meta": 5}, 1),
    "meta-list": ({"json": 1, "meta": [1]}, 1),
    "meta-empty": ({"json": 1, "meta": {}}, 1),
    "values-falsy": ({"json": 1, "meta": {"values": 0, "referentialEqualities": False}}, 1),
    "member": (wrapped({"a": "1"}, {"a": ["bigint"]}), {"a": 1}),
    "nested": (wrapped({"a": [{"b": "1"}]}, {"a.0.b": ["bigint"]}), {"a": [{"b": 1}]}),
    "tree": (wrapped({"a": {"b": "1", "c": "2"}}, {"a": {"b": ["bigint"], "c": ["bigint"]}}), {"a": {"b": 1, "c": 2}}),
    "undefined-member-dropped": (wrapped({"a": None, "b": 1}, {"a": ["undefined"]}), {"b": 1}),
    "undefined-in-array": (wrapped([None, 1], {"0": ["undefined"]}), [UNSET, 1]),
    "undefined-in-map": (wrapped([["a", None]], ["map", {"0.1": ["undefined"]}]), {"a": UNSET}),
    "escaped-dot": (wrapped({"a.b": "1"}, {"a\\.b": ["bigint"]}), {"a.b": 1}),
    "escaped-backslash": (wrapped({"a\\": {"b": "1"}}, {"a\\\\.b": ["bigint"]}), {"a\\": {"b": 1}}),
    "legacy-backslash": (wrapped({"a\\b": "1"}, {"a\\b": ["bigint"]}, v=None), {"a\\b": 1}),
    "legacy-escaped-dot": (wrapped({"a.b": "1"}, {"a\\.b": ["bigint"]}, v=0), {"a.b": 1}),
    "empty-key": (wrapped({"": "1"}, {"": ["bigint"]}), {"": 1}),
    "set-of-dates": (wrapped(["2024-01-01"], ["set", {"0": ["Date"]}]), {NEW_YEAR}),
    "map-with-bigint-key": (wrapped([["1", "2"]], ["map", {"0.0": ["bigint"], "0.1": ["bigint"]}]), {1: 2}),
    "map-of-sets": (wrapped({"m": [["a", [1]]]}, {"m": ["map", {"0.1": ["set"]}]}), {"m": {"a": {1}}}),
    "map-last-row-wins": (wrapped([["a", 1], ["a", 2]], ["map"]), {"a": 2}),
    "set-members-equal-in-python": (wrapped([1, True, 1.0], ["set"]), {1}),
    "error-in-error": (
        wrapped({"message": "a", "cause": {"message": "b"}}, ["Error", {"cause": ["Error"]}]),
        ErrorValue("Error", "a", ErrorValue("Error", "b")),
    ),
}


@pytest.mark.parametrize(("payload", "value"), STRUCTURES.values(), ids=STRUCTURES)
def test_reads_a_structure(payload: object, value: object) -> None:
    assert deserialize(payload) == value


def test_equal_paths_become_one_container() -> None:
    read: Any = deserialize(wrapped({"a": {"x": 1}, "b": [{"x": 1}, None]}, None, {"a": ["b.0", "b.1"]}))
    assert read["a"] is read["b"][0] is read["b"][1]


def test_equalities_lead_into_sets_maps_and_errors() -> None:
    json = {"m": [["k", {"x": 1}]], "e": {"message": "", "cause": {"x": 1}}, "a": {"x": 1}}
    read: Any = deserialize(wrapped(json, {"m": ["map"], "e": ["Error"]}, {"a": ["m.0.1", "e.cause"]}))
    assert read["a"] is read["m"]["k"] is read["e"].cause


def test_equalities_do_not_lose_members_of_a_set() -> None:
    """The original, 2.2.6, moves the replaced member to the end, and then replaces the wrong one."""
    days = ["2024-01-01", "2024-01-02"]
    values = {"a": ["Date"], "b": ["Date"], "s": ["set", {"0": ["Date"], "1": ["Date"]}]}
    read: Any = deserialize(wrapped({"a": days[0], "b": days[1], "s": days}, values, {"a": ["s.0"], "b": ["s.1"]}))
    assert read["s"] == {read["a"], read["b"]}


def test_equalities_with_the_root_make_a_cycle() -> None:
    read: Any = deserialize(wrapped({"a": None, "b": {"c": 1}, "d": None}, None, [["a"], {"b": ["d"]}]))
    assert read["a"] is read
    assert read["b"] is read["d"]


def test_a_cycle_through_a_map_is_finished() -> None:
    read: Any = deserialize(wrapped([["self", None]], ["map"], [["0.1"]]))
    assert isinstance(read, dict)
    assert read["self"] is read
