"""What a route takes and answers, as data that the document of the API is made of (`server/openapi/`). Pure."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from rest.replies import ErrorAnswer
from schemas import Code, Reason

# A cookie; an API key as Bearer; one as Token; a widget's session as Bearer.
Credential = Literal["session", "key", "token", "widget"]


class Refused(msgspec.Struct, frozen=True):
    """An error of an API with words of its own: what the document calls it, its status, the header that comes with it."""

    name: str
    status: int
    header: str = ""


RestError = Code | Reason | Literal["RANGE_NOT_SATISFIABLE"] | Refused  # the third is HTTP's alone


_HEADER_DOCS = {
    "accept": "`application/json` before `*/*` asks for the link of the file instead of its bytes.",
    "content-digest": "SHA-256 of the file, or of the whole body (RFC 9530): bytes that do not match are refused.",
    "if-match": "Answer 412 unless the file has one of these tags.",
    "if-modified-since": "Answer 304 unless the file is newer.",
    "if-none-match": "Answer 304 if the tag is one of these.",
    "if-range": "Heed `Range` only if the file has this tag or date.",
    "if-unmodified-since": "Answer 412 if the file is newer.",
    "range": "One range of bytes, such as `bytes=0-99`.",
    "repr-digest": "SHA-256 of the file (RFC 9530): bytes that do not match are refused.",
}


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """A parameter of a request. `type` is what its text is read as."""

    name: str
    place: Literal["path", "query", "header"]
    doc: str
    type: Any = str
    required: bool = False


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A field of a form; without a `type` it is a file."""

    doc: str
    type: Any = None
    required: bool = False


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """A body of one media type: JSON of a `type`, a form of `members`, else bytes; with `or_file` also somebody's JSON file."""

    type: Any = None
    or_file: bool = False
    members: Mapping[str, Member] = {}


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer that is no error: bodies by media type, and the names of the headers that it may have."""

    doc: str
    content: Mapping[str, Content] = {}
    headers: tuple[str, ...] = ()


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """A method of a path. The `id` is for generated clients and stays as it is; the first line of `doc` is its title.

    A caller must have one of the `credentials`, or follow a signed link where that may be done `by_link`. `errors` are answered
    as `error_type`; HEAD answers without bodies.
    """

    id: str
    tag: str
    method: Literal["GET", "HEAD", "POST"]
    path: str
    doc: str
    parameters: tuple[Parameter, ...] = ()
    body: Mapping[str, Content] = {}
    answers: Mapping[int, Answer]
    errors: tuple[RestError, ...] = ()
    error_type: Any = ErrorAnswer
    credentials: tuple[Credential, ...] = ()
    by_link: bool = False


def head_of(operation: Operation, answers: tuple[int, ...], errors: tuple[RestError, ...]) -> Operation:
    """The HEAD of a GET: the same request, those of its answers."""
    return msgspec.structs.replace(
        operation,
        id=f"{operation.id}-head",
        method="HEAD",
        doc=f"{operation.doc.splitlines()[0]} (headers only)",
        answers={status: operation.answers[status] for status in answers},
        errors=errors,
    )


def header_parameters(*names: str) -> tuple[Parameter, ...]:
    """Those headers of a request, by name."""
    return tuple(Parameter(name=name, place="header", doc=_HEADER_DOCS[name]) for name in sorted(names))
