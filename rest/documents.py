"""A document that is the same for everyone until the process ends, served as the bytes it was made of at the start."""

import hashlib

from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from rest.conditions import Outcome, evaluate
from rest.exchanges import Exchange, answer
from rest.replies import Reply, method_not_allowed

DOCUMENT_HEADERS = frozenset({b"if-none-match"})
_NO_DATE = b""  # a document has a tag and no date


class DocumentHandler:
    """GET and HEAD of a JSON document; a cache asks each time, and gets 304 until another server has another document."""

    def __init__(self, body: bytes) -> None:
        self._etag = b'"%b"' % hashlib.sha256(body).hexdigest().encode()
        caching = [(b"etag", self._etag), (b"cache-control", b"no-cache")]
        self._whole = Reply(
            200, [(b"content-type", b"application/json"), (b"x-content-type-options", b"nosniff"), *caching], body
        )
        self._not_modified = Reply(304, caching, b"")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await answer(self._handle, Exchange(scope, receive, send, DOCUMENT_HEADERS))

    async def _handle(self, exchange: Exchange) -> None:
        if exchange.scope["method"] not in {"GET", "HEAD"}:
            await exchange.reply(method_not_allowed(exchange.scope["method"], b"GET, HEAD"))
            return
        known = evaluate(exchange.headers, self._etag, _NO_DATE) is Outcome.NOT_MODIFIED
        await exchange.reply(self._not_modified if known else self._whole)


def document_route(path: str, body: bytes) -> Route:
    """The route of a document; whoever asks may have it."""
    return Route(path, DocumentHandler(body))
