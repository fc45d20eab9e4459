"""What the routes of this room take and answer; tests hold it to the routes that there are, and to what they answer. Pure."""

from typing import Any

from rest.attachments import DOWNLOAD_HEADERS, UPLOAD_PATH, Link, Uploaded
from rest.described import DIGEST_PARAMETERS, FILE_ANSWERS
from rest.documented_apis import API_OPERATIONS
from rest.documented_media import MEDIA_OPERATIONS
from rest.documents import DOCUMENT_HEADERS
from rest.health import HEALTH_PATH, READINESS_PATH, Health
from rest.intake import CONVERSATION_HEADER, FILENAME_HEADER, TICKET_HEADER
from rest.metrics import METRICS_PATH
from rest.operations import Answer, Content, Member, Operation, Parameter, head_of, header_parameters
from schemas import Code, Id, Reason
from storage import DOWNLOAD_PATH

OPENAPI_PATH = "/openapi.json"

# What comes with a file, in a form or as the body itself: here and for the procedures that take one.
FILE_PARAMETERS = (
    Parameter(name=FILENAME_HEADER, place="header", doc="The name of a file that is the body: UTF-8, percent-encoded."),
    Parameter(name=CONVERSATION_HEADER, place="header", doc="Conversation of a file that is the body.", type=Id),
    Parameter(name=TICKET_HEADER, place="header", doc="Ticket of a file that is the body.", type=Id),
    *DIGEST_PARAMETERS,
)
FORM = Content(
    members={
        "file": Member(doc="The file, with its name; the field may also be called `files`.", required=True),
        "conversationId": Member(doc="Conversation of the file.", type=Id),
        "ticketId": Member(doc="Ticket of the file.", type=Id),
    }
)
UPLOAD_ERRORS = (
    *(Code.BAD_REQUEST, Code.FORBIDDEN, Code.TIMEOUT, Reason.ATTACHMENT_TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE),
    *(Reason.INVALID_ATTACHMENT_TYPE, Code.INTERNAL_SERVER_ERROR, Code.SERVICE_UNAVAILABLE),
)
_ANY = Content()
_FAILURES = (Code.INTERNAL_SERVER_ERROR, Code.SERVICE_UNAVAILABLE)

_UPLOAD = Operation(
    id="upload-file",
    tag="files",
    method="POST",
    path=UPLOAD_PATH,
    doc="Keep a file.\n\nA form with one file; the conversation and the ticket it belongs to may stand before or after it.",
    parameters=DIGEST_PARAMETERS,
    body={"multipart/form-data": FORM},
    answers={
        200: Answer(
            doc="It is kept.", content={"application/json": Content(type=Uploaded)}, headers=("location", "repr-digest")
        )
    },
    errors=(Code.UNAUTHORIZED, *UPLOAD_ERRORS),
    credentials=("session", "key"),
)
_DOWNLOAD = Operation(
    id="download-file",
    tag="files",
    method="GET",
    path=DOWNLOAD_PATH,
    doc="The bytes of an attachment, or where they are.\n\nImages and PDF may be shown by a browser, everything else is saved.",
    parameters=(
        Parameter(name="id", place="path", doc="Which attachment.", type=Id, required=True),
        Parameter(name="download", place="query", doc="`1`: save what a browser would show."),
        Parameter(name="exp", place="query", doc="Of a signed link: when it expires, in Unix seconds."),
        Parameter(name="kid", place="query", doc="Of a signed link: the key that signed it."),
        *header_parameters(*(name.decode() for name in DOWNLOAD_HEADERS)),
    ),
    answers=FILE_ANSWERS
    | {
        200: Answer(
            doc="The file; to a client that would rather have JSON its link.",
            content={"application/json": Content(type=Link, or_file=True), "*/*": _ANY},
            headers=FILE_ANSWERS[200].headers,
        ),
    },
    errors=(
        *(Code.UNAUTHORIZED, Code.FORBIDDEN, Code.NOT_FOUND, Code.PRECONDITION_FAILED, "RANGE_NOT_SATISFIABLE"),
        *_FAILURES,
    ),
    credentials=("session", "key"),
    by_link=True,
)
_HEALTHY = {200: Answer(doc="It does.", content={"application/json": Content(type=Health)})}
_HEALTH = Operation(
    id="get-health",
    tag="process",
    method="GET",
    path=HEALTH_PATH,
    doc="Whether the process answers.",
    answers=_HEALTHY,
    errors=(Code.INTERNAL_SERVER_ERROR,),
)
_READINESS = Operation(
    id="get-readiness",
    tag="process",
    method="GET",
    path=READINESS_PATH,
    doc="Whether the database and the storage answer.",
    answers=_HEALTHY,
    errors=_FAILURES,
)
_OPENAPI = Operation(
    id="get-openapi",
    tag="process",
    method="GET",
    path=OPENAPI_PATH,
    doc="This document.",
    parameters=header_parameters(*(name.decode() for name in DOCUMENT_HEADERS)),
    answers={
        200: Answer(doc="It.", content={"application/json": Content(type=dict[str, Any])}, headers=("etag",)),
        304: Answer(doc="The client has it already.", headers=("etag",)),
    },
    errors=(Code.INTERNAL_SERVER_ERROR,),
)
_METRICS = Operation(
    id="get-metrics",
    tag="process",
    method="GET",
    path=METRICS_PATH,
    doc="What the server counts, for Prometheus.\n\nFor whom `metrics.token` or `metrics.allowed_addresses` lets in.",
    parameters=(Parameter(name="authorization", place="header", doc="`Bearer` and `metrics.token`, if that is set."),),
    answers={200: Answer(doc="The metrics.", content={"text/plain": _ANY, "application/openmetrics-text": _ANY})},
    errors=(Code.UNAUTHORIZED, Code.FORBIDDEN, Code.INTERNAL_SERVER_ERROR),
)
OPERATIONS = (
    _UPLOAD,
    _DOWNLOAD,
    head_of(
        _DOWNLOAD, (200, 304), (*(Code.UNAUTHORIZED, Code.FORBIDDEN, Code.NOT_FOUND, Code.PRECONDITION_FAILED), *_FAILURES)
    ),
    *MEDIA_OPERATIONS,
    *(_HEALTH, head_of(_HEALTH, (200,), (Code.INTERNAL_SERVER_ERROR,))),
    *(_READINESS, head_of(_READINESS, (200,), _FAILURES)),
    *(_METRICS, head_of(_METRICS, (200,), (Code.UNAUTHORIZED, Code.FORBIDDEN, Code.INTERNAL_SERVER_ERROR))),
    *API_OPERATIONS,
    *(_OPENAPI, head_of(_OPENAPI, (200, 304), (Code.INTERNAL_SERVER_ERROR,))),
)
