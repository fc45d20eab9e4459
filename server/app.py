"""The wiring: from settings to an ASGI application.

Everything that holds a resource is opened at start-up and closed in reverse.
"""

import asyncio
import itertools
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Never

from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from procedures import Router as ProcedureRouter
from procedures import app_router
from rest import (
    BODY_BYTES,
    CONVERSATION_HEADER,
    FILENAME_HEADER,
    TICKET_HEADER,
    WHOLE_ANSWER,
    Busy,
    NotFound,
    RateLimits,
)
from schemas import ServiceError
from server import openapi
from server.credentials import Authenticator
from server.mail import Delivery, delivery
from server.observing import Observing
from server.routes import rest_routes, shapes
from server.settings import Settings
from server.state import BEGIN_SHUTDOWN, BUSY, UPGRADES
from server.stores import open_settled
from server.transports import (
    Limits,
    LineStreams,
    StreamLimits,
    Streams,
    Subscriptions,
    TrpcEndpoint,
    WebSocketEndpoint,
)
from server.trpc.requests import Rules
from storage import Store

TRPC_PREFIX = "/api/trpc/"
TRPC_ROUTE = f"{TRPC_PREFIX}{{procedure}}"
_TRY_AGAIN_S = 1.0  # after a start that failed, another worker is tried
CLIENT_CLOSED = 499  # in the log: the client went away before anything was answered (nginx's status for it)
# What pages of allowed origins may send and read beside the safelisted headers (Fetch standard).
CORS_REQUEST_HEADERS = (
    *("content-type", "authorization", "content-digest", "repr-digest", "range", "if-none-match", "if-range", "trpc-accept"),
    *(FILENAME_HEADER, CONVERSATION_HEADER, TICKET_HEADER),
    "last-event-id",
)
CORS_EXPOSED_HEADERS = (
    "content-disposition",
    "content-range",
    "etag",
    "location",
    "repr-digest",
    "retry-after",
    "x-request-id",
)


def create_app(settings: Settings, routers: Iterable[ProcedureRouter] = (), shared: Path | None = None) -> "App":
    """The application of these settings; `routers` are merged beside the procedures of attachd.

    `shared` is a folder for all workers of the server, through which they know each other's metrics; None for one alone.

    Does no I/O: the store is opened by the lifespan. Raises TypeError when the procedures cannot be frozen.
    """
    return App(settings, routers, shared)


