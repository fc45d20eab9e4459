"""Bad and hostile annotations: each is refused with a sentence or read, soon, and nothing else ever happens."""

import contextlib
import time
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import Code, ServiceError
from server.trpc.superjson import deserialize, serialize
from tests.server.payloads import nested, wrapped


def assert_refused(payload: object) -> None:
    with pytest.raises(ServiceError) as caught:
        deserialize(payload)
    assert caught.value.code is Code.BAD_REQUEST
    assert caught.value.message.startswith("superjson: ")
    assert len(caught.value.message.encode()) < 500


REFUSED = {
    "unknown-annotation": wrapped(1, ["nothing"]),
    "object-member-as-annotation": wrapped(1, ["toString"]),
    "annotation-number": wrapped(1, [5]),
    "annotation-null": wrapped(1, [None]),
    "annotation-empty": wrapped(1, [[]]),
    "leaf-empty": wrapped({"a": 1}, {"a": []}),
    "class": wrapped({}, [["class", "User"]]),
    "symbol": wrapped("x", [["symbol", "x"]]),
    "custom": wrapped("x", [["custom", "decimal"]]),
    "typed-array-unknown": wrapped([1], [["typed-array", "BigInt64Array"]]),
    "typed-array-alone": wrapped([1], ["typed-array"]),
    "typed-array-length": wrapped(10**9, [["typed-array", "Uint8Array"]]),
    "typed-array-out-of-range": wrapped([256], [["typed-array", "Uint8Array"]]),
    "typed-array-string": wrapped(["1"], [["typed-array", "Int8Array"]]),
    "typed-array-boolean": wrapped([True], [["typed-array", "Float32Array"]]),
    "typed-array-name-list": wrapped([1], [["typed-array", ["Uint8Array"]]]),
    "values-string": wrapped("x", "Date"),
    "values-number": wrapped("x", 5),
    "children-list": wrapped([1], ["set", [["bigint"]]]),
    "points-at-nothing": wrapped({"a": 1}, {"b": ["Date"]}),
    "points-below-scalar": wrapped({"a": 1}, {"a.b": ["Date"]}),
    "points-beyond-array": wrapped([1], {"1": ["undefined"]}),
    "huge-index": wrapped([1], {"9" * 5000: ["undefined"]}),
    "index-with-zeros": wrapped([1], {"00": ["undefined"]}),
    "index-negative": wrapped([1], {"-1": ["undefined"]}),
    "index-other-digits": wrapped([1, 2], {"\u0661": ["undefined"]}),
    "index-length": wrapped([1], {"length": ["undefined"]}),
    "map-row-alone": wrapped({"a": [[1, 2]], "b": 1}, {"a": ["map"]}, {"b": ["a.0"]}),
    "map-side-2": wrapped({"a": [[1, 2]], "b": 1}, {"a": ["map"]}, {"b": ["a.0.2"]}),
    "proto": wrapped({"__proto__": "1"}, {"__proto__": ["bigint"]}),
    "prototype": wrapped({"a": {"prototype": "1"}}, {"a.prototype": ["bigint"]}),
    "constructor": wrapped({"constructor": {"x": "1"}}, {"constructor.x": ["bigint"]}),
    "proto-in-equalities": wrapped({"a": {}}, None, {"a": ["__proto__.x"]}),
    "proto-as-source": wrapped({"a": {}}, None, {"__proto__": ["a"]}),
    "stray-backslash": wrapped({"a": "1"}, {"\\a": ["bigint"]}),
    "final-backslash": wrapped({"a": "1"}, {"a\\": ["bigint"]}),
    "bigint-float": wrapped(1.5, ["bigint"]),
    "bigint-empty": wrapped("", ["bigint"]),
    "bigint-underscore": wrapped("1_0", ["bigint"]),
    "bigint-other-digits": wrapped("\u0661", ["bigint"]),
    "bigint-newline": wrapped("1\n", ["bigint"]),
    "bigint-long": wrapped("1" * 5000, ["bigint"]),
    "bigint-boolean": wrapped(True, ["bigint"]),
    "number-text": wrapped("1e5", ["number"]),
    "number-object": wrapped({}, ["number"]),
    "set-object": wrapped({}, ["set"]),
    "set-of-objects": wrapped([{}], ["set"]),
    "set-of-sets": wrapped([[1]], ["set", {"0": ["set"]}]),
    "map-object": wrapped({}, ["map"]),
    "map-row-short": wrapped([[1]], ["map"]),
    "map-key-array": wrapped([[[1], 2]], ["map"]),
    "error-null": wrapped(None, ["Error"]),
    "error-message-number": wrapped({"message": 1}, ["Error"]),
    "error-message-aliased": wrapped({"a": {}, "e": {"message": "x"}}, {"e": ["Error"]}, {"a": ["e.message"]}),
    "url-relative": wrapped("/a", ["URL"]),
    "url-number": wrapped(1, ["URL"]),
    "url-no-host": wrapped("https:///", ["URL"]),
    "url-bad-host": wrapped("https://[::1", ["URL"]),
    "regexp-null": wrapped(None, ["regexp"]),
    "regexp-unwritten": wrapped("a", ["regexp"]),
    "regexp-unclosed": wrapped("/a", ["regexp"]),
    "regexp-empty": wrapped("//", ["regexp"]),
    "regexp-sticky": wrapped("/a/y", ["regexp"]),
    "regexp-named-group": wrapped("/(?<name>a)/", ["regexp"]),
    "regexp-malformed": wrapped("/(/", ["regexp"]),
    "regexp-count-too-large": wrapped("/a{99999999999}/", ["regexp"]),
    "regexp-long": wrapped(f"/{'a' * 300}/", ["regexp"]),
    "regexps-many": wrapped([f"/{'a' * 200}/"] * 50, {str(index): ["regexp"] for index in range(50)}),
    "equalities-string": wrapped({"a": 1}, None, "a"),
    "equalities-number": wrapped({"a": 1}, None, 5),
    "equal-paths-string": wrapped({"a": 1, "b": 2}, None, {"a": "b"}),
    "equal-paths-numbers": wrapped([1, 2], None, {"0": [1]}),
    "root-paths-string": wrapped({"a": 1}, None, ["a"]),
    "equality-of-nothing": wrapped({"a": 1}, None, {"b": ["a"]}),
    "equality-to-nothing": wrapped({"a": 1}, None, {"a": ["b.c"]}),
    "lone-surrogate": wrapped({"a": 1}, {"\ud800": ["Date"]}),
    "long-path": wrapped({"a": 1}, {"x" * 100_000: ["Date"]}),
}


