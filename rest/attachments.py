"""API A: `POST /api/upload` and `GET`/`HEAD /api/attachments/{id}/download` (`apis/A-attachments-trpc.txt`)."""

from collections.abc import Awaitable, Callable

import msgspec
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from rest.delivery import DELIVERY_HEADERS, serve
from rest.digests import digest_field
from rest.exchanges import Exchange, answer
from rest.intake import FORM_HEADERS, receive_form
from rest.negotiation import prefers_json
from rest.replies import Reply, json_reply, method_not_allowed
from schemas import Code, Principal, Record, ServiceError
from storage import DOWNLOAD_PATH, Attachments, Download, Upload, is_signed

Authenticate = Callable[[Scope], Awaitable[Principal]]

UPLOAD_PATH = "/api/upload"
DOWNLOAD_HEADERS = DELIVERY_HEADERS | {b"accept"}


class Uploaded(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of an upload: exactly the documented members."""

    id: str
    filename: str
    content_type: str
    size: int
    url: str


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """Where the file of an attachment is."""

    url: str


class UploadHandler:
    """`POST /api/upload`: one file in a form, with optional `conversationId` and `ticketId`."""

    def __init__(self, attachments: Attachments, authenticate: Authenticate, idle_timeout_s: float) -> None:
        self._attachments = attachments
        self._authenticate = authenticate
        self._max_bytes = attachments.policy.max_bytes
        self._idle_timeout_s = idle_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await answer(self._handle, Exchange(scope, receive, send, FORM_HEADERS))

    async def _handle(self, exchange: Exchange) -> None:
        if exchange.scope["method"] != "POST":
            await exchange.reply(method_not_allowed(exchange.scope["method"], b"POST"))
            return
        principal = await self._authenticate(exchange.scope)
        attachments = self._attachments

        def begin(filename: str, least_bytes: int | None) -> Upload:
            return attachments.upload(principal, filename, attachments.policy, least_bytes)

        record = await receive_form(exchange, begin, self._max_bytes, self._idle_timeout_s)
        await exchange.reply(_uploaded(record))


class DownloadHandler:
    """`GET` and `HEAD /api/attachments/{id}/download`: the file, or its link for clients that would rather have JSON."""

    def __init__(self, attachments: Attachments, authenticate: Authenticate, base_url: str, send_timeout_s: float) -> None:
        self._attachments = attachments
        self._authenticate = authenticate
        self._base_url = base_url.rstrip("/")
        self._send_timeout_s = send_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await answer(self._handle, Exchange(scope, receive, send, DOWNLOAD_HEADERS))

    async def _handle(self, exchange: Exchange) -> None:
        scope, request = exchange.scope, exchange.headers
        method = scope["method"]
        if method not in {"GET", "HEAD"}:
            await exchange.reply(method_not_allowed(method, b"GET, HEAD"))
            return
        signed = is_signed(scope["query_string"])
        async with await (self._follow(scope) if signed else self._open(scope)) as download:
            if not signed and prefers_json(request.get(b"accept")):
                await exchange.reply(self._link(download.record))
                return
            await serve(exchange, download, self._send_timeout_s)

    async def _open(self, scope: Scope) -> Download:
        return await self._attachments.download(await self._authenticate(scope), scope["path_params"]["id"])

    async def _follow(self, scope: Scope) -> Download:
        """The file of a signed link. A link that is no good any more still serves those who need none."""
        try:
            return await self._attachments.follow(scope["path_params"]["id"], scope["query_string"])
        except ServiceError as refused:
            if refused.code not in (Code.FORBIDDEN, Code.UNAUTHORIZED):
                raise
            try:
                return await self._open(scope)
            except ServiceError as error:
                raise (refused if error.code is Code.UNAUTHORIZED else error) from error

    def _link(self, record: Record) -> Reply:
        return json_reply(200, Link(url=self._base_url + _path(record)), [(b"vary", b"accept")])


def attachment_routes(
    attachments: Attachments, authenticate: Authenticate, *, base_url: str, idle_timeout_s: float
) -> list[Route]:
    """The routes of API A. `authenticate` gives a request's caller or raises UNAUTHORIZED or FORBIDDEN.

    `base_url` begins the links that are handed out; a client that sends or takes nothing for `idle_timeout_s` is left.
    """
    # Without `methods` every method comes to the handler, which answers 405 in the shape of the API.
    return [
        Route(UPLOAD_PATH, UploadHandler(attachments, authenticate, idle_timeout_s)),
        Route(DOWNLOAD_PATH, DownloadHandler(attachments, authenticate, base_url, idle_timeout_s)),
    ]


def _uploaded(record: Record) -> Reply:
    path = _path(record)
    answer = Uploaded(id=record.id, filename=record.filename, content_type=record.content_type, size=record.size, url=path)
    # Repr-Digest is of what Location names, the stored file: the client can compare it with what it sent.
    return json_reply(200, answer, [(b"location", path.encode()), (b"repr-digest", digest_field(record.sha256))])


def _path(record: Record) -> str:
    return DOWNLOAD_PATH.replace("{id}", record.id)
