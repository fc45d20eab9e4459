"""What superjson's writer makes of Python values, which types need it, and that its reader undoes it."""

import datetime as dt
import enum
import math
import re
import uuid
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET, Meta, UnsetType

from server.trpc.superjson import INVALID_DATE, ErrorValue, Url, deserialize, is_plain, serialize
from tests.server.payloads import nested

NEW_YEAR = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)


class Colour(enum.StrEnum):
    RED = "red"


class Point(msgspec.Struct, rename="camel", omit_defaults=True, tag="point"):
    at_x: int
    note: str | UnsetType = UNSET
    tags: list[str] = []
    when: dt.datetime | None = None


class Pair(msgspec.Struct, array_like=True):
    a: int
    b: dt.datetime


class Node(msgspec.Struct):
    name: str
    next: "Node | None" = None


class Row(NamedTuple):
    size: int
    name: str


@dataclass
class Plain:
    size: int
    seen: Any = UNSET


class Options(TypedDict):
    size: int


WRITTEN: dict[str, tuple[object, object, dict[str, object] | None]] = {
    "plain": ({"a": [1, "x", None, True, 1.5]}, {"a": [1, "x", None, True, 1.5]}, None),
    "undefined-root": (UNSET, None, {"values": ["undefined"]}),
    "undefined-member": ({"a": UNSET}, {"a": None}, {"values": {"a": ["undefined"]}}),
    "safe-integer": (2**53 - 1, 2**53 - 1, None),
    "bigint": (-(2**53), "-9007199254740992", {"values": ["bigint"]}),
    "numbers": (
        [math.nan, math.inf, -math.inf, -0.0, 0.0],
        ["NaN", "Infinity", "-Infinity", "-0", 0.0],
        {"values": {"0": ["number"], "1": ["number"], "2": ["number"], "3": ["number"]}},
    ),
    "datetime": (NEW_YEAR.replace(microsecond=129999), "2024-01-01T00:00:00.129Z", {"values": ["Date"]}),
    "datetime-offset": (
        NEW_YEAR.astimezone(dt.timezone(dt.timedelta(hours=5))),
        "2024-01-01T00:00:00.000Z",
        {"values": ["Date"]},
    ),
    "invalid-date": (INVALID_DATE, None, None),
    "set": ({5}, [5], {"values": ["set"]}),
    "frozenset-of-datetimes": (frozenset({NEW_YEAR}), ["2024-01-01T00:00:00.000Z"], {"values": ["set", {"0": ["Date"]}]}),
    "tuple": ((1, {2}), [1, [2]], {"values": {"1": ["set"]}}),
    "map": ({1: "a", "b": NEW_YEAR}, [[1, "a"], ["b", "2024-01-01T00:00:00.000Z"]], {"values": ["map", {"1.1": ["Date"]}]}),
    "empty-dict": ({}, {}, None),
    "bytes": (b"\1\2", [1, 2], {"values": [["typed-array", "Uint8Array"]]}),
    "url": (Url("https://example.org/"), "https://example.org/", {"values": ["URL"]}),
    "pattern": (re.compile("a.b", re.IGNORECASE | re.DOTALL), "/a.b/is", {"values": ["regexp"]}),
    "pattern-empty": (re.compile(""), "/(?:)/", {"values": ["regexp"]}),
    "error": (ErrorValue("E", "m"), {"name": "E", "message": "m"}, {"values": ["Error"]}),
    "escaped-keys": ({"a.b\\": {3}}, {"a.b\\": [3]}, {"values": {"a\\.b\\\\": ["set"]}}),
    "struct": (Point(1), {"type": "point", "atX": 1}, None),
    "struct-full": (
        Point(1, "n", ["t"], NEW_YEAR),
        {"type": "point", "atX": 1, "note": "n", "tags": ["t"], "when": "2024-01-01T00:00:00.000Z"},
        {"values": {"when": ["Date"]}},
    ),
    "struct-array": (Pair(1, NEW_YEAR), [1, "2024-01-01T00:00:00.000Z"], {"values": {"1": ["Date"]}}),
    "dataclass": (Plain(1), {"size": 1}, None),
    "named-tuple": (Row(1, "a"), [1, "a"], None),
    "enum": (Colour.RED, "red", None),
    "enum-key": ({Colour.RED: 1}, {"red": 1}, None),
    "uuid": (uuid.UUID(int=0), "00000000-0000-0000-0000-000000000000", None),
    "date": (dt.date(2024, 1, 1), "2024-01-01", None),
    "decimal": (Decimal("1.50"), "1.50", None),
    "raw": ([msgspec.Raw(b'{"a":1}')], [{"a": 1}], None),
    "forbidden-key-without-annotation": ({"constructor": 1}, {"constructor": 1}, None),
}


