"""Annotated inputs: each kind, good and bad, echoed and typed."""

from typing import Any

from tests.conformance.differential.cases import Case, get, post, wrap

M = "echo.mutation"


def echoed(value: Any, values: Any = None, equalities: Any = None, *, v: Any = 1) -> Case:
    return post(M, wrap(value, values, equalities, v=v))


DAY, BIG = "2024-02-29T12:30:45.678Z", "123456789012345678901234567890"
TYPED = {"when": DAY, "big": BIG, "tags": ["a"], "counts": [[1, "x"], [2, "y"]]}
TYPED_VALUES = {"when": ["Date"], "big": ["bigint"], "tags": ["set"], "counts": ["map"]}


def typed(value: Any = TYPED, values: Any = TYPED_VALUES) -> Case:
    return get("echo.typed", wrap(value, values))


GOOD: dict[str, Case] = {
    "undefined-root": echoed(None, ["undefined"]),
    "undefined-root-query": get("echo.query", wrap(None, ["undefined"])),
    "undefined-in-array": echoed([None, 1], {"0": ["undefined"]}),
    "undefined-member": echoed({"a": None, "b": 1}, {"a": ["undefined"]}),
    "date": echoed({"d": DAY}, {"d": ["Date"]}),
    "date-invalid": echoed({"d": "nothing"}, {"d": ["Date"]}),
    "date-only": echoed("2024-02-30", ["Date"]),
    "date-offset": echoed("2024-02-29T10:00:00.1239-03:30", ["Date"]),
    "date-number": echoed(1704067200000, ["Date"]),
    "date-english": echoed("Jan 1 2024", ["Date"]),
    "date-year-10000": echoed("+010000-01-01T00:00:00.000Z", ["Date"]),
    "bigint": echoed(BIG, ["bigint"]),
    "bigint-small": echoed("5", ["bigint"]),
    "bigint-hexadecimal": echoed("0xffffffffffffffffffff", ["bigint"]),
    "bigint-5000-digits": echoed("1" * 5000, ["bigint"]),
    "set": echoed(["a"], ["set"]),
    "set-of-objects": echoed([{}], ["set"]),
    "set-duplicates": echoed(["a", "a"], ["set"]),
    "map": echoed([[1, "a"], [2, "b"]], ["map"]),
    "map-with-string-keys": echoed([["a", 1]], ["map"]),
    "map-with-object-key": echoed([[{}, 1]], ["map"]),
    "numbers": echoed(["NaN", "Infinity", "-Infinity", "-0"], {str(index): ["number"] for index in range(4)}),
    "number-text": echoed("abc", ["number"]),
    "url": echoed("https://example.org/a?b=c#d", ["URL"]),
    "url-not-normal": echoed("HTTPS://EXAMPLE.org", ["URL"]),
    "url-relative": echoed("/a", ["URL"]),
    "regexp": echoed("/a+b/i", ["regexp"]),
    "regexp-global": echoed("/a/g", ["regexp"]),
    "regexp-malformed": echoed("/(/", ["regexp"]),
    "regexp-sticky": echoed("/a/y", ["regexp"]),
    "error": echoed({"name": "TypeError", "message": "no"}, ["Error"]),
    "error-cause": echoed({"name": "E", "message": "m", "cause": DAY}, ["Error", {"cause": ["Date"]}]),
    "uint8array": echoed([1, 2, 255], [["typed-array", "Uint8Array"]]),
    "int8array": echoed([-1], [["typed-array", "Int8Array"]]),
    "uint8array-overflow": echoed([256], [["typed-array", "Uint8Array"]]),
    "nested": echoed({"a": [{"b": DAY}]}, {"a.0.b": ["Date"]}),
    "tree": echoed({"a": {"b": DAY, "c": BIG}}, {"a": {"b": ["Date"], "c": ["bigint"]}}),
    "set-of-dates": echoed([DAY], ["set", {"0": ["Date"]}]),
    "map-of-sets": echoed([[1, ["a"]]], ["map", {"0.1": ["set"]}]),
    "escaped-dot": echoed({"a.b": DAY}, {"a\\.b": ["Date"]}),
    "escaped-backslash": echoed({"a\\": {"b": DAY}}, {"a\\\\.b": ["Date"]}),
    "legacy-path": echoed({"a\\b": DAY}, {"a\\b": ["Date"]}, v=None),
    "equal": echoed({"a": {"x": 1}, "b": [{"x": 1}]}, None, {"a": ["b.0"]}),
    "equal-dedupe": echoed({"a": {"x": 1}, "b": None}, None, {"a": ["b"]}),
    "equal-root": echoed({"a": None}, None, [["a"]]),
    "equal-root-and-others": echoed({"a": None, "b": {}, "c": {}}, None, [["a"], {"b": ["c"]}]),
    "equal-in-map": echoed({"a": [1], "m": [["k", [1]], [2, 3]]}, {"m": ["map"]}, {"a": ["m.0.1"]}),
    "equal-dates": echoed([DAY, DAY], {"0": ["Date"], "1": ["Date"]}, {"0": ["1"]}),
    "meta-null": post(M, '{"json":1,"meta":null}'),
    "meta-number": post(M, '{"json":1,"meta":5}'),
    "meta-empty": post(M, '{"json":1,"meta":{}}'),
    "meta-values-null": post(M, '{"json":1,"meta":{"values":null}}'),
    "meta-without-json": post(M, '{"meta":{"values":["undefined"]}}'),
}