@pytest.mark.parametrize("payload", REFUSED.values(), ids=REFUSED)
def test_refuses_a_bad_annotation(payload: object) -> None:
    assert_refused(payload)


def billion_laughs() -> object:
    """Each level holds the next one twice."""
    json = {f"l{level}": [None, None] for level in range(60)}
    return wrapped(json, None, {f"l{level + 1}": [f"l{level}.0", f"l{level}.1"] for level in range(59)})


HOSTILE: dict[str, Callable[[], object]] = {
    "deep-json": lambda: wrapped(nested(20_000, lambda inner: [inner], "1"), {".".join("0" * 20_000): ["bigint"]}),
    "deep-json-finished": lambda: wrapped(nested(20_000, lambda inner: [inner], None), {".".join("0" * 20_000): ["undefined"]}),
    "deep-annotations": lambda: wrapped([1], nested(20_000, lambda inner: {"0": inner}, ["bigint"])),
    "deep-leaves": lambda: wrapped([1], nested(20_000, lambda inner: [inner], "bigint")),
    "deep-equality": lambda: wrapped({"a": nested(20_000, lambda inner: [inner], 1), "b": 0}, None, {"a": ["b"]}),
    "long-prefix": lambda: wrapped({}, {".".join("a" * 100_000): {f"k{n}": ["Date"] for n in range(50_000)}}),
    "many-dots": lambda: wrapped({}, {"." * 1_000_000: ["Date"]}),
    "billion-laughs": billion_laughs,
    "long-string-aliased": lambda: wrapped(
        {"a": "x" * 500_000, "b": [0] * 50_000}, None, {"a": [f"b.{n}" for n in range(50_000)]}
    ),
    "root-many-times": lambda: wrapped([0] * 100_000, None, [[str(n) for n in range(100_000)]]),
}


@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE)
def test_hostile_annotations_are_read_or_refused_quickly(make: Callable[[], object]) -> None:
    payload = make()
    started = time.process_time()
    with contextlib.suppress(ServiceError):
        deserialize(payload)
    # The slowest takes 0.4 s (2026-11); a loaded machine may need more, quadratic work would take minutes.
    assert time.process_time() - started < 5


@pytest.mark.parametrize("case", ["billion-laughs", "long-string-aliased", "long-prefix"])
def test_refuses_what_would_grow_beyond_bounds(case: str) -> None:
    assert_refused(HOSTILE[case]())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
PATHS = st.sampled_from(["", "a", "0", "1", "0.0", "0.1", "a.b", "a\\.b", "\\", "__proto__", "a.0", "b", "a.cause"])
NAMES = st.sampled_from(["undefined", "bigint", "Date", "Error", "regexp", "set", "map", "number", "URL", "x"])
ANNOTATIONS = NAMES | st.just(["typed-array", "Uint8Array"]) | JSON
TREES = st.recursive(
    st.lists(ANNOTATIONS, max_size=2) | JSON,
    lambda inner: st.dictionaries(PATHS, inner, max_size=3) | st.tuples(NAMES, inner).map(list),
    max_leaves=6,
)
EQUALITIES = st.dictionaries(PATHS, st.lists(PATHS, max_size=3) | JSON, max_size=3) | JSON
VALUES_AT_PATHS = st.dictionaries(st.sampled_from(["a", "b", "a.b", ""]), JSON, max_size=4) | st.lists(JSON, max_size=3)


@settings(deadline=None)
@given(json=JSON | VALUES_AT_PATHS, values=TREES, equalities=EQUALITIES, v=st.sampled_from([None, 0, 1, "1"]))
def test_any_annotations_give_a_value_that_can_be_written_or_a_clear_error(
    json: object, values: object, equalities: object, v: object
) -> None:
    try:
        value = deserialize(wrapped(json, values, equalities, v))
    except ServiceError as error:
        code = error.code
    else:
        code = Code.BAD_REQUEST
        # A member with a name that no client may annotate, or text that is no Unicode.
        with contextlib.suppress(ValueError):
            msgspec.json.encode(serialize(value)[0])
    assert code is Code.BAD_REQUEST


@settings(deadline=None)
@given(JSON)
def test_json_without_annotations_comes_through_as_it_is(json: object) -> None:
    assert deserialize({"json": json}) is json
