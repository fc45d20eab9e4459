"""What the routes of API B take and answer, as `rest/documented.py` has it of the others. Pure."""

from rest.described import CONDITIONS, DIGEST_PARAMETERS, FILE_ANSWERS
from rest.media import MEDIA_FORM, UPLOAD_MEDIA_PATH, MediaAnswer, MediaError
from rest.messages import MESSAGES_PATH, MessageAnswer, MessageInput
from rest.operations import Answer, Content, Member, Operation, Parameter, Refused, head_of
from rest.widget import SESSIONS_PATH, WIDGET_UPLOAD_PATH, WidgetSessionAnswer, WidgetSessionInput
from schemas import Id
from storage import MEDIA_PATH

_AUTH = Refused("AuthError", 401, "www-authenticate")
_PERMISSION = Refused("PermissionError", 403)
_INPUT = Refused("InputError", 400)
_NOT_FOUND = Refused("NotFoundError", 404)
_TOO_LARGE = Refused("TooLargeError", 413)
_RATE = Refused("RateLimitError", 429, "retry-after")
_SILENT = Refused("InputError", 408)
_FAILURES = (Refused("GeneralError", 500), Refused("GeneralError", 503, "retry-after"))
_FILE, _INLINE = MEDIA_FORM.file_fields[0], next(iter(MEDIA_FORM.fields))

_UPLOAD = Operation(
    id="upload-media",
    tag="media",
    method="POST",
    path=UPLOAD_MEDIA_PATH,
    doc="Keep a file for a message.\n\nIt is removed after some days unless it comes to belong to a conversation.",
    parameters=DIGEST_PARAMETERS,
    body={
        "multipart/form-data": Content(
            members={
                _FILE: Member(doc="The file, with its name; the field may also be called `files`.", required=True),
                _INLINE: Member(doc="`true`: shown in a text. Anything else: an attachment.", type=str),
            }
        )
    },
    answers={
        200: Answer(
            doc="It is kept; `url` needs no credential until it expires.",
            content={"application/json": Content(type=MediaAnswer)},
            headers=("repr-digest",),
        )
    },
    errors=(_INPUT, _AUTH, _PERMISSION, _SILENT, _TOO_LARGE, *_FAILURES),
    error_type=MediaError,
    credentials=("session", "key"),
)
_SERVE = Operation(
    id="get-media",
    tag="media",
    method="GET",
    path=MEDIA_PATH,
    doc="The bytes of an attachment, to those who may see it and to those who follow a signed link.",
    parameters=(
        Parameter(name="uuid", place="path", doc="Which attachment.", type=Id, required=True),
        Parameter(name="download", place="query", doc="`1`: save what a browser would show."),
        Parameter(name="exp", place="query", doc="Of a signed link: the last second in which it is good, in Unix seconds."),
        Parameter(name="kid", place="query", doc="Of a signed link: the key that signed it."),
        *CONDITIONS,
    ),
    answers=FILE_ANSWERS,
    errors=(_AUTH, _NOT_FOUND, Refused("InputError", 412), Refused("InputError", 416, "content-range"), *_FAILURES),
    error_type=MediaError,
    credentials=("session", "key", "widget"),
    by_link=True,
)
_SESSION = Operation(
    id="create-widget-session",
    tag="media",
    method="POST",
    path=SESSIONS_PATH,
    doc="Let a visitor's widget into one conversation.",
    body={"application/json": Content(type=WidgetSessionInput)},
    answers={
        200: Answer(doc="The token, shown here only.", content={"application/json": Content(type=WidgetSessionAnswer)}),
    },
    errors=(_INPUT, _AUTH, _PERMISSION, _SILENT, _TOO_LARGE, *_FAILURES),
    error_type=MediaError,
    credentials=("session", "key"),
)
_WIDGET_UPLOAD = Operation(
    id="upload-widget-media",
    tag="media",
    method="POST",
    path=WIDGET_UPLOAD_PATH,
    doc="Keep a file of a visitor, in the conversation of the widget's session.",
    parameters=_UPLOAD.parameters,
    body=_UPLOAD.body,
    answers=_UPLOAD.answers,
    errors=(_INPUT, _AUTH, _SILENT, _TOO_LARGE, _RATE, *_FAILURES),
    error_type=MediaError,
    credentials=("widget",),
)
_MESSAGE = Operation(
    id="send-message",
    tag="media",
    method="POST",
    path=MESSAGES_PATH,
    doc="Send a message by mail.\n\nIts uploads come to belong to the conversation; images that its HTML shows are inside.",
    parameters=(Parameter(name="uuid", place="path", doc="Which conversation.", type=Id, required=True),),
    body={"application/json": Content(type=MessageInput)},
    answers={
        200: Answer(doc="It is kept, and sent from now on.", content={"application/json": Content(type=MessageAnswer)}),
    },
    errors=(_INPUT, _AUTH, _PERMISSION, _SILENT, _TOO_LARGE, *_FAILURES),
    error_type=MediaError,
    credentials=("session", "key"),
)
MEDIA_OPERATIONS = (
    _UPLOAD,
    _SERVE,
    head_of(_SERVE, (200, 304), (_AUTH, _NOT_FOUND, Refused("InputError", 412), *_FAILURES)),
    _SESSION,
    _WIDGET_UPLOAD,
    _MESSAGE,
)
