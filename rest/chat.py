"""API D: `POST /v1/chat/upload/`, and the public links that it answers with (`apis/D-chat.txt`).

Consumers keep the link for ever, so it holds a secret instead of a signature: whoever has it may read the file, until the file
is deleted. Of its path only the id and the secret count; the rest is the documented key, for people.
"""

import re
from collections.abc import Mapping
from urllib.parse import quote

import msgspec
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from rest.attachments import Authenticate
from rest.delivery import DELIVERY_HEADERS, serve
from rest.exchanges import Exchange, answer
from rest.forms import FormRules
from rest.intake import FORM_HEADERS, receive_form
from rest.replies import RANGE_STATUS, RangeRefused, Reply, error_headers, json_reply, method_not_allowed
from schemas import Code, Fault, Principal, Reason, Record, ServiceError
from storage import Attachments, Details, Policy, Upload, capability_hash, fresh_capability

CHAT_PREFIXES = ("/v1/chat/", "/chat/")
CHAT_UPLOAD_PATH = "/v1/chat/upload/"
CHAT_REDIRECT_PATH = "/v1/chat/upload"
CHAT_FILE_PATH = "/chat/{folder}/{id}/{capability}/{name}"
_ROLES = frozenset({"admin", "store"})  # whose tokens upload
SESSION_PATTERN = r"\A[A-Za-z0-9_-]{1,64}\Z"
_SESSION = re.compile(SESSION_PATTERN.encode())
_TOKEN_SCHEME = (b"www-authenticate", b'Token realm="api"')

# What the document has clients read, and with which status; other errors say what to mend, with the status of their code.
CHAT_ERRORS: Mapping[Code | Fault | Reason, tuple[int, str]] = {
    Fault.NOT_A_FORM: (400, "file is required"),
    Fault.NO_FILE: (400, "file is required"),
    Fault.NO_FILENAME: (400, "file is required"),
    Reason.INVALID_ATTACHMENT_TYPE: (400, "Unsupported file type"),
    Code.UNAUTHORIZED: (401, "Unauthorized"),
    Code.NOT_FOUND: (404, "Not found"),
    Code.PAYLOAD_TOO_LARGE: (413, "File too large"),
}


class ChatError(msgspec.Struct, frozen=True, kw_only=True):
    """The body of every error."""

    error: str


class ChatFile(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of an upload: the public link of the file, and its MIME type."""

    url: str
    type: str


class ChatOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What operators decide: what is let in, the origin that links begin with, when a silent client is left."""

    policy: Policy
    base_url: str
    idle_timeout_s: float


def chat_error(error: ServiceError) -> Reply:
    """The answer that tells the client of an error."""
    status, text = error.code.http_status, error.message
    if isinstance(error, RangeRefused):
        status = RANGE_STATUS
    for what in (error.fault, error.reason, error.code):
        if what is not None and what in CHAT_ERRORS:
            status, text = CHAT_ERRORS[what]
            break
    headers = [_TOKEN_SCHEME] if error.code is Code.UNAUTHORIZED else error_headers(error)
    return json_reply(status, ChatError(error=text), headers)


class ChatUploadHandler:
    """`POST`: one file in a form, with an optional `session_id`."""

    def __init__(self, attachments: Attachments, authenticate: Authenticate, options: ChatOptions) -> None:
        self._attachments = attachments
        self._authenticate = authenticate
        self._options = options
        self._max_bytes = options.policy.max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await answer(self._handle, Exchange(scope, receive, send, FORM_HEADERS), chat_error)

    async def _handle(self, exchange: Exchange) -> None:
        if exchange.scope["method"] != "POST":
            await exchange.reply(method_not_allowed(exchange.scope["method"], b"POST", chat_error))
            return
        principal = await self._authenticate(exchange.scope)
        if principal.role not in _ROLES:
            raise ServiceError(Code.UNAUTHORIZED, "only tokens of stores and admins upload here")
        capability = fresh_capability()

        def begin(filename: str, least_bytes: int | None) -> Upload:
            return self._attachments.upload(principal, filename, self._options.policy, least_bytes)

        def details(fields: Mapping[str, str]) -> Details:
            folder = folder_of(principal, fields.get("session_id"))
            return Details(folder=folder, capability_hash=capability_hash(capability))

        rules = FormRules(file_fields=("file",), fields={"session_id": _session}, details=details)
        record = await receive_form(exchange, begin, self._max_bytes, self._options.idle_timeout_s, rules)
        url = self._options.base_url.rstrip("/") + _path(record, capability)
        await exchange.reply(json_reply(200, ChatFile(url=url, type=record.content_type)))


class ChatRedirectHandler:
    """The upload without its last slash: 307, which repeats the request as it was."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await answer(self._handle, Exchange(scope, receive, send, frozenset()), chat_error)

    async def _handle(self, exchange: Exchange) -> None:
        if exchange.scope["method"] != "POST":
            await exchange.reply(method_not_allowed(exchange.scope["method"], b"POST", chat_error))
            return
        query = exchange.scope["query_string"]
        location = CHAT_UPLOAD_PATH.encode() + (b"?" + query if query else b"")
        await exchange.reply(Reply(307, [(b"location", location)], b""))


class ChatFileHandler:
    """`GET` and `HEAD` of a public link."""

    def __init__(self, attachments: Attachments, send_timeout_s: float) -> None:
        self._attachments = attachments
        self._send_timeout_s = send_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await answer(self._handle, Exchange(scope, receive, send, DELIVERY_HEADERS), chat_error)

    async def _handle(self, exchange: Exchange) -> None:
        method, path = exchange.scope["method"], exchange.scope["path_params"]
        if method not in {"GET", "HEAD"}:
            await exchange.reply(method_not_allowed(method, b"GET, HEAD", chat_error))
            return
        async with await self._attachments.public(path["id"], path["capability"]) as download:
            await serve(exchange, download, self._send_timeout_s, public=True)


def chat_routes(attachments: Attachments, authenticate: Authenticate, options: ChatOptions) -> list[Route]:
    """The routes of API D. `authenticate` gives the principal of a token or raises UNAUTHORIZED."""
    return [
        Route(CHAT_UPLOAD_PATH, ChatUploadHandler(attachments, authenticate, options)),
        Route(CHAT_REDIRECT_PATH, ChatRedirectHandler()),
        Route(CHAT_FILE_PATH, ChatFileHandler(attachments, options.idle_timeout_s)),
    ]


def folder_of(principal: Principal, session_id: str | None) -> str:
    """Where the document keeps files of the session, or of whoever uploads without one."""
    if session_id is not None:
        return f"chat/session-{session_id}"
    return f"chat/{principal.role}-{principal.user_id}" if principal.role in _ROLES else "chat/general"


def _session(name: str, value: bytes) -> str:
    if not _SESSION.match(value):
        raise ServiceError(Code.BAD_REQUEST, f"{name} must have 1 to 64 letters, digits, - and _")
    return value.decode()


def _path(record: Record, capability: str) -> str:
    """The documented key with the secret before its name."""
    folder, _, rest = (record.file_key or "").partition(f"/{record.id}/")
    return f"/{folder}/{record.id}/{capability}/{quote(rest, safe='')}"
