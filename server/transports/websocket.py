"""tRPC over WebSocket: takes connections over from HTTP, bounds their number, and ends them when the process does.

The words on the wire are those of `adapters/ws.ts` in `@trpc/server` 11.25: `server/trpc/websocket.py`. A cookie opens a
connection only for pages that may also make changes with it, since a browser sends it with the handshake of any page, and no
rule of CORS keeps that page from reading the answers (cross-site WebSocket hijacking).
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_to_bytes

from schemas import Code, ServiceError
from server.frames import FrameLimits, Socket
from server.handshake import plain_request, refusal
from server.log import RequestLog
from server.metrics import SocketMeters, SubscriptionMeter
from server.settings import Settings
from server.state import Upgrade
from server.transports.calls import ROUTE, Calls
from server.transports.websocket_connection import UNSAFE, Connection, ConnectionLimits, Tools
from server.transports.websocket_subscriptions import SubscriptionTools
from server.trpc import websocket as wire
from server.trpc.requests import parse_query
from server.workers import Workers

# How long calls, and then subscriptions, may take to clean up when the process ends.
CLEANUP_S = 5.0


class WebSocketEndpoint:
    """Takes connections over at `paths`. Built once, when the store is open."""

    def __init__(
        self, prefix: str, calls: Calls, settings: Settings, log: RequestLog | None, next_request_id: Callable[[], str]
    ) -> None:
        # The stock client is given the first, and proxies like to add the slash.
        self.paths = frozenset((prefix.rstrip("/").encode(), prefix.encode()))
        procedures = [procedure for path in calls.encoders if (procedure := calls.find(path)) is not None]
        encoders = {each.path: wire.item_encoder(each) for each in procedures if each.kind == "subscription"}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._corked: list[Socket] = []
        self._workers = Workers(self._uncork)
        self._connections: set[Connection] = set()
        meters = SocketMeters.of(calls.meters)
        self._tools = Tools(
            calls,
            SubscriptionTools(
                calls,
                encoders,
                settings.websocket.max_subscriptions,
                self._tasks,
                log,
                SubscriptionMeter(calls.meters, "websocket"),
                meters.sent,
            ),
            connection_limits(settings),
            log,
            self._workers,
            self._connections,
            self._corked,
            meters,
        )
        self._max_connections = settings.websocket.max_connections
        self._next_request_id = next_request_id
        self._is_stopping = False

    def upgrade(self, upgrade: Upgrade) -> None:
        """Take a connection over, or refuse it and close."""
        self._workers.run(self._upgrade(upgrade))

    async def _upgrade(self, upgrade: Upgrade) -> None:
        started, request_id = time.perf_counter(), self._next_request_id()
        parameters = parse_query(upgrade.query)
        announced = unquote_to_bytes(parameters.get(b"connectionParams", b"")) == b"1"
        try:
            request = plain_request(upgrade.headers)
            self._check_room()
            context = None if announced else await self._tools.calls.context(UNSAFE, upgrade.headers, request_id)
            if isinstance(context, ServiceError) and context.code is Code.FORBIDDEN:
                raise context
            self._check_room()
        except ServiceError as error:
            answer = refusal(error, request_id)
            upgrade.transport.write(answer)
            upgrade.transport.close()
            if self._tools.log is not None:
                self._tools.log.record("GET", ROUTE, error.code.http_status, started, len(answer), request_id)
            return
        if not upgrade.transport.is_closing():
            Connection(self._tools, upgrade, request_id).begin(request, context)

    def _uncork(self) -> None:
        corked = self._corked
        while corked:
            corked.pop().uncork()

    def _check_room(self) -> None:
        """Raises SERVICE_UNAVAILABLE when there may be no further connection."""
        if self._is_stopping:
            raise ServiceError(Code.SERVICE_UNAVAILABLE, "the server is stopping; connect again")
        if len(self._connections) >= self._max_connections:
            self._tools.calls.meters.refused("websocket.max_connections")
            message = f"the server has {self._max_connections} WebSockets open (websocket.max_connections); try again later"
            raise ServiceError(Code.SERVICE_UNAVAILABLE, message)

    def begin_shutdown(self) -> None:
        """Ask all clients to connect elsewhere, and close each connection when its calls are done."""
        self._is_stopping = True
        for connection in list(self._connections):
            connection.shutdown()

    async def aclose(self) -> None:
        """Cut off who is left, and wait a moment until all has cleaned up."""
        self._is_stopping = True
        for connection in list(self._connections):
            connection.abort()
        await self._workers.aclose(CLEANUP_S)
        await asyncio.sleep(0)  # the aborted connections are told
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLEANUP_S)


def connection_limits(settings: Settings) -> ConnectionLimits:
    """The limits that the settings name."""
    chosen = settings.websocket
    return ConnectionLimits(
        frames=FrameLimits(
            max_message_bytes=chosen.max_message_bytes,
            max_per_second=chosen.max_messages_per_second,
            ping_s=chosen.ping_seconds,
            pong_wait_s=chosen.pong_wait_seconds,
            ping=wire.PING if chosen.text_pings else b"",
        ),
        max_batch_size=settings.server.max_batch_size,
        max_calls=chosen.max_calls,
        connection_params_s=chosen.connection_params_seconds,
        # A connection may outlive its session by this and the time for which a session is remembered.
        recheck_s=max(settings.auth.session_cache_seconds, 1.0),
        reconnect_s=chosen.reconnect_seconds,
    )
