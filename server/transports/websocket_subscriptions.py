"""The subscriptions of one WebSocket: a task each, over the generator that the procedure gives.

The order is that of `adapters/ws.ts` in `@trpc/server` 11.25: `started` when the procedure has given its generator, the items,
then, when the generator is closed and the id is free again, the error if there is one and `stopped`. A failure before `started`
is told as an error alone.
"""

import asyncio
import functools
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final

import msgspec

from procedures import Context, Procedure
from schemas import Code, ServiceError
from server.frames import Socket
from server.log import RequestLog
from server.metrics import OK, Counter, SubscriptionMeter
from server.transports.calls import Calls
from server.transports.streams import ITEMS_A_TURN
from server.trpc import websocket as wire
from server.trpc.websocket import Message

LOG_METHOD: Final = "WS"  # where HTTP has its method


class SubscriptionTools(msgspec.Struct, frozen=True):
    """What the subscriptions of all connections share; `tasks` are those that run, `sent` counts bytes."""

    calls: Calls
    encoders: dict[str, Callable[[Any], bytes]]
    max_subscriptions: int
    tasks: set[asyncio.Task[Any]]
    log: RequestLog | None
    meter: SubscriptionMeter
    sent: Counter


class _Ending(msgspec.Struct):
    """How a subscription ends: what is told at last, and what the log and the metrics say."""

    status: int = 200
    code: str = OK
    size_bytes: int = 0
    error: bytes = b""
    has_started: bool = True


class SocketSubscriptions:
    """Those of one connection, by the id that the client gave them."""

    def __init__(self, tools: SubscriptionTools, socket: Socket, request_id: str) -> None:
        self._tools = tools
        self._calls = tools.calls
        self._socket = socket
        self._request_id = request_id
        self._tasks: dict[wire.Id | None, asyncio.Task[None]] = {}

    def start(self, message: Message, context: Context, send: Callable[[bytes], None]) -> None:
        """Run a subscription until it ends, is stopped, or `cancel` is called."""
        refused = None
        if message.id in self._tasks:
            refused = ServiceError(Code.BAD_REQUEST, f"Duplicate id {message.id}")
        elif len(self._tasks) >= self._tools.max_subscriptions:
            self._calls.meters.refused("websocket.max_subscriptions")
            text = f"the connection has {self._tools.max_subscriptions} subscriptions (websocket.max_subscriptions); stop one"
            refused = ServiceError(Code.TOO_MANY_REQUESTS, text)
        if refused is not None:
            send(self._error(message, refused))
            return
        started, ending = time.perf_counter(), _Ending()
        task = asyncio.create_task(self._run(message, context, send, ending))
        self._tasks[message.id] = task
        self._tools.tasks.add(task)
        self._tools.meter.began()
        task.add_done_callback(functools.partial(self._ended, message, started, send, ending))

    def stop(self, id: wire.Id | None) -> None:
        """End a subscription, if there is one of that id."""
        task = self._tasks.get(id)
        if task is not None and not task.cancelling():
            task.cancel()

    def cancel(self) -> None:
        """End all. Those that are ending already are left to it: a second time would break into their `finally`."""
        for id in self._tasks:
            self.stop(id)

    async def _run(self, message: Message, context: Context, send: Callable[[bytes], None], ending: _Ending) -> None:
        async def read_input() -> object:
            return message.input

        try:
            procedure = wire.check_call(message, self._calls.find)
            items = await self._calls.output(procedure, context, read_input, self._request_id)
        except ServiceError as error:
            ending.has_started = False
            self._fail(message, error, ending)
            return
        send(wire.write_started(message.head))
        try:
            await self._send_items(message.head, items, procedure, send, ending)
        except Exception as error:  # noqa: BLE001 (the edge: `failure` logs what must be seen)
            self._fail(message, self._calls.failure(error, procedure.path, self._request_id), ending)
        finally:
            await self._close(items, procedure.path)

    async def _send_items(
        self,
        head: bytes,
        items: AsyncGenerator[Any, None],
        procedure: Procedure,
        send: Callable[[bytes], None],
        ending: _Ending,
    ) -> None:
        encode, socket, sent = self._tools.encoders[procedure.path], self._socket, 0
        async for item in items:
            sent += 1
            if sent % ITEMS_A_TURN == 0:
                await asyncio.sleep(0)
            if socket.is_paused:
                await socket.drained()
            if _is_cancelled():  # the generator took the cancellation for its own
                return
            data = encode(item)
            ending.size_bytes += len(data)
            send(wire.write_data(head, data))

    async def _close(self, items: AsyncGenerator[Any, None], path: str) -> None:
        """Let the generator clean up; a failure of that concerns only us."""
        try:
            await items.aclose()
        except Exception as error:  # noqa: BLE001 (logged)
            self._calls.failure(error, path, self._request_id)

    def _fail(self, message: Message, error: ServiceError, ending: _Ending) -> None:
        ending.status, ending.code, ending.error = error.code.http_status, error.code.name, self._error(message, error)

    def _error(self, message: Message, error: ServiceError) -> bytes:
        return wire.write_error(message.head, error, message.path, self._calls.stack(error))

    def _ended(
        self,
        message: Message,
        started: float,
        send: Callable[[bytes], None],
        ending: _Ending,
        task: asyncio.Task[None],
    ) -> None:
        """Free the id, tell the client. Also of a task that was cancelled before it began."""
        self._tools.tasks.discard(task)
        self._tools.meter.ended(ending.code)
        self._tools.sent.add(ending.size_bytes)
        del self._tasks[message.id]
        if ending.error:
            send(ending.error)
        if ending.has_started:
            send(wire.write_stopped(message.head))
        if self._tools.log is not None:
            route = self._calls.name(message.path)
            self._tools.log.record(LOG_METHOD, route, ending.status, started, ending.size_bytes, self._request_id)


def _is_cancelled() -> bool:
    # Not a name in the loop above: the traceback of a cancelled task would hold the task.
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
