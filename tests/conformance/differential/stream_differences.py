"""Where streams of attachd mean to differ from those of @trpc/server, and why; read as `differences.py` is."""

from tests.conformance.differential.differences import Difference
from tests.conformance.differential.streams import Streamed

# tRPC names no type for errors of the request as a whole, so Fetch calls their JSON text/plain; JSON is right.
_UNNAMED_TYPE = "text/plain;charset=UTF-8"

DIFFERENCES = (
    Difference(
        "a date is no object that an id could be merged into; spread by JavaScript it leaves an empty one",
        ("body.1.0.1.json", "body.1.0.1.meta"),
        ("sse-resumed-beside-a-date",),
    ),
    Difference(
        "EventSource writes the id as UTF-8; tRPC's adapter for Node reads Latin-1",
        ("body.1.0.1.json.lastEventId", "body.2.2.1"),
        ("sse-resumed-by-header-in-utf8",),
    ),
    Difference(
        "a close has a code that says why: 1008, the client broke the rules; tRPC sends none",
        ("close_code 1005 -> 1008",),
        tuple(
            f"ws-{name}"
            for name in (
                *("parameters-number", "parameters-array", "parameters-member-is-a-number", "parameters-without-data"),
                *("call-instead-of-parameters", "parameters-malformed", "parameters-not-an-object"),
            )
        ),
    ),
    Difference(
        "the message says what is malformed",
        ("answers.null.0.error.json.message",),
        ("ws-parameters-malformed", "ws-parameters-not-an-object"),
    ),
    Difference(
        "an input that is left out is undefined; superjson crashes on it",
        ("answers.1", "answers.null"),
        ("ws-input-left-out", "ws-sub-input-left-out"),
    ),
    Difference(
        "a bare null is null, as over HTTP; superjson crashes on it",
        ("answers.1", "answers.null"),
        ("ws-malformed-input-null",),
    ),
    Difference(
        "input may come bare, as over HTTP",
        ("answers.1.0.result.data.json", "answers.1.0.result.data.meta"),
        ("ws-malformed-input-bare",),
    ),
    Difference(
        "what comes later fits into no message: refused, as over HTTP without JSON lines; superjson makes {} of it",
        ("answers.1.0.error", "answers.1.0.result"),
        ("ws-error-later-values-of-a-query",),
    ),
    Difference("JSON so deep is refused, also where nobody looks", ("answers.1", "answers.null"), ("ws-malformed-deep",)),
)


def declared(case: str) -> set[str]:
    """In what the exchanges of a case must differ."""
    return {field for difference in DIFFERENCES if case in difference.cases for field in difference.fields}


def declared_of_stream(case: str, reference: Streamed) -> set[str]:
    """In what the answers to a request must differ."""
    fields = declared(case)
    if reference.headers["content-type"] == _UNNAMED_TYPE:
        fields.add(f"content-type {_UNNAMED_TYPE} -> application/json")
    return fields
