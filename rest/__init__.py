"""The plain HTTP handlers, one module an API, and what they share: forms in, files out, errors in JSON."""

from rest.addresses import Network, parse_networks
from rest.attachments import Authenticate, DownloadHandler, UploadHandler, attachment_routes
from rest.boundary import boundary_of
from rest.chat import CHAT_PREFIXES, ChatOptions, chat_error, chat_routes
from rest.documented import FILE_PARAMETERS, FORM, OPENAPI_PATH, OPERATIONS, UPLOAD_ERRORS
from rest.documents import document_route
from rest.exchanges import (
    BODY_BYTES,
    BODY_SOCKET,
    NO_ROUTE,
    WHOLE_ANSWER,
    WHOLE_BODY,
    BodySocket,
    Busy,
    Exchange,
    NotFound,
    Shapes,
    answer,
    not_found,
)
from rest.files import FILES_PREFIXES, FilesOptions, files_error, files_routes
from rest.headers import lines_of, pick
from rest.health import health_routes
from rest.intake import CONVERSATION_HEADER, FILENAME_HEADER, INTAKE_HEADERS, TICKET_HEADER, receive_file, receive_form
from rest.media import media_routes, render_media
from rest.messages import message_routes
from rest.metrics import METRICS_PATH, MetricsReaders, metrics_route
from rest.multipart import MultipartReader
from rest.operations import Answer, Content, Operation, Parameter, Refused, RestError
from rest.rates import MEMORY, REDIS_SCHEMES, Rate, RateLimits, parse_rate
from rest.replies import (
    INTERNAL_ERROR,
    ErrorAnswer,
    Reply,
    error_headers,
    error_reply,
    json_reply,
    method_not_allowed,
    retry_after_s,
)
from rest.widget import WidgetRules, widget_routes

__all__ = [
    "BODY_BYTES",
    "BODY_SOCKET",
    "CHAT_PREFIXES",
    "CONVERSATION_HEADER",
    "FILENAME_HEADER",
    "FILES_PREFIXES",
    "FILE_PARAMETERS",
    "FORM",
    "INTAKE_HEADERS",
    "INTERNAL_ERROR",
    "MEMORY",
    "METRICS_PATH",
    "NO_ROUTE",
    "OPENAPI_PATH",
    "OPERATIONS",
    "REDIS_SCHEMES",
    "TICKET_HEADER",
    "UPLOAD_ERRORS",
    "WHOLE_ANSWER",
    "WHOLE_BODY",
    "Answer",
    "Authenticate",
    "BodySocket",
    "Busy",
    "ChatOptions",
    "Content",
    "DownloadHandler",
    "ErrorAnswer",
    "Exchange",
    "FilesOptions",
    "MetricsReaders",
    "MultipartReader",
    "Network",
    "NotFound",
    "Operation",
    "Parameter",
    "Rate",
    "RateLimits",
    "Refused",
    "Reply",
    "RestError",
    "Shapes",
    "UploadHandler",
    "WidgetRules",
    "answer",
    "attachment_routes",
    "boundary_of",
    "chat_error",
    "chat_routes",
    "document_route",
    "error_headers",
    "error_reply",
    "files_error",
    "files_routes",
    "health_routes",
    "json_reply",
    "lines_of",
    "media_routes",
    "message_routes",
    "method_not_allowed",
    "metrics_route",
    "not_found",
    "parse_networks",
    "parse_rate",
    "pick",
    "receive_file",
    "receive_form",
    "render_media",
    "retry_after_s",
    "widget_routes",
]
