"""`/metrics`: what the process counts, for Prometheus.

The numbers tell of no organization, but how busy a server is concerns nobody outside. With a token it is asked for; without
one, only chosen addresses may read. A proxy on the same machine comes from such an address with everybody's requests, so what
a proxy has passed on counts as coming from its client, and from nowhere if that proxy is not trusted.
"""

import hmac
from collections.abc import Awaitable, Callable

import msgspec
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from rest.addresses import Network, client_address
from rest.exchanges import Exchange, answer
from rest.replies import Reply, method_not_allowed
from schemas import Code, ServiceError

METRICS_PATH = "/metrics"
_FORWARDED = b"x-forwarded-for"
# What only proxies add.
_PROXIED = frozenset({_FORWARDED, b"forwarded", b"via", b"x-real-ip", b"x-forwarded-proto", b"x-forwarded-host"})
_HEADERS = _PROXIED | {b"authorization", b"accept"}
_BEARER = b"bearer "

# The media type and the body for a request with that `Accept`.
ReadMetrics = Callable[[str], Awaitable[tuple[str, bytes]]]


class MetricsReaders(msgspec.Struct, frozen=True, kw_only=True):
    """Who may read: with a token whoever bears it, without one whoever comes from one of the networks."""

    token: str = ""
    networks: tuple[Network, ...] = ()
    trusted_proxies: tuple[Network, ...] = ()


class MetricsHandler:
    """GET and HEAD of the metrics."""

    def __init__(self, read: ReadMetrics, readers: MetricsReaders) -> None:
        self._read = read
        self._readers = readers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await answer(self._handle, Exchange(scope, receive, send, _HEADERS))

    async def _handle(self, exchange: Exchange) -> None:
        method = exchange.scope["method"]
        if method not in {"GET", "HEAD"}:
            await exchange.reply(method_not_allowed(method, b"GET, HEAD"))
            return
        if self._readers.token:
            self._check_token(exchange)
        else:
            self._check_address(exchange)
        media_type, body = await self._read(exchange.headers.get(b"accept", b"").decode("latin-1"))
        headers = [(b"content-type", media_type.encode()), (b"cache-control", b"no-store"), (b"vary", b"accept")]
        await exchange.reply(Reply(200, headers, body))

    def _check_token(self, exchange: Exchange) -> None:
        sent = exchange.headers.get(b"authorization", b"")
        is_bearer = sent[: len(_BEARER)].lower() == _BEARER
        if not is_bearer or not hmac.compare_digest(sent[len(_BEARER) :].strip(), self._readers.token.encode()):
            raise ServiceError(Code.UNAUTHORIZED, "authentication required: send metrics.token as `Authorization: Bearer …`")

    def _check_address(self, exchange: Exchange) -> None:
        readers, headers = self._readers, exchange.headers
        client = exchange.scope.get("client")
        peer = client_address(client[0] if client else None, None, ())
        address = peer
        if not _PROXIED.isdisjoint(headers):
            is_trusted = peer is not None and any(peer in network for network in readers.trusted_proxies)
            is_told = is_trusted and _FORWARDED in headers
            address = client_address(str(peer), headers[_FORWARDED], readers.trusted_proxies) if is_told else None
        if address is None or not any(address in network for network in readers.networks):
            raise ServiceError(Code.FORBIDDEN, "metrics are for metrics.allowed_addresses only, or set metrics.token")


def metrics_route(read: ReadMetrics, readers: MetricsReaders) -> Route:
    """The route of the metrics."""
    return Route(METRICS_PATH, MetricsHandler(read, readers))