@pytest.mark.parametrize(("value", "json", "meta"), WRITTEN.values(), ids=WRITTEN)
def test_writes_a_value(value: object, json: object, meta: dict[str, object] | None) -> None:
    written, written_meta = serialize(value)
    assert msgspec.json.decode(msgspec.json.encode(written)) == json
    assert written_meta == ({**meta, "v": 1} if meta else None)


def test_writes_shared_containers_once_and_names_their_places() -> None:
    shared = {"x": {1}}
    json, meta = serialize({"deep": [[shared]], "a": shared, "m": {1: shared}})
    assert json == {"deep": [[{"x": [1]}]], "a": {"x": [1]}, "m": [[1, {"x": [1]}]]}
    assert meta is not None
    assert meta["referentialEqualities"] == {"a": ["deep.0.0", "m.0.1"]}


def test_writes_a_cycle_as_null() -> None:
    value: dict[str, object] = {}
    value["self"] = value
    value["list"] = [value]
    assert serialize(value) == ({"self": None, "list": [None]}, {"referentialEqualities": [["self", "list.0"]], "v": 1})


def test_does_not_confuse_short_lived_values() -> None:
    """Members made on the fly may be given the memory, and so the id, of members already written."""
    assert serialize([Pair(n, NEW_YEAR) for n in range(100)])[1] == {
        "values": {f"{n}.1": ["Date"] for n in range(100)},
        "v": 1,
    }
    assert serialize({(n, n): (n,) for n in range(100)})[1] == {"values": ["map"], "v": 1}


@pytest.mark.parametrize(
    ("value", "error"),
    [
        pytest.param(dt.datetime(2024, 1, 1), ValueError, id="naive-datetime"),  # noqa: DTZ001 - the point of the case
        pytest.param({"constructor": {1}}, ValueError, id="annotation-below-constructor"),
        pytest.param(object(), TypeError, id="object"),
        pytest.param(re.compile(b"a"), TypeError, id="bytes-pattern"),
        pytest.param(re.compile("a", re.VERBOSE), TypeError, id="verbose-pattern"),
    ],
)
def test_refuses_to_write_what_no_client_could_read(value: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        serialize(value)


def test_writes_a_value_deeper_than_python_calls() -> None:
    json, meta = serialize(nested(5000, lambda inner: [inner], {1}))
    assert meta == {"values": {".".join("0" * 5000): ["set"]}, "v": 1}
    assert deserialize({"json": json, "meta": meta})


PLAIN_TYPES: list[Any] = [str, bool, None, int, str | None, list[Row], tuple[int, ...], tuple[int, str], dict[str, int]]
PLAIN_TYPES += [Node, Plain.__annotations__["size"], Options, Colour, Literal["a", 1], uuid.UUID, dt.date]
PLAIN_TYPES += [str | UnsetType, Annotated[int, Meta(ge=0, le=2**53 - 1)], Annotated[str, Meta(description="x")]]
ANNOTATED_TYPES: list[Any] = [object, Any, float, dt.datetime, bytes, set[int], frozenset[int], dict[int, str], Point, Plain]
ANNOTATED_TYPES += [list[float], Url, re.Pattern, UnsetType, msgspec.Raw, Pair, str | float, Annotated[int, Meta(le=2**62)]]


@pytest.mark.parametrize("annotation", PLAIN_TYPES, ids=str)
def test_a_type_is_plain(annotation: Any) -> None:
    assert is_plain(annotation)


@pytest.mark.parametrize("annotation", ANNOTATED_TYPES, ids=str)
def test_a_type_may_need_annotations(annotation: Any) -> None:
    assert not is_plain(annotation)


MEMBERS: st.SearchStrategy[object] = st.integers() | st.floats() | st.text(max_size=5) | st.none() | st.binary(max_size=4)
MEMBERS |= st.datetimes(timezones=st.just(dt.UTC)).map(lambda d: d.replace(microsecond=d.microsecond // 1000 * 1000, fold=0))
# What is read from "NaN" is always the same object, so that it is one member of a set.
KEYS = MEMBERS.filter(lambda key: not isinstance(key, float) or not math.isnan(key))
VALUES = st.recursive(
    MEMBERS | st.sets(KEYS, max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


@settings(deadline=None)
@given(VALUES)
def test_what_is_written_is_read_again(value: object) -> None:
    json, meta = serialize(value)
    assert canonical(deserialize({"json": msgspec.json.decode(msgspec.json.encode(json)), "meta": meta})) == canonical(value)


def canonical(value: object) -> str:
    """`value` as text, NaN equal to itself and 0.0 apart from -0.0; sets have no order."""
    match value:
        case dict():
            return f"map{[(canonical(key), canonical(member)) for key, member in value.items()]}"
        case set():
            return f"set{sorted(map(canonical, value))}"
        case list():
            return f"list{[canonical(member) for member in value]}"
        case _:
            return repr(value)