class App:
    """The ASGI application: routes requests to the tRPC endpoint and to the REST handlers, names and logs them."""

    def __init__(self, settings: Settings, routers: Iterable[ProcedureRouter], shared: Path | None = None) -> None:
        router = app_router()
        for other in routers:
            router.merge(other)
        self._settings = settings
        self._procedures = router.freeze(check_outputs=settings.server.development)
        self._shared = shared
        self._observing: Observing | None = None
        # Unique over processes and restarts, and cheap: random once, then counted.
        prefix = secrets.token_hex(6)
        self._next_request_id = (f"{prefix}-{number:x}" for number in itertools.count(1)).__next__
        self._store: Store | None = None
        self._sockets: WebSocketEndpoint | None = None
        self._delivery: Delivery | None = None
        self._rates: RateLimits | None = None
        # What each transport does when the process begins to stop.
        self._endings: list[Callable[[], None]] = []
        self._shapes = shapes(TRPC_PREFIX)
        self._refuse = Busy(self._shapes)
        self._trpc: ASGIApp = _starting
        self._rest: ASGIApp = _starting
        self._serve: ASGIApp = self._dispatch  # with what stands around it
        self._fixed: dict[str, Route] = {}  # the routes without parameters, which need no search
        self._cors: ASGIApp | None = None
        if settings.server.allowed_origins:
            self._cors = CORSMiddleware(
                self._pass_on,
                allow_origins=settings.server.allowed_origins,
                allow_methods=("GET", "HEAD", "POST"),
                allow_headers=CORS_REQUEST_HEADERS,
                allow_credentials=True,
                expose_headers=CORS_EXPOSED_HEADERS,
            )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the lifespan of the process."""
        if scope["type"] == "http":
            scope["request_id"] = self._next_request_id()
            if self._cors is None or all(name != b"origin" for name, _ in scope["headers"]):
                await self._serve(scope, receive, send)
            else:
                # The middleware adds its headers to what goes through `send`.
                scope.get("extensions", {}).pop(WHOLE_ANSWER, None)
                await self._cors(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._serve(scope, receive, send)

    async def _dispatch(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].startswith(TRPC_PREFIX):
            await self._trpc(scope, receive, send)
        else:
            await self._logged(self._find(scope), scope, receive, send)

    def _find(self, scope: Scope) -> ASGIApp:
        """What answers the request; the scope is told of a route that needs no search, as the router tells it of others."""
        route = self._fixed.get(scope["path"])
        if route is None:
            return self._rest
        scope["route"] = route
        return route.app

    async def _busy(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer on a connection that there is no room for."""
        scope["request_id"] = self._next_request_id()
        self._find(scope)  # for its line
        await self._logged(self._refuse, scope, receive, send)

    async def _logged(self, handler: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Run a REST handler; name its request in the answer and write its line."""
        started = time.perf_counter()
        status = size = 0

        async def observe(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", scope["request_id"].encode())]
            else:
                size += len(message.get("body", b""))
            await send(message)

        async def observe_whole(whole_status: int, headers: bytes, body: bytes) -> None:
            nonlocal status, size
            status, size = whole_status, len(body)
            await whole(whole_status, b"%bx-request-id: %b\r\n" % (headers, scope["request_id"].encode()), body)

        whole = scope.get("extensions", {}).get(WHOLE_ANSWER)
        if whole is not None:
            scope["extensions"] = {**scope["extensions"], WHOLE_ANSWER: observe_whole}
        try:
            await handler(scope, receive, observe)
        finally:
            if self._observing is not None:
                route = self._observing.route(scope)
                meter, log = self._observing.meters.route(route), self._observing.log
                meter.answered(scope["method"], status or CLIENT_CLOSED, started, size)
                if received := scope.get(BODY_BYTES):
                    meter.received(received)
                if log is not None:
                    log.record(scope["method"], route, status or CLIENT_CLOSED, started, size, scope["request_id"])

    def begin_shutdown(self) -> None:
        """The process begins to stop: end what would go on for ever, let the rest finish. Does nothing the second time."""
        endings, self._endings = self._endings, []
        for end in endings:
            end()

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        if "state" in scope:
            scope["state"][BEGIN_SHUTDOWN] = self.begin_shutdown
            scope["state"][BUSY] = self._busy
        try:
            await self._open()
        except ServiceError as error:
            if self._shared is not None:
                await _leave_to_supervisor(error)
            await send({"type": "lifespan.startup.failed", "message": error.message})
            return
        if "state" in scope:
            scope["state"][UPGRADES] = self._sockets
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if self._sockets is not None:
            await self._sockets.aclose()
        if self._delivery is not None:
            await self._delivery.aclose(self._settings.server.shutdown_grace_seconds)
        if self._rates is not None:
            await self._rates.aclose()
        if self._store is not None:
            await self._store.aclose()
        if self._observing is not None:
            await self._observing.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    async def _open(self) -> None:
        settings = self._settings
        self._observing = observing = Observing(settings, self._procedures, TRPC_ROUTE, self._shared)
        meters, log = observing.meters, observing.log
        self._serve = observing.traces.app(self._dispatch)
        store = await open_settled(settings, observing.watch())
        self._store = store
        if settings.mail.host:
            self._delivery = delivery(settings, store)
            self._delivery.start()
            self._endings.append(self._delivery.stop)
        trusted = (settings.server.base_url, *settings.server.allowed_origins)
        authenticator = Authenticator(store.credentials, settings.auth.session_cookie, trusted)
        stacks = settings.server.development
        calls = observing.traces.calls(self._procedures, store.attachments, authenticator, meters, stacks=stacks)
        stream = settings.stream
        limits = StreamLimits(
            ping_s=stream.ping_seconds,
            reconnect_after_inactivity_s=stream.reconnect_after_inactivity_seconds,
            max_duration_s=stream.max_duration_seconds,
            max_subscriptions=stream.max_subscriptions,
            jsonl_ping_s=stream.jsonl_ping_seconds,
            recheck_s=max(settings.auth.session_cache_seconds, 1.0),
        )
        subscriptions = Subscriptions(self._procedures, calls, limits, log)
        lines = LineStreams(calls, limits, log)
        self._sockets = WebSocketEndpoint(TRPC_PREFIX, calls, settings, log, self._next_request_id)
        self._endings += [subscriptions.close, lines.close, self._sockets.begin_shutdown]
        self._trpc = TrpcEndpoint(
            TRPC_PREFIX,
            calls,
            Rules(max_batch_size=settings.server.max_batch_size, method_override=settings.server.method_override),
            Limits(
                max_body_bytes=settings.server.max_body_bytes,
                max_file_bytes=store.attachments.policy.max_bytes,
                body_idle_s=settings.upload.idle_timeout_seconds,
            ),
            Streams(lines, subscriptions),
            log,
        )
        self._rates = rates = RateLimits(settings.rates.storage_url, meters.refused)
        routes = rest_routes(settings, store, authenticator, rates, self._openapi(), observing.report(store))
        self._fixed = {route.path: route for route in routes if not route.param_convertors}
        self._rest = Router(routes, redirect_slashes=False, default=NotFound(self._shapes))

    def _openapi(self) -> bytes:
        return openapi.render(openapi.describe(self._settings, self._procedures, TRPC_PREFIX, version("attachd")))


async def _leave_to_supervisor(error: ServiceError) -> Never:
    """End this worker, and have another tried in its place: one that died while the database was away is to come back with it.

    Told that the start had failed, uvicorn's supervisor would stop all others, too.
    """
    logging.getLogger("attachd").error("a worker cannot start, and is tried again: %s", error)
    await asyncio.sleep(_TRY_AGAIN_S)
    os._exit(os.EX_TEMPFAIL)


async def _starting(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise RuntimeError("a request came before the lifespan had started")
