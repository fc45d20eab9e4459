"""API A: `POST /api/upload` and `GET`/`HEAD /api/attachments/{id}/download` (`apis/A-attachments-trpc.txt`)."""

import hashlib
from collections.abc import Awaitable, Callable

import msgspec
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from rest.delivery import DELIVERY_HEADERS, deliver, plan
from rest.digests import digest_field, sha256_of
from rest.exchanges import Exchange, answer, body_too_large
from rest.forms import FileForm, FormRules
from rest.multipart import DEFAULT_LIMITS, MultipartReader, boundary_of
from rest.negotiation import prefers_json
from rest.replies import Reply, json_reply, method_not_allowed
from schemas import Code, Principal, Record, ServiceError
from storage import Attachments, Upload

Authenticate = Callable[[Scope], Awaitable[Principal]]

UPLOAD_PATH = "/api/upload"
DOWNLOAD_PATH = "/api/attachments/{id}/download"
_FORM = FormRules(file_fields=("file", "files"), uuid_fields=("conversationId", "ticketId"))
_DIGESTS = (("Content-Digest", b"content-digest"), ("Repr-Digest", b"repr-digest"))
_UPLOAD_HEADERS = frozenset({b"content-type", b"content-encoding", b"content-digest", b"repr-digest"})
_DOWNLOAD_HEADERS = DELIVERY_HEADERS | {b"accept"}


class Uploaded(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of an upload: exactly the documented members."""

    id: str
    filename: str
    content_type: str
    size: int
    url: str


class UploadHandler:
    """`POST /api/upload`: one file in a form, with optional `conversationId` and `ticketId`."""

    def __init__(self, attachments: Attachments, authenticate: Authenticate, idle_timeout_s: float) -> None:
        self._attachments = attachments
        self._authenticate = authenticate
        self._idle_timeout_s = idle_timeout_s
        self._max_body_bytes = attachments.policy.max_bytes + DEFAULT_LIMITS.envelope_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await answer(self._handle, Exchange(scope, receive, send, _UPLOAD_HEADERS))

    async def _handle(self, exchange: Exchange) -> None:
        if exchange.scope["method"] != "POST":
            await exchange.reply(method_not_allowed(exchange.scope["method"], b"POST"))
            return
        principal = await self._authenticate(exchange.scope)
        reader = MultipartReader(_boundary(exchange))
        announced = _announced(exchange)
        least_bytes = self._least_file_bytes(exchange)

        def begin(filename: str) -> Upload:
            return self._attachments.upload(principal, filename, self._attachments.policy, least_bytes)

        async with FileForm(_FORM, begin) as form:
            content = await self._take(exchange, reader, form, hashed=bool(announced))
            record = await form.commit(_expected(announced - {content}, form.file_digest))
        await exchange.reply(_uploaded(record))

    def _least_file_bytes(self, exchange: Exchange) -> int | None:
        """What the file must have at least, by Content-Length. Raises PAYLOAD_TOO_LARGE when no file may have so much."""
        declared = exchange.declared_bytes()
        if declared is None:
            return None
        if declared > self._max_body_bytes:
            raise body_too_large(self._max_body_bytes)
        return max(declared - DEFAULT_LIMITS.envelope_bytes, 0)

    async def _take(self, exchange: Exchange, reader: MultipartReader, form: FileForm, *, hashed: bool) -> bytes:
        """Read the body to its end into the form; gives its SHA-256 if that is wanted."""
        digest = hashlib.sha256()
        while (data := await exchange.read(self._max_body_bytes, self._idle_timeout_s)) is not None:
            if hashed:
                digest.update(data)
            for event in reader.feed(data):
                await form.take(event)
        reader.close()
        return digest.digest()


class DownloadHandler:
    """`GET` and `HEAD /api/attachments/{id}/download`: the file, or its link for clients that would rather have JSON."""

    def __init__(self, attachments: Attachments, authenticate: Authenticate, base_url: str, send_timeout_s: float) -> None:
        self._attachments = attachments
        self._authenticate = authenticate
        self._base_url = base_url.rstrip("/")
        self._send_timeout_s = send_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await answer(self._handle, Exchange(scope, receive, send, _DOWNLOAD_HEADERS))

    async def _handle(self, exchange: Exchange) -> None:
        scope, request = exchange.scope, exchange.headers
        method = scope["method"]
        if method not in {"GET", "HEAD"}:
            await exchange.reply(method_not_allowed(method, b"GET, HEAD"))
            return
        principal = await self._authenticate(scope)
        async with await self._attachments.download(principal, scope["path_params"]["id"]) as download:
            if prefers_json(request.get(b"accept")):
                await exchange.reply(self._link(download.record))
                return
            planned = plan(method, request, download.record, attachment=b"download=1" in scope["query_string"].split(b"&"))
            if isinstance(planned, Reply):
                await exchange.reply(planned)
            else:
                await deliver(exchange, download, planned, self._send_timeout_s)

    def _link(self, record: Record) -> Reply:
        return json_reply(200, {"url": self._base_url + _path(record)}, [(b"vary", b"accept")])


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


def _boundary(exchange: Exchange) -> bytes:
    coding = exchange.headers.get(b"content-encoding", b"identity").strip().lower()
    if coding != b"identity":
        raise ServiceError(Code.UNSUPPORTED_MEDIA_TYPE, "Content-Encoding is not supported: send the form as it is")
    return boundary_of(exchange.headers.get(b"content-type", b""))


def _announced(exchange: Exchange) -> set[bytes]:
    """The SHA-256 values that the request's headers announce."""
    fields = [sha256_of(field, exchange.headers[name]) for field, name in _DIGESTS if name in exchange.headers]
    return {digest for digest in fields if digest is not None}


def _expected(announced: set[bytes], file_digest: bytes | None) -> set[bytes]:
    """The one SHA-256 that the file must have, if any was announced that is not the content's.

    RFC 9530 (2) lets Content-Digest speak of the request's content, which for a form is the form. Clients that mean the file
    are understood too: they have its digest at hand, not that of a body which their library writes.
    """
    expected = announced if file_digest is None else announced | {file_digest}
    if len(expected) > 1:
        raise ServiceError(Code.BAD_REQUEST, "the digests that came with the file contradict each other")
    return expected


def _uploaded(record: Record) -> Reply:
    path = _path(record)
    answer = Uploaded(id=record.id, filename=record.filename, content_type=record.content_type, size=record.size, url=path)
    # Repr-Digest is of what Location names, the stored file: the client can compare it with what it sent.
    return json_reply(200, answer, [(b"location", path.encode()), (b"repr-digest", digest_field(record.sha256))])


def _path(record: Record) -> str:
    return DOWNLOAD_PATH.replace("{id}", record.id)
