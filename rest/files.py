"""API C: `POST /files/upload` and `GET`/`HEAD /files/{id}/preview`, also under `/v1` (`apis/C-files.txt`).

An API key alone lets in. `user` is whom the key's application keeps a file for, in words of its own; files that came with one
are given out to the same one only, those of other APIs to every user of the organization.
"""

import uuid
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from urllib.parse import parse_qsl

import msgspec
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from rest.attachments import Authenticate
from rest.delivery import DELIVERY_HEADERS, serve
from rest.digests import digest_field
from rest.exchanges import Exchange, answer
from rest.forms import FormRules, text_of
from rest.intake import FORM_HEADERS, receive_form
from rest.operations import Refused
from rest.rates import Rate, RateLimits
from rest.replies import RANGE_STATUS, RangeRefused, Reply, error_headers, json_reply, method_not_allowed
from schemas import Code, Fault, Principal, Record, ServiceError
from storage import Attachments, Details, Policy, Upload, extension_of

FILES_PREFIXES = ("/files/", "/v1/files/")
UPLOAD_PATHS = ("/files/upload", "/v1/files/upload")
PREVIEW_PATHS = ("/files/{id}/preview", "/v1/files/{id}/preview")
DEFAULT_USER = "DEFAULT-USER"  # whose files are that came without `user`
_FOLDER = "uploads"
_MAX_PARAMETERS = 32

# What the document calls errors, and what it would call those that it leaves out.
FILES_ERRORS: Mapping[Code | Fault, Refused] = {
    Fault.NOT_A_FORM: Refused("no_file_uploaded", 400),
    Fault.NO_FILE: Refused("no_file_uploaded", 400),
    Fault.TOO_MANY_FILES: Refused("too_many_files", 400),
    Fault.NO_FILENAME: Refused("filename_not_exists_error", 400),
    Code.BAD_REQUEST: Refused("invalid_param", 400),
    Code.UNAUTHORIZED: Refused("unauthorized", 401, "www-authenticate"),
    Code.NOT_FOUND: Refused("not_found", 404),
    Code.METHOD_NOT_SUPPORTED: Refused("method_not_allowed", 405),
    Code.TIMEOUT: Refused("request_timeout", 408),
    Code.PRECONDITION_FAILED: Refused("precondition_failed", 412),
    Code.PAYLOAD_TOO_LARGE: Refused("file_too_large", 413),
    Code.UNSUPPORTED_MEDIA_TYPE: Refused("unsupported_file_type", 415),
    Code.TOO_MANY_REQUESTS: Refused("too_many_requests", 429, "retry-after"),
    Code.INTERNAL_SERVER_ERROR: Refused("internal_server_error", 500),
    Code.SERVICE_UNAVAILABLE: Refused("service_unavailable", 503, "retry-after"),
}


RANGE_NOT_SATISFIABLE = "range_not_satisfiable"


class FilesError(msgspec.Struct, frozen=True, kw_only=True):
    """The body of every error: a name for programs, what to mend for people, the status."""

    code: str
    message: str
    status: int


class StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of an upload: every documented member. Of `user` there is a UUID made of it, the same each time."""

    id: str
    name: str
    size: int
    extension: str | None
    mime_type: str | None
    created_by: str | None
    created_at: int
    preview_url: str | None = None
    source_url: str | None = None
    original_url: str | None = None
    user_id: str | None
    tenant_id: str | None
    conversation_id: str | None
    file_key: str | None


class FilesOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What operators decide: what is let in, how often a key may ask (None: as often as it will), how long `user` may be."""

    policy: Policy
    rate: Rate | None
    max_user_characters: int
    idle_timeout_s: float


def files_error(error: ServiceError) -> Reply:
    """The answer that tells the client of an error."""
    refused = FILES_ERRORS.get(error.fault or error.code) or FILES_ERRORS.get(error.code)
    if isinstance(error, RangeRefused):
        refused = Refused(RANGE_NOT_SATISFIABLE, RANGE_STATUS)
    elif refused is None:
        refused = Refused(error.code.name.lower(), error.code.http_status)
    body = FilesError(code=refused.name, message=error.message, status=refused.status)
    return json_reply(refused.status, body, error_headers(error))


def _counted(authenticate: Authenticate, rates: RateLimits, rate: Rate) -> Authenticate:
    """As `authenticate`, with each request of a key counted: one too many raises RateLimited."""

    async def authenticate_and_count(scope: Scope) -> Principal:
        principal = await authenticate(scope)
        await rates.hit("files.rate_limit", rate, principal.user_id)
        return principal

    return authenticate_and_count


