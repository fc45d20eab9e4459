"""One WebSocket as tRPC sees it: a context, queries and mutations side by side, subscriptions.

What is sent waits for the client: nothing more is read of one that does not read, or that has many calls running.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import msgspec

from procedures import Context
from schemas import Code, ServiceError
from server.frames import FrameLimits, Socket
from server.log import RequestLog
from server.metrics import SocketMeters
from server.state import Upgrade
from server.transports.calls import ROUTE, Calls
from server.transports.websocket_subscriptions import LOG_METHOD, SocketSubscriptions, SubscriptionTools
from server.trpc import websocket as wire
from server.trpc.responses import Outcome
from server.trpc.websocket import Message
from server.workers import Workers

# What the handshake, a GET, stands for: a cookie that another site made a browser send opens nothing.
UNSAFE: Final = "POST"
_SWITCHED, _OK = 101, 200
_SERVER_ERROR: Final = 500
# Close codes: RFC 6455, 7.4.1, and the registry it founds.
POLICY_VIOLATION, INTERNAL_ERROR, SERVICE_RESTART = 1008, 1011, 1012


class ConnectionLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What bounds a connection beside its frames; see the settings of the same names."""

    frames: FrameLimits
    max_batch_size: int
    max_calls: int
    connection_params_s: float
    recheck_s: float
    reconnect_s: float


class Tools(msgspec.Struct, frozen=True):
    """What all connections share; `connections` are those that are open, `corked` the sockets that the workers uncork."""

    calls: Calls
    subscriptions: SubscriptionTools
    limits: ConnectionLimits
    log: RequestLog | None
    workers: Workers
    connections: set["Connection"]
    corked: list[Socket]
    meters: SocketMeters


