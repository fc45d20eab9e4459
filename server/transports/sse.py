"""Subscriptions over server-sent events: an async generator at one end, a client that may go away at the other.

A subscription runs in the task of its request and has one timer, for pings and its end. Whatever ends it from outside (the
client went away, its time is over, the server stops) cancels that task: the generator is left at once and its `finally` runs.
Without `return` at the end of the stream the client connects again, with the id of what it has seen last.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from starlette.types import Scope, Send

from procedures import Procedures
from schemas import Code, ServiceError
from server.body_stream import BODY_STREAM, BodyStream
from server.log import RequestLog
from server.metrics import OK, SubscriptionMeter
from server.transports.calls import Calls
from server.transports.heartbeat import Heartbeat
from server.transports.streams import ITEMS_A_TURN, Asked, Credential, StreamLimits
from server.trpc import sse

# What sseHeaders are in @trpc/server, and its `vary`.
_HEADERS = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
    (b"connection", b"keep-alive"),
    (b"vary", b"trpc-accept, accept"),
)


class Subscriptions:
    """The subscriptions of one process over server-sent events."""

    def __init__(self, procedures: Procedures, calls: Calls, limits: StreamLimits, log: RequestLog | None) -> None:
        self.calls = calls
        self.route = calls.meters.trpc
        self.meter = SubscriptionMeter(calls.meters, "sse")
        self.limits = limits
        self.log = log
        self.open: set[Subscription] = set()
        self.frames = {
            procedure.path: sse.Frames(procedure, calls.encoders[procedure.path])
            for procedure in procedures
            if procedure.kind == "subscription"
        }
        inactivity_s = limits.reconnect_after_inactivity_s
        self.connected = sse.connected(round(inactivity_s * 1000) if inactivity_s else None)
        self._closed = False

    def refusal(self) -> ServiceError | None:
        """Why there can be no further subscription now; an error after which the stock client connects again."""
        if self._closed:
            return ServiceError(Code.SERVICE_UNAVAILABLE, "the server is stopping: connect again")
        if len(self.open) < self.limits.max_subscriptions:
            return None
        self.calls.meters.refused("stream.max_subscriptions")
        message = f"the server has {len(self.open)} subscriptions, which is all it takes (stream.max_subscriptions): try again"
        return ServiceError(Code.SERVICE_UNAVAILABLE, message)

    def close(self) -> None:
        """End every subscription without `return`, so that its client connects again, and begin no other."""
        self._closed = True
        for subscription in list(self.open):
            subscription.end()


class Subscription:
    """One subscription on its connection: its items, or the error that there is instead.

    `last_event_id` is what the client has seen last.
    """

    __slots__ = (
        *("_asked", "_body", "_check", "_code", "_credential", "_cut", "_ended"),
        *("_items", "_last_id", "_refusal", "_subscriptions", "_task"),
    )

    def __init__(
        self,
        subscriptions: Subscriptions,
        asked: Asked,
        items: AsyncGenerator[Any, None] | ServiceError,
        last_event_id: str | None,
        credential: Credential,
    ) -> None:
        self._subscriptions = subscriptions
        self._asked = asked
        self._items = items
        self._last_id = sse.sendable_id(last_event_id)
        self._credential = credential
        self._ended = self._cut = False
        self._code = ""  # of the error that ended it, if one did
        self._refusal: ServiceError | None = None
        self._check: asyncio.Task[None] | None = None
        self._body: BodyStream
        self._task: asyncio.Task[Any] | None = None

    async def run(self, scope: Scope, send: Send, started: float) -> None:
        """Answer the request, to its end; `started` is the `time.perf_counter()` of its beginning."""
        asked, subscriptions = self._asked, self._subscriptions
        await send({"type": "http.response.start", "status": 200, "headers": asked.headers(_HEADERS)})
        self._body = body = scope["extensions"][BODY_STREAM]()
        body.write(subscriptions.connected)
        subscriptions.meter.began()
        items = self._items
        failure = items if isinstance(items, ServiceError) else subscriptions.refusal()
        try:
            if failure is not None:
                self._fail(failure)
            elif not isinstance(items, ServiceError):
                await self._serve(items)
        finally:
            if self._cut:
                body.cut()
            else:
                body.close()
            subscriptions.meter.ended(self._code or OK)
            subscriptions.route.sent(body.size_bytes)
            if subscriptions.log is not None:
                log = subscriptions.log.record
                log(asked.method, asked.route, 200, started, body.size_bytes, asked.request_id, self._code)

    def end(self) -> None:
        """End the stream without `return`."""
        if not self._ended and self._task is not None:
            self._ended = self._cut = True
            self._task.cancel()

    async def _serve(self, items: AsyncGenerator[Any, None]) -> None:
        self._task = task = asyncio.current_task()
        assert task is not None  # noqa: S101 (a coroutine runs in a task)
        self._subscriptions.open.add(self)
        self._body.on_gone = self.end
        heartbeat = self._heartbeat()
        try:
            if not self._body.gone:
                await self._deliver(items, heartbeat)
        except asyncio.CancelledError:
            if not self._ended:
                raise
            task.uncancel()
            if self._refusal is not None:
                self._fail(self._refusal)
        except Exception as error:  # noqa: BLE001 (the edge: `failure` logs what must be seen)
            self._fail(self._subscriptions.calls.failure(error, self._asked.route, self._asked.request_id))
        finally:
            self._ended = True
            self._subscriptions.open.discard(self)
            heartbeat.stop()
            if self._check is not None:
                self._check.cancel()
            await self._close(items)

    def _heartbeat(self) -> Heartbeat:
        limits = self._subscriptions.limits
        return Heartbeat(
            self._body,
            sse.PING,
            limits.ping_s,
            check_s=limits.recheck_s if self._credential.may_end else 0.0,
            on_check=self._begin_check,
            max_duration_s=limits.max_duration_s,
            on_end=self.end,
        )

    def _begin_check(self) -> None:
        self._check = asyncio.create_task(self._check_credential())

    async def _check_credential(self) -> None:
        """End the stream when who opened it is no longer let in, with an error after which the stock client gives up."""
        self._refusal = await self._credential.refusal()
        if self._refusal is not None:
            self.end()

    async def _deliver(self, items: AsyncGenerator[Any, None], heartbeat: Heartbeat) -> None:
        frames, body = self._subscriptions.frames[self._asked.route], self._body
        time = asyncio.get_running_loop().time
        count = 0
        async for item in items:
            if self._ended:  # the generator took the cancellation for its own
                return
            frame, self._last_id = frames.of(item, self._last_id)
            heartbeat.wrote_at = time()
            body.write(frame)
            count += 1
            if body.is_full:
                await body.drain()
            elif count % ITEMS_A_TURN == 0:
                await asyncio.sleep(0)
        body.write(sse.RETURN)

    async def _close(self, items: AsyncGenerator[Any, None]) -> None:
        """Leave the generator, if it did not end by itself; what fails there is logged and no more."""
        try:
            await items.aclose()
        except Exception as error:  # noqa: BLE001 (the answer has ended)
            self._subscriptions.calls.failure(error, self._asked.route, self._asked.request_id)

    def _fail(self, error: ServiceError) -> None:
        self._code = error.code.name
        self._body.write(sse.serialized_error(error, self._asked.route, self._subscriptions.calls.stack(error)))
