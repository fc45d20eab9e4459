"""API B: `POST /api/v1/media` and `GET`/`HEAD /uploads/{uuid}` (`apis/B-media.txt`), and what its other handlers share.

Success is wrapped in `data`; what fails says so in API B's shape:

    {"status": "error", "message": "the file exceeds …", "data": null, "error_type": "TooLargeError"}
"""

from collections.abc import Mapping
from typing import Literal

import msgspec
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from rest.attachments import Authenticate
from rest.delivery import DELIVERY_HEADERS, serve
from rest.digests import digest_field
from rest.disposition import content_disposition
from rest.exchanges import Exchange, answer
from rest.forms import FormRules, text_of
from rest.intake import FORM_HEADERS, receive_form
from rest.replies import RANGE_STATUS, RangeRefused, Reply, error_headers, json_reply, method_not_allowed
from schemas import Code, Record, ServiceError
from storage import MEDIA_PATH, Attachments, Details, Download, Policy, Upload, is_signed

UPLOAD_MEDIA_PATH = "/api/v1/media"
ErrorType = Literal[
    "AuthError", "PermissionError", "InputError", "NotFoundError", "TooLargeError", "RateLimitError", "GeneralError"
]
# Status and word of each code. What is wrong with a form or its file is 400, whatever HTTP would have; what API B does not name
# keeps the status that clients and proxies know what to do with.
_ERRORS: Mapping[Code, tuple[int, ErrorType]] = {
    Code.BAD_REQUEST: (400, "InputError"),
    Code.UNSUPPORTED_MEDIA_TYPE: (400, "InputError"),
    Code.UNAUTHORIZED: (401, "AuthError"),
    Code.FORBIDDEN: (403, "PermissionError"),
    Code.NOT_FOUND: (404, "NotFoundError"),
    Code.METHOD_NOT_SUPPORTED: (405, "InputError"),
    Code.TIMEOUT: (408, "InputError"),
    Code.CONFLICT: (409, "InputError"),
    Code.PRECONDITION_FAILED: (412, "InputError"),
    Code.PAYLOAD_TOO_LARGE: (413, "TooLargeError"),
    Code.TOO_MANY_REQUESTS: (429, "RateLimitError"),
    Code.SERVICE_UNAVAILABLE: (503, "GeneralError"),
}


class MediaError(msgspec.Struct, frozen=True, kw_only=True):
    """The body of every error of API B."""

    status: Literal["error"] = "error"
    message: str
    data: None = None
    error_type: ErrorType


class Media(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was taken: exactly the documented members; `url` needs no credential until it expires."""

    uuid: str
    filename: str
    content_type: str
    size: int
    url: str
    inline: bool


class MediaAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of an upload."""

    data: Media


# What a credential may be refused with and a signed link still lead to the file.
_UNDECIDED = frozenset({Code.UNAUTHORIZED, Code.NOT_FOUND})


def render_media(error: ServiceError) -> Reply:
    """An error as API B tells it."""
    status, error_type = _ERRORS.get(error.code, (500, "GeneralError"))
    if isinstance(error, RangeRefused):
        status = RANGE_STATUS
    return json_reply(status, MediaError(message=error.message, error_type=error_type), error_headers(error))


def _details(fields: Mapping[str, str]) -> Details:
    return Details(inline=fields.get("inline") == "true", media=True)


MEDIA_FORM = FormRules(file_fields=("file", "files"), fields={"inline": text_of}, details=_details)


class MediaUploadHandler:
    """An upload of API B: one file in a form, and whether it is `inline`. `authenticate` gives who may, or refuses."""

    def __init__(self, attachments: Attachments, policy: Policy, authenticate: Authenticate, idle_timeout_s: float) -> None:
        self._attachments = attachments
        self._policy = policy
        self._authenticate = authenticate
        self._idle_timeout_s = idle_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await answer(self._handle, Exchange(scope, receive, send, FORM_HEADERS), render_media)

    async def _handle(self, exchange: Exchange) -> None:
        if exchange.scope["method"] != "POST":
            await exchange.reply(method_not_allowed(exchange.scope["method"], b"POST", render_media))
            return
        principal = await self._authenticate(exchange.scope)

        def begin(filename: str, least_bytes: int | None) -> Upload:
            return self._attachments.upload(principal, filename, self._policy, least_bytes)

        record = await receive_form(exchange, begin, self._policy.max_bytes, self._idle_timeout_s, MEDIA_FORM)
        await exchange.reply(_uploaded(record, await url_of(self._attachments, record)))


class MediaHandler:
    """`GET` and `HEAD /uploads/{uuid}`: the file, to those who may see it and to those who follow a signed link."""

    def __init__(self, attachments: Attachments, authenticate: Authenticate, send_timeout_s: float) -> None:
        self._attachments = attachments
        self._authenticate = authenticate
        self._send_timeout_s = send_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await answer(self._handle, Exchange(scope, receive, send, DELIVERY_HEADERS), render_media)

    async def _handle(self, exchange: Exchange) -> None:
        if exchange.scope["method"] not in {"GET", "HEAD"}:
            await exchange.reply(method_not_allowed(exchange.scope["method"], b"GET, HEAD", render_media))
            return
        async with await self._open(exchange.scope) as download:
            await serve(exchange, download, self._send_timeout_s)

    async def _open(self, scope: Scope) -> Download:
        """The file by the caller's credential, or else by the link: who has a right link gets the file, logged in or not.

        Raises UNAUTHORIZED for whatever is wrong with both, NOT_FOUND when the caller is known and sees no such file.
        """
        id, query = scope["path_params"]["uuid"], scope["query_string"]
        try:
            return await self._attachments.download(await self._authenticate(scope), id)
        except ServiceError as refused:
            if refused.code not in _UNDECIDED or not is_signed(query):
                raise
            try:
                return await self._attachments.follow_media(id, query)
            except ServiceError as error:
                raise _link_refused(refused, error) from error


def _link_refused(refused: ServiceError, error: ServiceError) -> ServiceError:
    """What is said of a link that is no good: to those without a credential 401 in any case, as API B has it."""
    if error.code not in (Code.FORBIDDEN, Code.UNAUTHORIZED):
        return error
    return ServiceError(Code.UNAUTHORIZED, error.message) if refused.code is Code.UNAUTHORIZED else refused


def media_routes(attachments: Attachments, authenticate: Authenticate, policy: Policy, *, idle_timeout_s: float) -> list[Route]:
    """The routes of API B for agents and programs. `authenticate` gives a request's caller or raises UNAUTHORIZED or FORBIDDEN.

    A client that sends or takes nothing for `idle_timeout_s` is left.
    """
    return [
        Route(UPLOAD_MEDIA_PATH, MediaUploadHandler(attachments, policy, authenticate, idle_timeout_s)),
        Route(MEDIA_PATH, MediaHandler(attachments, authenticate, idle_timeout_s)),
    ]


async def url_of(attachments: Attachments, record: Record) -> str:
    """A URL of the file that needs no credential until it expires: at the store where that hands files out, else here."""
    disposition = content_disposition(record.filename, record.content_type, attachment=False)
    return attachments.link(record, disposition.decode()) or (await attachments.media_url(record.id)).url


def media_of(record: Record, url: str) -> Media:
    """A file as API B shows it; `url` is a link to it."""
    return Media(
        uuid=record.id,
        filename=record.filename,
        content_type=record.content_type,
        size=record.size,
        url=url,
        inline=record.inline,
    )


def _uploaded(record: Record, url: str) -> Reply:
    return json_reply(200, MediaAnswer(data=media_of(record, url)), [(b"repr-digest", digest_field(record.sha256))])
