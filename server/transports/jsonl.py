"""Answers in JSON lines: calls side by side, each written when it is there, and so is what its output waits for.

What is there at once is an answer in one piece, without a task. Otherwise calls and deferred values are tasks of one group,
in the task of the request. A client that goes away cancels them, and the `finally` of a generator runs at once; only
mutations run to their end, as they do for a client that takes its answer in one piece. When the server stops, calls run to
their end, but what they deferred, which may have none, fails with an error after which a client may ask again; likewise when
the credential is no longer valid, after which it need not.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from starlette.types import Scope, Send

from schemas import Code, ServiceError
from server.body_stream import BODY_STREAM, BodyStream
from server.log import RequestLog
from server.side_by_side import resume
from server.transports.calls import Calls
from server.transports.heartbeat import Heartbeat
from server.transports.streams import ITEMS_A_TURN, Asked, Credential, StreamLimits
from server.trpc import jsonl, responses
from server.trpc.deferred import discard
from server.trpc.jsonl import Deferred, Lines, Settled

_HEADERS = (
    (b"content-type", b"application/json"),  # as tRPC says, though it is lines of it
    (b"vary", b"trpc-accept, accept"),
    (b"transfer-encoding", b"chunked"),
)

RunningCall = Coroutine[Any, Any, Settled]


class LineStreams:
    """The answers of one process that go out in JSON lines."""

    def __init__(self, calls: Calls, limits: StreamLimits, log: RequestLog | None) -> None:
        self.calls = calls
        self.route = calls.meters.trpc
        self.limits = limits
        self.log = log
        self.open: set[LineStream] = set()
        self.closed = False

    def close(self) -> None:
        """End what may have no end, and begin nothing of the kind."""
        self.closed = True
        for stream in list(self.open):
            stream.stop(_stopped())


class LineStream:
    """One answer. `keeps_on` says that its calls run to their end though the client goes away."""

    def __init__(
        self, streams: LineStreams, asked: Asked, paths: Sequence[str], credential: Credential, *, keeps_on: bool
    ) -> None:
        self._streams = streams
        self._asked = asked
        self._paths = paths
        self._credential = credential
        self._keeps_on = keeps_on
        self._lines = Lines(len(paths), self._shape)
        self._first = b""
        self._calls: Sequence[tuple[int, RunningCall]] = ()  # those that are not settled; the first of them has begun
        self._awaited: object = None  # what it waits for
        self._deferred: dict[int, tuple[asyncio.Task[None], Deferred]] = {}
        self._gone = False
        self._refusal = _stopped() if streams.closed else None  # why nothing is waited for
        self._check: asyncio.Task[None] | None = None
        self._body: BodyStream
        self._heartbeat: Heartbeat
        self._group: asyncio.TaskGroup
        self._task: asyncio.Task[Any]

    def begin(self, calls: Sequence[RunningCall]) -> bytes | None:
        """Run the calls up to the first one that waits; the answer if all of it is there, else `run` gives it."""
        ready: list[tuple[int, Settled]] = []
        for index, call in enumerate(calls):
            try:
                self._awaited = call.send(None)
            except StopIteration as stop:
                ready.append((index, stop.value))
            else:
                self._calls = list(enumerate(calls))[index:]
                break
        plain = [settled for _, settled in ready if isinstance(settled, bytes)]
        if len(plain) == len(calls):
            return jsonl.whole(plain)
        self._first = jsonl.head(len(calls)) + self._lines.settle(ready)
        return None if self._calls or self._lines.deferred else self._first

    def stop(self, refusal: ServiceError) -> None:
        """Fail what is deferred and not there yet."""
        self._refusal = refusal
        self._cancel_deferred()

    async def run(self, scope: Scope, send: Send, started: float) -> None:
        """Answer the request, to its end; `started` is the `time.perf_counter()` of its beginning."""
        asked, streams = self._asked, self._streams
        await send({"type": "http.response.start", "status": 200, "headers": asked.headers(_HEADERS)})
        self._body = body = scope["extensions"][BODY_STREAM]()
        body.write(self._first)
        check_s = streams.limits.recheck_s if self._credential.may_end else 0.0
        self._heartbeat = Heartbeat(body, jsonl.PING, streams.limits.jsonl_ping_s, check_s=check_s, on_check=self._begin_check)
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 (a coroutine runs in a task)
        self._task = task
        body.on_gone = self._leave
        streams.open.add(self)
        try:
            if body.gone:
                self._leave()
            async with asyncio.TaskGroup() as self._group:
                await self._finish()
        except asyncio.CancelledError:
            if not self._gone:
                raise
            task.uncancel()
        finally:
            streams.open.discard(self)
            self._heartbeat.stop()
            if self._check is not None:
                self._check.cancel()
            self._discard()
            if self._refusal is not None:
                body.cut()
            else:
                body.close()
            streams.route.answered(asked.method, 200, started, body.size_bytes)
            if streams.log is not None:
                streams.log.record(asked.method, asked.route, 200, started, body.size_bytes, asked.request_id)

    def _begin_check(self) -> None:
        self._check = asyncio.create_task(self._check_credential())

    async def _check_credential(self) -> None:
        refusal = await self._credential.refusal()
        if refusal is not None:
            self.stop(refusal)

    def _leave(self) -> None:
        """The client went away."""
        self._gone = True
        if self._keeps_on:
            self._cancel_deferred()
        else:
            self._task.cancel()

    def _cancel_deferred(self) -> None:
        for task, _ in self._deferred.values():
            task.cancel()

    def _discard(self) -> None:
        """Give up what was never begun: asyncio cancels a task that has not begun without running any of it."""
        for _, call in self._calls:
            call.close()
        for _, deferred in self._deferred.values():
            if self._refusal is not None:
                self._body.write(self._lines.failed(deferred, self._refusal))
            discard(deferred.source)

    async def _finish(self) -> None:
        """The calls that were not settled at once: the one that has begun in this task, those behind it in their own."""
        self._follow_deferred()
        if self._calls:
            (index, call), *others = self._calls
            for other in others:
                self._group.create_task(self._settle(*other))
            self._write(self._lines.settle([(index, await resume(call, self._awaited))]))

    async def _settle(self, index: int, call: RunningCall) -> None:
        self._write(self._lines.settle([(index, await call)]))

    def _write(self, lines: bytes) -> None:
        """Send lines, and begin to wait for what they name."""
        self._heartbeat.wrote_at = asyncio.get_running_loop().time()
        self._body.write(lines)
        self._follow_deferred()

    def _follow_deferred(self) -> None:
        for deferred in self._lines.take():
            if self._gone or self._refusal is not None:
                self._body.write(self._lines.failed(deferred, self._refusal or _stopped()))
                discard(deferred.source)
            else:
                self._deferred[deferred.id] = (self._group.create_task(self._follow(deferred)), deferred)

    async def _follow(self, deferred: Deferred) -> None:
        """Write what a deferred value comes to."""
        try:
            if deferred.is_iterable:
                await self._iterate(deferred)
            else:
                self._write(self._lines.fulfilled(deferred, await deferred.source))
        except asyncio.CancelledError as cancelled:
            task = asyncio.current_task()
            if self._refusal is not None:
                self._write(self._lines.failed(deferred, self._refusal))
            elif task is not None and task.cancelling():
                raise
            else:
                self._write(self._lines.failed(deferred, _abandoned(cancelled)))
        except Exception as error:  # noqa: BLE001 (the edge: `_shape` logs what must be seen)
            self._write(self._lines.failed(deferred, error))
        finally:
            self._deferred.pop(deferred.id, None)

    async def _iterate(self, deferred: Deferred) -> None:
        iterator = aiter(deferred.source)
        count = 0
        try:
            async for item in iterator:
                if self._refusal is not None:  # the generator took the cancellation for its own
                    raise self._refusal
                if self._body.gone:
                    return
                self._write(self._lines.yielded(deferred, item))
                count += 1
                if self._body.is_full:
                    await self._body.drain()
                elif count % ITEMS_A_TURN == 0:
                    await asyncio.sleep(0)
            self._write(self._lines.returned(deferred))
        finally:
            if (aclose := getattr(iterator, "aclose", None)) is not None:
                await aclose()

    def _shape(self, error: Exception, index: int) -> bytes:
        path, calls = self._paths[index], self._streams.calls
        failure = error if isinstance(error, ServiceError) else calls.failure(error, path, self._asked.request_id)
        return responses.render_shape(failure, path, calls.stack(failure))


def _stopped() -> ServiceError:
    return ServiceError(Code.SERVICE_UNAVAILABLE, "the server is stopping: ask again")


def _abandoned(cancelled: BaseException) -> RuntimeError:
    error = RuntimeError("a deferred value was cancelled by its own procedure")
    error.__cause__ = cancelled
    return error
