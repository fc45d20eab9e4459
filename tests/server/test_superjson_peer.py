"""Both ways against the real superjson 2.2.6: one Node process reads what we write and writes what we read."""

import copy
import datetime as dt
import json
import math
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from server.trpc.superjson import ErrorValue, Url, deserialize, serialize
from tests.conformance.node import node_command, npm_install

REFERENCE = Path(__file__).parent.parent / "conformance" / "reference"
NOON = dt.datetime(2024, 2, 29, 12, 0, 0, 1000, tzinfo=dt.UTC)


class Peer:
    """The real superjson, a line in and a line out (superjson.mjs)."""

    def __init__(self) -> None:
        npm_install(REFERENCE)
        command = [*node_command(), str(REFERENCE / "superjson.mjs")]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def rewrite(self, payload: object) -> Any:
        """The payload read and written again: {"json", "meta"?}."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(payload).encode() + b"\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        assert "error" not in answer, answer["error"]
        return answer["written"]

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()


@pytest.fixture(scope="module")
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.close()


def written(value: object) -> dict[str, Any]:
    """The payload of `value`, through the bytes of the wire."""
    body, meta = serialize(value)
    payload = {"json": body} if meta is None else {"json": body, "meta": meta}
    decoded: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(payload))
    return decoded


SHARED = [{"x": 1}]
VALUES: dict[str, object] = {
    "plain": {"a": [1, None, "x", True, 1.5]},
    "date": {"when": NOON},
    "undefined": UNSET,
    "undefined-member": [UNSET, None],
    "bigint": [2**60, -(2**61)],
    "numbers": {"nan": math.nan, "inf": math.inf, "-inf": -math.inf, "-0": -0.0},
    "set": {"a"},
    "set-of-dates": [{NOON}],
    "map": {1: "a", 2: NOON, None: {3}},
    "map-of-maps": {"m": {1: {2: {3: NOON}}}},
    "url": {"u": Url("https://example.org/a?b=c#d")},
    "regexp": [re.compile("a+[b/]", re.IGNORECASE | re.DOTALL), re.compile("^x$", re.MULTILINE)],
    "error": {"e": ErrorValue("TypeError", "no", {"at": NOON})},
    "bytes": {"b": b"\0\1\xff"},
    "escaped-keys": {"a.b": {"c\\d": NOON, "": {1}, "\\.": [{2}]}},
    "equal": {"a": SHARED, "b": [SHARED, {"deep": SHARED}]},
    "equal-in-map": {"a": SHARED, "m": {1: SHARED}},
    "equal-in-error": {"e": ErrorValue("E", "m", SHARED), "z": [SHARED]},
    "nested-in-equal": {"a": [shared := {"when": NOON}], "b": shared},
    "unicode": {"ключ.é": {"🙂"}, "\u2028": NOON},
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_the_peer_reads_what_we_write(peer: Peer, value: object) -> None:
    ours = written(value)
    theirs = peer.rewrite(ours)
    assert theirs["json"] == ours["json"]
    assert theirs.get("meta", {}).get("values") == ours.get("meta", {}).get("values")


@pytest.mark.parametrize("name", ["equal", "equal-in-map"])
def test_the_peer_sees_the_same_equalities(peer: Peer, name: str) -> None:
    ours = written(VALUES[name])
    assert peer.rewrite(ours)["meta"] == ours["meta"]


def test_the_peer_sees_the_same_cycle(peer: Peer) -> None:
    value: dict[str, Any] = {"b": {"c": []}}
    value["self"] = value
    value["b"]["c"] += [value, value["b"]]
    ours = written(value)
    assert peer.rewrite(ours) == ours
    assert written(deserialize(copy.deepcopy(ours))) == ours


PAYLOADS: dict[str, dict[str, Any]] = {
    "legacy-paths": {
        "json": {"a\\b": "2024-01-01", "c.d": "0x3fffffffffffffff"},
        "meta": {"values": {"a\\b": ["Date"], "c\\.d": ["bigint"]}},
    },
    "tree-in-tree": {"json": {"a": {"b": ["-0"]}}, "meta": {"v": 1, "values": {"a": {"b": {"0": ["number"]}}}}},
    "dedupe": {"json": {"a": [{"x": 1}], "b": None}, "meta": {"v": 1, "referentialEqualities": {"a": ["b"]}}},
    "root": {"json": {"a": None, "b": [None]}, "meta": {"v": 1, "referentialEqualities": [["a", "b.0"]]}},
    "root-and-others": {
        "json": {"a": None, "b": {}, "c": {}},
        "meta": {"v": 1, "referentialEqualities": [["a"], {"b": ["c"]}]},
    },
    "float-array": {"json": [None, 1.5, 2], "meta": {"v": 1, "values": [["typed-array", "Float64Array"]]}},
    "date-only": {"json": "2024-02-30", "meta": {"v": 1, "values": ["Date"]}},
    "date-offset": {"json": "2024-02T10:00:00.1239-03:30", "meta": {"v": 1, "values": ["Date"]}},
    "date-midnight-24": {"json": "2024-12-31T24:00:00Z", "meta": {"v": 1, "values": ["Date"]}},
    "date-invalid": {"json": "2024-13-01", "meta": {"v": 1, "values": ["Date"]}},
    "extra-members": {"json": [1], "meta": {"v": 1, "values": None}, "more": True},
}
# Written by superjson, but not by us: a list of numbers is what we make of a typed array other than Uint8Array.
TYPED_ARRAY = "float-array"


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_we_read_what_the_peer_reads(peer: Peer, payload: dict[str, Any]) -> None:
    theirs = peer.rewrite(payload)
    ours = written(deserialize(payload))
    if payload is PAYLOADS[TYPED_ARRAY]:
        theirs = {"json": [0.0, 1.5, 2.0]}
    assert ours == theirs


MEMBERS: st.SearchStrategy[object] = st.integers() | st.floats() | st.text(st.characters(codec="utf-8"), max_size=5) | st.none()
MEMBERS |= st.datetimes(timezones=st.just(dt.UTC))
# In a JavaScript map NaN is one key, and -0 is 0.
KEYS = MEMBERS.filter(lambda key: not isinstance(key, float) or not (math.isnan(key) or key == 0))
VALUES_WITHIN = st.recursive(
    MEMBERS | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=10,
)


@settings(deadline=None)
@given(value=VALUES_WITHIN)
def test_any_value_passes_through_the_peer(peer: Peer, value: object) -> None:
    ours = written(value)
    theirs = peer.rewrite(ours)
    assert canonical(deserialize(theirs)) == canonical(deserialize(ours))


def canonical(value: object) -> str:
    """`value` as text. JavaScript has one kind of number: 1.0 comes back as 1, and 2e60 as an integer of 60 digits."""
    match value:
        case dict():
            return f"map{sorted((canonical(key), canonical(member)) for key, member in value.items())}"
        case list():
            return f"list{[canonical(member) for member in value]}"
        case int() if not isinstance(value, bool) and abs(value) < 10**300:
            return repr(float(value))
        case _:
            return repr(value)
