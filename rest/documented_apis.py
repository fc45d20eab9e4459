"""What the routes of APIs C and D take and answer; as `rest/documented.py`. Pure."""

from typing import Annotated

import msgspec

from rest.chat import (
    CHAT_ERRORS,
    CHAT_FILE_PATH,
    CHAT_REDIRECT_PATH,
    CHAT_UPLOAD_PATH,
    SESSION_PATTERN,
    ChatError,
    ChatFile,
)
from rest.described import CONDITIONS, DIGEST_PARAMETERS, FILE_ANSWERS
from rest.files import FILES_ERRORS, PREVIEW_PATHS, RANGE_NOT_SATISFIABLE, UPLOAD_PATHS, FilesError, StoredFile
from rest.operations import Answer, Content, Member, Operation, Parameter, Refused, head_of
from rest.replies import RANGE_STATUS
from schemas import Code, Fault, Id, Reason

_ID = Parameter(name="id", place="path", doc="Which file.", type=Id, required=True)


_RANGE = Refused(RANGE_NOT_SATISFIABLE, RANGE_STATUS, "content-range")


def _files_errors(*errors: Code | Fault) -> tuple[Refused, ...]:
    return tuple(dict.fromkeys(FILES_ERRORS[error] for error in errors))


_ALWAYS = (Code.UNAUTHORIZED, Code.TOO_MANY_REQUESTS, Code.INTERNAL_SERVER_ERROR, Code.SERVICE_UNAVAILABLE)
_FILE_UPLOAD = Operation(
    id="files-upload",
    tag="files API",
    method="POST",
    path=UPLOAD_PATHS[0],
    doc="Keep a file for a user of an application.\n\nThe user may stand before or after the file.",
    parameters=DIGEST_PARAMETERS,
    body={
        "multipart/form-data": Content(
            members={
                "file": Member(doc="The file, with its name.", required=True),
                "user": Member(doc="Whom the file is kept for, in the application's own words.", type=str),
            }
        )
    },
    answers={
        201: Answer(
            doc="It is kept.",
            content={"application/json": Content(type=StoredFile)},
            headers=("location", "repr-digest"),
        )
    },
    errors=_files_errors(
        *(Fault.NO_FILE, Fault.TOO_MANY_FILES, Fault.NO_FILENAME, Code.BAD_REQUEST, Code.TIMEOUT),
        *(Code.PAYLOAD_TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE, *_ALWAYS),
    ),
    error_type=FilesError,
    credentials=("key",),
)
_PREVIEW = Operation(
    id="files-preview",
    tag="files API",
    method="GET",
    path=PREVIEW_PATHS[0],
    doc="A file, for the user that it is kept for.\n\nFiles of the other APIs are for every user of the organization.",
    parameters=(
        _ID,
        Parameter(name="user", place="query", doc="Whom the file is kept for; without it the shared default user."),
        Parameter(name="as_attachment", place="query", doc="`true`: save what a browser would show."),
        *CONDITIONS,
    ),
    answers=FILE_ANSWERS,
    errors=(*_files_errors(Code.BAD_REQUEST, Code.NOT_FOUND, Code.PRECONDITION_FAILED, *_ALWAYS), _RANGE),
    error_type=FilesError,
    credentials=("key",),
)
_PREVIEW_HEAD = head_of(
    _PREVIEW, (200, 304), _files_errors(Code.BAD_REQUEST, Code.NOT_FOUND, Code.PRECONDITION_FAILED, *_ALWAYS)
)


def _chat_error(what: Code | Fault | Reason, *, header: str = "") -> Refused:
    status, text = CHAT_ERRORS[what]
    return Refused(f'"{text}"', status, header)


_SessionId = Annotated[str, msgspec.Meta(pattern=SESSION_PATTERN)]
_CHAT_FAILURES = (Code.INTERNAL_SERVER_ERROR, Code.SERVICE_UNAVAILABLE)
_CHAT_UPLOAD = Operation(
    id="chat-upload",
    tag="chat API",
    method="POST",
    path=CHAT_UPLOAD_PATH,
    doc="Keep a file of a chat.\n\nThe answer has a public link, which never expires and dies with the file.",
    parameters=DIGEST_PARAMETERS,
    body={
        "multipart/form-data": Content(
            members={
                "file": Member(doc="The file, with its name.", required=True),
                "session_id": Member(doc="The session of the chat.", type=_SessionId),
            }
        )
    },
    answers={200: Answer(doc="It is kept.", content={"application/json": Content(type=ChatFile)})},
    errors=(
        *(_chat_error(Fault.NO_FILE), _chat_error(Reason.INVALID_ATTACHMENT_TYPE), Code.BAD_REQUEST),
        *(_chat_error(Code.UNAUTHORIZED, header="www-authenticate"), Code.TIMEOUT, _chat_error(Code.PAYLOAD_TOO_LARGE)),
        *(Code.UNSUPPORTED_MEDIA_TYPE, *_CHAT_FAILURES),
    ),
    error_type=ChatError,
    credentials=("token",),
)
_CHAT_REDIRECT = Operation(
    id="chat-upload-redirect",
    tag="chat API",
    method="POST",
    path=CHAT_REDIRECT_PATH,
    doc="To the upload, whose path ends in a slash.",
    answers={307: Answer(doc="Send it there.", headers=("location",))},
    errors=(Code.INTERNAL_SERVER_ERROR,),
    error_type=ChatError,
)
_CHAT_FILE = Operation(
    id="chat-file",
    tag="chat API",
    method="GET",
    path=CHAT_FILE_PATH,
    doc="The file of a public link.\n\nWhoever has the link may read it, until the file is deleted.",
    parameters=(
        Parameter(name="folder", place="path", doc="Session, store or admin; for people.", required=True),
        _ID,
        Parameter(name="capability", place="path", doc="The secret of the link.", required=True),
        Parameter(name="name", place="path", doc="The file's name; for people.", required=True),
        *CONDITIONS,
    ),
    answers=FILE_ANSWERS,
    errors=(*(_chat_error(Code.NOT_FOUND), Code.PRECONDITION_FAILED, "RANGE_NOT_SATISFIABLE", *_CHAT_FAILURES),),
    error_type=ChatError,
)
API_OPERATIONS = (
    _FILE_UPLOAD,
    msgspec.structs.replace(_FILE_UPLOAD, id="files-upload-v1", path=UPLOAD_PATHS[1]),
    *(_PREVIEW, _PREVIEW_HEAD),
    msgspec.structs.replace(_PREVIEW, id="files-preview-v1", path=PREVIEW_PATHS[1]),
    msgspec.structs.replace(_PREVIEW_HEAD, id="files-preview-v1-head", path=PREVIEW_PATHS[1]),
    *(_CHAT_UPLOAD, _CHAT_REDIRECT, _CHAT_FILE),
    head_of(_CHAT_FILE, (200, 304), (_chat_error(Code.NOT_FOUND), Code.PRECONDITION_FAILED, *_CHAT_FAILURES)),
)
