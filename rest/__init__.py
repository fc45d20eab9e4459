"""The plain HTTP handlers, one module an API, and what they share: forms in, files out, errors in JSON."""

from rest.attachments import Authenticate, DownloadHandler, UploadHandler, attachment_routes
from rest.documented import FILE_PARAMETERS, FORM, OPENAPI_PATH, OPERATIONS, UPLOAD_ERRORS
from rest.documents import document_route
from rest.exchanges import BODY_SOCKET, WHOLE_ANSWER, BodySocket, Exchange, NotFound, answer, not_found
from rest.headers import pick
from rest.health import health_routes
from rest.intake import CONVERSATION_HEADER, FILENAME_HEADER, INTAKE_HEADERS, TICKET_HEADER, receive_file, receive_form
from rest.multipart import MultipartReader, boundary_of
from rest.operations import Answer, Content, Operation, Parameter, Refused, RestError
from rest.replies import INTERNAL_ERROR, ErrorAnswer, Reply, error_reply, json_reply, method_not_allowed

__all__ = [
    "BODY_SOCKET",
    "CONVERSATION_HEADER",
    "FILENAME_HEADER",
    "FILE_PARAMETERS",
    "FORM",
    "INTAKE_HEADERS",
    "INTERNAL_ERROR",
    "OPENAPI_PATH",
    "OPERATIONS",
    "TICKET_HEADER",
    "UPLOAD_ERRORS",
    "WHOLE_ANSWER",
    "Answer",
    "Authenticate",
    "BodySocket",
    "Content",
    "DownloadHandler",
    "ErrorAnswer",
    "Exchange",
    "MultipartReader",
    "NotFound",
    "Operation",
    "Parameter",
    "Refused",
    "Reply",
    "RestError",
    "UploadHandler",
    "answer",
    "attachment_routes",
    "boundary_of",
    "document_route",
    "error_reply",
    "health_routes",
    "json_reply",
    "method_not_allowed",
    "not_found",
    "pick",
    "receive_file",
    "receive_form",
]