class Connection:
    """One client. Its `context` is None until the connectionParams have come that it announced."""

    def __init__(self, tools: Tools, upgrade: Upgrade, request_id: str) -> None:
        self._tools = tools
        self._calls = tools.calls
        self._limits = tools.limits
        self._upgrade = upgrade
        self._request_id = request_id
        self._context: Context | None = None
        self._params: dict[str, str] | None = None
        self._queue: list[tuple[bytes, bool]] | None = None  # what came while the context is made
        self._running = 0  # queries and mutations
        self._sent_bytes = 0
        self._is_stopping = self._is_gone = False
        self._timer: asyncio.TimerHandle | None = None
        self._started = time.perf_counter()
        self._socket = Socket(upgrade.transport, self, tools.limits.frames)
        self._subscriptions = SocketSubscriptions(tools.subscriptions, self._socket, request_id)

    def begin(self, request: bytes, context: Context | ServiceError | None) -> None:
        """Answer the handshake; see `server/handshake.py` for the request."""
        self._tools.connections.add(self)
        self._tools.meters.connections.add()
        self._tools.meters.opened.add()
        self._upgrade.connections.add(self)  # uvicorn waits for it now
        self._socket.begin(request, self._request_id)
        if context is None:
            self._call_later(self._limits.connection_params_s, self._give_up_on_params)
        else:
            self._establish(context)

    def _call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        """Set the timer; a connection waits for one thing at a time."""
        self._cancel_timer()
        self._timer = asyncio.get_running_loop().call_later(seconds, callback)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up_on_params(self) -> None:
        text = f"no connectionParams within {self._limits.connection_params_s:g} s (websocket.connection_params_seconds)"
        self._refuse(ServiceError(Code.TIMEOUT, text))

    def _refuse(self, error: ServiceError) -> None:
        """Say why the connection is of no use, and close it."""
        self._send(wire.refuse_connection(error))
        code = INTERNAL_ERROR if error.code.http_status >= _SERVER_ERROR else POLICY_VIOLATION
        self._socket.close(code, error.code.name)

    def _establish(self, context: Context | ServiceError) -> None:
        if isinstance(context, ServiceError):
            self._refuse(context)
            return
        self._context = context
        if context.principal is not None and not self._is_stopping:
            self._call_later(self._limits.recheck_s, self._recheck)
        queue, self._queue = self._queue, None
        for payload, is_text in queue or ():
            self._take(payload, context, is_text=is_text)

    async def _read_params(self, payload: bytes) -> None:
        self._socket.hold(True)
        try:
            self._params = wire.read_connection_params(payload)
        except ServiceError as error:
            self._refuse(error)
        else:
            self._establish(await self._calls.context(UNSAFE, self._upgrade.headers, self._request_id, self._params))
        self._socket.hold(False)

    def _recheck(self) -> None:
        self._tools.workers.run(self._check_credential())

    async def _check_credential(self) -> None:
        """Close the connection when who opened it is no longer let in: a context is made once, but a session may be revoked."""
        known = self._context
        context = await self._calls.context(UNSAFE, self._upgrade.headers, self._request_id, self._params)
        if known is None or self._is_stopping or not self._socket.is_open:
            return
        is_outage = isinstance(context, ServiceError) and context.code.http_status >= _SERVER_ERROR
        if is_outage or (isinstance(context, Context) and context.principal == known.principal):
            self._call_later(self._limits.recheck_s, self._recheck)
        else:
            self._refuse(ServiceError(Code.UNAUTHORIZED, "the credential of this connection is no longer valid"))

    # What the socket tells.

    def received(self, payload: bytes, *, is_text: bool) -> None:
        """Take what a client sent."""
        if is_text and len(payload) == len(wire.PING):
            if payload == wire.PING:
                self._send(wire.PONG)
                return
            if payload == wire.PONG:
                return
        if self._context is not None:
            self._take(payload, self._context, is_text=is_text)
        elif self._queue is not None:
            self._queue.append((payload, is_text))
        else:
            self._queue = []
            if not self._is_stopping:
                self._cancel_timer()
            self._tools.workers.run(self._read_params(payload))

    def _take(self, payload: bytes, context: Context, *, is_text: bool) -> None:
        """Begin the calls of a payload."""
        if not is_text:
            read = wire.Received([], [wire.unreadable("the message is binary; send JSON as text")])
        else:
            read = wire.read_payload(payload, self._limits.max_batch_size)
        if len(read.messages) > 1 and self._socket.is_overrun(len(read.messages) - 1):
            self.overrun()
            return
        for head, error in read.refusals:
            self._send(wire.write_error(head, error, None, self._calls.stack(error)))
        for message in read.messages:
            if message.method == wire.STOP:
                self._subscriptions.stop(message.id)
            elif message.method == "subscription":
                self._subscriptions.start(message, context, self._send)
            else:
                self._running += 1
                if self._running == self._limits.max_calls:
                    self._socket.hold(True)
                self._tools.workers.run(self._call(message, context))

    def overrun(self) -> None:
        """Close: the client sends faster than it may. Told so in tRPC's way, it waits before it connects again."""
        limit = self._limits.frames.max_per_second
        text = f"more than {limit} messages in a second (websocket.max_messages_per_second)"
        self._calls.meters.refused("websocket.max_messages_per_second")
        self._refuse(ServiceError(Code.TOO_MANY_REQUESTS, text))

    def disconnected(self) -> None:
        """End what only the client wanted; a query or mutation that has begun is finished."""
        self._tools.connections.discard(self)
        self._tools.meters.connections.add(-1)
        self._is_gone = True
        self._forget()
        self._cancel_timer()
        self._subscriptions.cancel()
        self._record(ROUTE, _SWITCHED, self._started, self._sent_bytes)

    def _forget(self) -> None:
        """Let uvicorn wait for the connection no more, when neither the client nor a call is left."""
        if self._is_gone and self._running == 0:
            self._upgrade.connections.discard(self)

    # Queries and mutations.

    async def _call(self, message: Message, context: Context) -> None:
        started = time.perf_counter()
        outcome = await self._outcome(message, context)
        if self._socket.cork():
            self._tools.corked.append(self._socket)
        if isinstance(outcome, bytes):
            status, size = _OK, len(outcome)
            self._send(wire.write_data(message.head, outcome))
        else:
            answer = wire.write_error(message.head, outcome, message.path, self._calls.stack(outcome))
            status, size = outcome.code.http_status, len(answer)
            self._send(answer)
        self._tools.meters.sent.add(size)
        self._record(self._calls.name(message.path), status, started, size)
        self._running -= 1
        if self._running == self._limits.max_calls - 1:
            self._socket.hold(False)
        if self._is_gone:
            self._forget()
        elif self._is_stopping and self._timer is None:
            self._leave()

    async def _outcome(self, message: Message, context: Context) -> Outcome:
        async def read_input() -> object:
            return message.input

        try:
            procedure = wire.check_call(message, self._calls.find)
            if not procedure.streams:
                return await self._calls.timed_outcome(procedure, context, read_input, self._request_id)
            items = await self._calls.output(procedure, context, read_input, self._request_id)
            await items.aclose()
            return self._calls.refused(procedure.path, wire.no_stream(procedure))
        except ServiceError as error:
            return self._calls.refused(message.path, error)

    # Stopping.

    def shutdown(self) -> None:
        """Ask the client to connect elsewhere, which it does before it leaves; close when its calls are done."""
        if not self._is_stopping and not self._is_gone:
            self._is_stopping = True
            self._send(wire.RECONNECT)
            self._call_later(self._limits.reconnect_s, self._leave)

    def _leave(self) -> None:
        self._timer = None
        if self._running == 0:  # else the last of them comes back here
            # No subscription is told that it has stopped: that would be its end, and the client is to take it elsewhere.
            self._socket.close(SERVICE_RESTART, "the server is stopping")

    def abort(self) -> None:
        """Cut the client off."""
        self._socket.abort()

    def _send(self, payload: bytes) -> None:
        self._sent_bytes += len(payload)
        self._socket.send(payload)

    def _record(self, route: str, status: int, started: float, size_bytes: int) -> None:
        if self._tools.log is not None:
            self._tools.log.record(LOG_METHOD, route, status, started, size_bytes, self._request_id)
