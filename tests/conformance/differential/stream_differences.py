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