BAD: dict[str, Case] = {
    "bad-unknown": echoed(1, ["nothing"]),
    "bad-object-member": echoed(1, ["constructor"]),
    "bad-class": echoed({}, [["class", "User"]]),
    "bad-symbol": echoed("x", [["symbol", "x"]]),
    "bad-custom": echoed("x", [["custom", "x"]]),
    "bad-typed-array": echoed([1], [["typed-array", "Function"]]),
    "bad-typed-array-length": echoed(1000, [["typed-array", "Uint8Array"]]),
    "bad-bigint": echoed("1.5", ["bigint"]),
    "bad-bigint-null": echoed(None, ["bigint"]),
    "bad-map": echoed([1], ["map"]),
    "bad-set": echoed(1, ["set"]),
    "bad-error": echoed(None, ["Error"]),
    "bad-path": echoed({"a": 1}, {"a.b.c": ["Date"]}),
    "bad-path-nothing": echoed({"a": 1}, {"b": ["bigint"]}),
    "bad-path-huge-index": echoed([1], {"4294967296": ["undefined"]}),
    "bad-path-index-beyond": echoed([1], {"1": ["undefined"]}),
    "bad-path-backslash": echoed({"a": 1}, {"\\a": ["undefined"]}),
    "bad-proto": echoed({}, {"__proto__": ["undefined"]}),
    "bad-proto-deep": echoed({"a": {}}, {"a.__proto__.x": ["undefined"]}),
    "bad-constructor": echoed({}, {"constructor.prototype": ["undefined"]}),
    "bad-proto-equal": echoed({"a": {}}, None, {"a": ["__proto__.polluted"]}),
    "bad-equal-path": echoed({"a": 1}, None, {"x.y": ["a"]}),
    "bad-equal-string": echoed({"a": 1}, None, {"a": "b"}),
    "bad-values-string": echoed(1, "Date"),
    "bad-values-number": post(M, '{"json":1,"meta":{"values":5,"v":1}}'),
    "bad-values-empty-leaf": echoed({"a": 1}, {"a": []}),
    "bad-annotation-before-auth": post("attachments.delete", wrap({"id": 1}, {"id": ["nothing"]}), who=None),
}

LAUGHS = {f"l{level + 1}": [f"l{level}.0", f"l{level}.1"] for level in range(29)}
TYPES: dict[str, Case] = {
    "typed": typed(),
    "typed-post": post("echo.typed", wrap(TYPED, TYPED_VALUES)),
    "typed-note": typed({**TYPED, "note": "n"}),
    "typed-note-undefined": typed({**TYPED, "note": None}, {**TYPED_VALUES, "note": ["undefined"]}),
    "typed-note-null": typed({**TYPED, "note": None}),
    "typed-unknown-member": typed({**TYPED, "more": 1}),
    "typed-missing-member": typed({"when": DAY}, {"when": ["Date"]}),
    "typed-missing": get("echo.typed"),
    "typed-null": get("echo.typed", wrap(None)),
    "typed-array": get("echo.typed", wrap([])),
    "typed-undefined-member": typed(TYPED, {**TYPED_VALUES, "when": ["undefined"]}),
    "typed-date-as-set": typed({**TYPED, "tags": DAY}, {**TYPED_VALUES, "tags": ["Date"]}),
    "typed-invalid-date": typed({**TYPED, "when": "nothing"}),
    "typed-without-annotations": typed(TYPED, {}),
    "typed-set-of-numbers": typed({**TYPED, "tags": [1]}),
    "typed-map-of-dates": typed({**TYPED, "counts": [[1, DAY]]}, {**TYPED_VALUES, "counts": ["map", {"0.1": ["Date"]}]}),
    "typed-big-as-number": typed({**TYPED, "big": 5}, {**TYPED_VALUES, "big": ["number"]}),
    "typed-big-small": typed({**TYPED, "big": "5"}),
    "typed-nan": typed({**TYPED, "big": "NaN"}, {**TYPED_VALUES, "big": ["number"]}),
    "id-as-date": get("attachments.get", wrap({"id": DAY}, {"id": ["Date"]})),
    "id-as-url": get("attachments.get", wrap({"id": "https://example.org/"}, {"id": ["URL"]})),
    "id-undefined": get("attachments.get", wrap({"id": None}, {"id": ["undefined"]})),
    "id-as-bigint": get("attachments.get", wrap({"id": "5"}, {"id": ["bigint"]})),
    "input-as-map": get("attachments.get", wrap([["id", "~first~"]], ["map"])),
    "input-undefined": get("attachments.get", wrap(None, ["undefined"])),
    "cycle-for-a-type": get("attachments.get", wrap({"id": None}, None, [["id"]])),
    "cycle-beside-a-type": get("attachments.get", wrap({"id": "~first~", "x": None}, None, [["x"]])),
    "billion-laughs": post("attachments.get", wrap({f"l{level}": [None, None] for level in range(30)}, None, LAUGHS)),
}

CASES = {f"superjson-{name}": case for group in (GOOD, BAD, TYPES) for name, case in group.items()}
