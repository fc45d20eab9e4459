"""Where attachd means to answer otherwise than @trpc/server, and why.

The test fails on any other difference, and on any that is named here and is none.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from tests.conformance.differential.peers import Answer


class Difference(NamedTuple):
    """Cases that differ, in what, and why."""

    reason: str
    fields: tuple[str, ...]
    cases: tuple[str, ...]


class Rule(NamedTuple):
    """A difference of every case whose answer by @trpc/server, and its JSON, is of a kind."""

    reason: str
    fields: tuple[str, ...]
    applies: Callable[[Answer], bool]


def _is_request_level(answer: Answer) -> bool:
    """The request failed as a whole: one error, which has no path."""
    return "path" not in _error(answer.body).get("data", {"path": ""}) and answer.media_type == "text/plain"


def _error(body: Any) -> Any:
    return body["error"]["json"] if isinstance(body, dict) and "error" in body else {}


RULES = (
    Rule(
        "tRPC names no type for errors of the request as a whole, so Fetch calls their JSON text/plain; JSON is right",
        ("media_type text/plain -> application/json",),
        _is_request_level,
    ),
    Rule(
        "the message says which limit the body exceeds, and its setting",
        ("body.error.json.message",),
        lambda answer: _error(answer.body).get("message") == "PAYLOAD_TOO_LARGE",
    ),
)

# An error on one side, a result on the other.
ACCEPTED = ("status 400 -> 200", "body.error", "body.result")
REFUSED = ("status 200 -> 400", "body.error", "body.result")
ANNOTATED = ("body.result.data.json", "body.result.data.meta")
OTHER_ERROR = (
    "body.error.json.code",
    "body.error.json.message",
    "body.error.json.data.code",
    "body.error.json.data.httpStatus",
)
OTHER_VALUE = ("body.result.data.json",)

DIFFERENCES = (
    # Input that is not wrapped by superjson, as the curl lines of API A send it.
    Difference(
        "input may come bare; superjson makes undefined of what has no json member",
        ANNOTATED,
        (
            *("input-empty-object", "input-bare-object", "input-bare-string", "input-bare-number", "input-bare-array"),
            *("input-bare-false", "superjson-meta-without-json"),
        ),
    ),
    Difference(
        "bare input again: what is undefined to tRPC fits here",
        ACCEPTED,
        ("list-unwrapped", "delete-unwrapped", "get-unwrapped", "get-unwrapped-post", "input-null", "input-null-query"),
    ),
    Difference(
        "bare null is null; superjson crashes on it, which fails the whole batch",
        ("status 400 -> 200", "body.0.error", "body.0.result", "body.1.error", "body.1.result"),
        ("batch-null-entry",),
    ),
    # A body that is a file or a form, sent to a procedure whose input is neither.
    Difference(
        "a form is no object of its fields: input comes as JSON, files go to procedures that take them",
        REFUSED,
        ("type-multipart",),
    ),
    Difference(
        "a file is refused by a procedure that takes none; there the bytes come back as a stream, which is refused",
        ("status 415 -> 400", "body.error.json.data.path", *OTHER_ERROR),
        ("type-octets",),
    ),
    # Errors.
    Difference("the text of an unexpected exception may hold secrets", ("body.error.json.message",), ("fail-crash",)),
    Difference(
        "the text of an unexpected exception may hold secrets", ("body.1.error.json.message",), ("batch-results-and-crash",)
    ),
    Difference(
        "the message says which limit the body exceeds, and its setting",
        ("body.0.error.json.message", "body.1.error.json.message"),
        ("body-over-limit-batch",),
    ),
    Difference(
        "a 405 names the methods (RFC 9110, 15.5.6), also when the procedure itself throws it",
        ("allow None -> GET, POST",),
        ("fail-METHOD_NOT_SUPPORTED",),
    ),
    Difference(
        "Fetch has no TRACE, so tRPC fails on it with a 500; here it is a request without content type, like PUT",
        (
            *("status 500 -> 415", "media_type None -> application/json", "vary None -> trpc-accept, accept"),
            *OTHER_ERROR,
        ),
        ("trace",),
    ),
    Difference(
        "what is not HTTP is refused by uvicorn in its own words, by Node without any",
        ("media_type None -> text/plain", "body"),
        ("lower-case-method", "query-raw-utf8"),
    ),
    # JSON.
    Difference("a byte order mark is skipped in queries too", ACCEPTED, ("byte-order-mark-query",)),
    Difference(
        "Node skips two byte order marks, and takes one alone for no body; nobody sends either",
        REFUSED,
        ("byte-order-mark-twice", "byte-order-mark-alone"),
    ),
    Difference(
        "integers are exact: beyond 2**53 they are not rounded but come back as bigint",
        ANNOTATED,
        (
            "number-beyond-safe",
            "number-beyond-int64",
        ),
    ),
    Difference("the integer -0 is 0 in Python; superjson sends -0 as text", ANNOTATED, ("number-minus-zero",)),
    Difference(
        "Node overflows its stack on the way back, a 500 without path; JSON so deep is refused on the way in",
        ("status 500 -> 400", "body.error.json.data.path", *OTHER_ERROR),
        ("deep-10000", "deep-10000-objects"),
    ),
    Difference(
        "JSON so deep is refused, also where nobody looks",
        REFUSED,
        ("deep-10000-ignored-member",),
    ),
    Difference(
        "__proto__ is a name like any other; in JavaScript it sets the prototype and is lost",
        ("body.result.data.json.__proto__",),
        ("key-proto", "key-proto-object"),
    ),
    Difference(
        "constructor and prototype are names like any other as long as nothing below them is annotated; superjson throws",
        ("status 500 -> 200", "body.error", "body.result"),
        ("key-constructor", "key-prototype"),
    ),
    # superjson (server/trpc/superjson says why of each).
    Difference(
        "undefined members are dropped", ("body.result.data.json.a", "body.result.data.meta"), ("superjson-undefined-member",)
    ),
    Difference(
        "undefined members are dropped",
        ("body.result.data.json.note", "body.result.data.meta.values.note"),
        ("superjson-typed-note-undefined",),
    ),
    Difference(
        "dates are those of ECMAScript's format, and of the years 1 to 9999",
        ANNOTATED,
        ("superjson-date-english", "superjson-date-year-10000"),
    ),
    Difference("an int is a bigint only where a number would not do", ANNOTATED, ("superjson-bigint-small",)),
    Difference(
        "an int is a bigint only where a number would not do",
        ("body.result.data.json.big", "body.result.data.meta.values.big"),
        ("superjson-typed-big-small",),
    ),
    Difference("an int may be sent as a number", ACCEPTED, ("superjson-typed-big-as-number",)),
    Difference("a dict with string keys is an object, a map with them too", ANNOTATED, ("superjson-map-with-string-keys",)),
    Difference("a map with string keys is a dict, which an object type accepts", ACCEPTED, ("superjson-input-as-map",)),
    Difference("Url keeps the text", OTHER_VALUE, ("superjson-url-not-normal",)),
    Difference("a Python pattern has no flag g", OTHER_VALUE, ("superjson-regexp-global",)),
    Difference(
        "an Error without cause has none; superjson makes one that is undefined",
        ("body.result.data.json.cause", "body.result.data.meta.values"),
        ("superjson-error",),
    ),
    Difference("typed arrays but Uint8Array are lists of numbers", ("body.result.data.meta",), ("superjson-int8array",)),
    Difference(
        "dates are values in Python: which of them were one object is not told",
        ("body.result.data.meta.referentialEqualities",),
        ("superjson-equal-dates",),
    ),
    Difference(
        "annotations that Python has no value for, or that point at nothing or at something else, are refused",
        REFUSED,
        tuple(
            f"superjson-{name}"
            for name in (
                *("bigint-5000-digits", "set-of-objects", "map-with-object-key", "number-text", "regexp-sticky"),
                *("uint8array-overflow", "bad-typed-array-length", "bad-path", "bad-path-huge-index"),
                *("bad-path-index-beyond", "bad-values-number", "bad-values-empty-leaf"),
            )
        ),
    ),
)


def declared(case: str, reference: Answer) -> set[str]:
    """In what the answers of a case must differ."""
    fields = {field for difference in DIFFERENCES if case in difference.cases for field in difference.fields}
    return fields | {field for rule in RULES if rule.applies(reference) for field in rule.fields}