class FileUploadHandler:
    """`POST`: one file in a form, with an optional `user`."""

    def __init__(self, attachments: Attachments, caller: Authenticate, options: FilesOptions) -> None:
        self._attachments = attachments
        self._caller = caller
        self._policy = options.policy
        self._max_bytes = options.policy.max_bytes
        self._idle_timeout_s = options.idle_timeout_s
        user = partial(user_of, max_characters=options.max_user_characters)
        self._rules = FormRules(file_fields=("file",), fields={"user": user}, details=_details)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await answer(self._handle, Exchange(scope, receive, send, FORM_HEADERS), files_error)

    async def _handle(self, exchange: Exchange) -> None:
        if exchange.scope["method"] != "POST":
            await exchange.reply(method_not_allowed(exchange.scope["method"], b"POST", files_error))
            return
        principal = await self._caller(exchange.scope)

        def begin(filename: str, least_bytes: int | None) -> Upload:
            return self._attachments.upload(principal, filename, self._policy, least_bytes)

        record = await receive_form(exchange, begin, self._max_bytes, self._idle_timeout_s, self._rules)
        headers = [(b"location", _preview_path(record).encode()), (b"repr-digest", digest_field(record.sha256))]
        await exchange.reply(json_reply(201, _stored(record), headers))


class PreviewHandler:
    """`GET` and `HEAD`: a file for the `user` of the query; `as_attachment=true` saves what a browser would show."""

    def __init__(self, attachments: Attachments, caller: Authenticate, options: FilesOptions) -> None:
        self._attachments = attachments
        self._caller = caller
        self._max_user_characters = options.max_user_characters
        self._send_timeout_s = options.idle_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await answer(self._handle, Exchange(scope, receive, send, DELIVERY_HEADERS), files_error)

    async def _handle(self, exchange: Exchange) -> None:
        scope = exchange.scope
        if scope["method"] not in {"GET", "HEAD"}:
            await exchange.reply(method_not_allowed(scope["method"], b"GET, HEAD", files_error))
            return
        principal = await self._caller(scope)
        query = _query(scope["query_string"])
        user = user_of("user", query.get("user", "").encode(), self._max_user_characters)
        attachment = query.get("as_attachment", "").lower() in {"true", "1"}
        async with await self._attachments.scoped(principal, scope["path_params"]["id"], user) as download:
            await serve(exchange, download, self._send_timeout_s, attachment=attachment)


def files_routes(attachments: Attachments, authenticate: Authenticate, rates: RateLimits, options: FilesOptions) -> list[Route]:
    """The routes of API C. `authenticate` gives the key's principal or raises UNAUTHORIZED."""
    caller = authenticate if options.rate is None else _counted(authenticate, rates, options.rate)
    upload = FileUploadHandler(attachments, caller, options)
    preview = PreviewHandler(attachments, caller, options)
    return [*(Route(path, upload) for path in UPLOAD_PATHS), *(Route(path, preview) for path in PREVIEW_PATHS)]


def user_of(name: str, value: bytes, max_characters: int) -> str:
    """Whom the field or parameter of that name says a file is for; the shared default if it is empty. Raises BAD_REQUEST."""
    text = text_of(name, value)
    if len(text) > max_characters:
        raise ServiceError(Code.BAD_REQUEST, f"{name} exceeds {max_characters} characters")
    if not text.isprintable():
        raise ServiceError(Code.BAD_REQUEST, f"{name} has control characters: remove them")
    return text or DEFAULT_USER


def _details(fields: Mapping[str, str]) -> Details:
    return Details(scope=fields.get("user", DEFAULT_USER), folder=_FOLDER)


def _query(query: bytes) -> dict[str, str]:
    """The parameters by name, the first of each. Raises BAD_REQUEST."""
    try:
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=_MAX_PARAMETERS, errors="strict")
    except ValueError:
        raise ServiceError(Code.BAD_REQUEST, "the query cannot be read: percent-encode its UTF-8") from None
    return dict(reversed(pairs))


def _stored(record: Record) -> StoredFile:
    user_id = str(uuid.uuid5(uuid.UUID(record.organization_id), record.scope or DEFAULT_USER))
    return StoredFile(
        id=record.id,
        name=record.filename,
        size=record.size,
        extension=extension_of(record.filename) or None,
        mime_type=record.content_type,
        created_by=user_id,
        created_at=int(datetime.fromisoformat(record.created_at).timestamp()),
        user_id=user_id,
        tenant_id=record.organization_id,
        conversation_id=record.conversation_id,
        file_key=record.file_key,
    )


def _preview_path(record: Record) -> str:
    return PREVIEW_PATHS[0].replace("{id}", record.id)
