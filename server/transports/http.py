"""The tRPC endpoint as an ASGI application: moves bytes between the socket and the pure core in `server/trpc/`.

On the path of every call, so it speaks raw ASGI and does at start what can be done at start. The calls of a batch run side by
side; the failure of one is that call's outcome.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import msgspec
from starlette.types import Receive, Scope, Send

from procedures import Context, Procedure, ReadInput
from rest import INTAKE_HEADERS, WHOLE_ANSWER, Exchange, Reply, retry_after_s
from schemas import ClientDisconnected, Code, ServiceError
from server.log import RequestLog
from server.side_by_side import side_by_side
from server.transports.bodies import Limits, read_body
from server.transports.calls import ROUTE, Calls
from server.transports.files import BodyFile, file_input
from server.transports.jsonl import LineStream, LineStreams
from server.transports.sse import Subscription, Subscriptions
from server.transports.streams import Asked, Credential
from server.trpc import requests, responses
from server.trpc.requests import Inputs, Request, Rules
from server.trpc.responses import Outcome, StreamRequired

_CONTENT_TYPE = (b"content-type", b"application/json")
_VARY = (b"vary", b"trpc-accept, accept")
# The same headers as one piece, for a server that takes an answer whole.
_HEAD = b"content-type: application/json\r\nvary: trpc-accept, accept\r\ncontent-length: %d\r\nx-request-id: %b\r\n"
_NO_EXTENSIONS: dict[str, Any] = {}
_NO_CONTENT = 204

Headers = Mapping[bytes, bytes]
T = TypeVar("T")


class Streams(msgspec.Struct, frozen=True):
    """The streams of the process, by their form."""

    lines: LineStreams
    subscriptions: Subscriptions


class Answer(msgspec.Struct, frozen=True):
    """What goes back. `route` is what the log calls the request, `allow` the header of a 405, empty if there is none.

    `unread` says that the request's body was not read to its end, so that the connection cannot go on; `gone` that the client
    went away, so that nothing is sent. `retry_after_s` is the header of that name, 0 for none. `is_call` says that it is
    the result of one call, of the procedure `route`.
    """

    status: int
    body: bytes
    route: str = ROUTE
    allow: bytes = b""
    unread: bool = False
    gone: bool = False
    retry_after_s: int = 0
    is_call: bool = False


class TrpcEndpoint:
    """Answers everything below `prefix`. Built once, when the store is open."""

    def __init__(
        self, prefix: str, calls: Calls, rules: Rules, limits: Limits, streams: Streams, log: RequestLog | None
    ) -> None:
        self._prefix_length = len(prefix)
        self._meter = calls.meters.trpc
        self._called = self._meter.called
        self._calls = calls
        self._lines = streams.lines
        self._subscriptions = streams.subscriptions
        self._rules = rules
        self._limits = limits
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request; `scope["request_id"]` names it in the log and in the answer."""
        started = time.perf_counter()
        request_id: str = scope["request_id"]
        method: str = scope["method"]
        if method == "HEAD":  # a look whether the server is there; tRPC answers it before anything else
            await send(
                {"type": "http.response.start", "status": _NO_CONTENT, "headers": [(b"x-request-id", request_id.encode())]}
            )
            await send({"type": "http.response.body", "body": b""})
            self._record(method, Answer(_NO_CONTENT, b""), started, request_id)
            return
        try:
            answer = await self._answer(scope, receive, send)
        except ClientDisconnected:
            answer = _gone(ROUTE)
        if not isinstance(answer, Answer):
            await answer.run(scope, send, started)
            return
        if answer.gone:
            self._record(method, answer, started, request_id)
            return
        whole = scope.get("extensions", _NO_EXTENSIONS).get(WHOLE_ANSWER)
        if whole is not None and not (answer.allow or answer.unread or answer.retry_after_s):
            body = answer.body
            await whole(answer.status, _HEAD % (len(body), request_id.encode()), body)
        else:
            await self._send(answer, Exchange(scope, receive, send, frozenset()), request_id)
        self._record(method, answer, started, request_id)

    async def _send(self, answer: Answer, exchange: Exchange, request_id: str) -> None:
        headers = [_CONTENT_TYPE, _VARY, (b"x-request-id", request_id.encode())]
        if answer.allow:
            headers.append((b"allow", answer.allow))
        if answer.retry_after_s:
            headers.append((b"retry-after", b"%d" % answer.retry_after_s))
        exchange.complete = not answer.unread
        await exchange.reply(Reply(answer.status, headers, answer.body))

    def _record(self, method: str, answer: Answer, started: float, request_id: str) -> None:
        size = len(answer.body)
        if answer.is_call:
            self._called(method, answer.route, started, size)
        else:
            self._meter.answered(method, answer.status, started, size)
        if self._log is not None:
            self._log.record(method, answer.route, answer.status, started, size, request_id)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> Answer | LineStream | Subscription:
        method: str = scope["method"]
        request_id: str = scope["request_id"]
        headers: Headers = dict(scope["headers"])
        path: bytes = scope["raw_path"][self._prefix_length :]
        if path.endswith(b"/"):  # tRPC's standalone server trims twice: the whole path, then what is below the prefix
            path = path.removesuffix(b"/").removesuffix(b"/")
        try:
            request = requests.parse_request(method, path, scope["query_string"], headers, self._calls.find, self._rules)
        except ServiceError as error:
            return Answer(error.code.http_status, responses.render_error(error, None, self._calls.stack(error)))
        context = await self._calls.context(method, headers, request_id, request.connection_params)
        if method == "GET":
            inputs: Inputs | BodyFile = requests.query_inputs(request)
        elif request.file_type is not None:
            exchange = Exchange(scope, receive, send, INTAKE_HEADERS)
            inputs = file_input(request, exchange, self._limits.max_file_bytes, self._limits.body_idle_s)
        else:
            inputs = Inputs(await read_body(headers, receive, self._limits, self._meter), request.is_batch, len(request.calls))
        if request.answer != "json":
            credential = Credential(self._calls, method, headers, request_id, request.connection_params, context)
            if request.answer == "jsonl":
                return self._stream_lines(request, inputs, context, credential, request_id)
            return await self._subscribe(request, inputs, context, credential, request_id)
        if not request.is_batch:
            outcome = await self._call(self._calls.outcome, request, 0, inputs, context, request_id)
            if request.file_type is not None and isinstance(inputs, BodyFile):
                self._meter.received(inputs.body_bytes)
            return self._single(request, outcome, inputs.unread)
        run = self._calls.timed_outcome
        calls = [self._call(run, request, index, inputs, context, request_id) for index in range(len(request.calls))]
        return self._batch(request, await side_by_side(calls), inputs.unread)

    async def _call(
        self,
        run: Callable[[Procedure, Context, ReadInput, str], Awaitable[T]],
        request: Request,
        index: int,
        inputs: Inputs | BodyFile,
        context: Context | ServiceError,
        request_id: str,
    ) -> T | ServiceError:
        """Check one call and run it to its end; never raises."""
        path, procedure = request.calls[index]

        async def read_input() -> object:
            return inputs.of(index)

        try:
            found = requests.check_call(request.method, path, procedure, self._rules, is_batch=request.is_batch)
        except ServiceError as error:
            return self._calls.refused(path, error)
        if isinstance(context, ServiceError):
            return self._calls.refused(path, context)
        return await run(found, context, read_input, request_id)

    def _stream_lines(
        self,
        request: Request,
        inputs: Inputs | BodyFile,
        context: Context | ServiceError,
        credential: Credential,
        request_id: str,
    ) -> Answer | LineStream:
        """The answer in JSON lines, if all of it is there, else what gives it bit by bit."""
        paths = [path for path, _ in request.calls]
        asked = Asked(request.method, self._names(request), request_id, requests.refused_method(request, self._rules))
        stream = LineStream(self._lines, asked, paths, credential, keeps_on=_mutates(request))
        whole, settled = self._calls.timed_outcome, self._calls.settled
        calls = [
            self._call(whole if path in self._calls.cannot_defer else settled, request, index, inputs, context, request_id)
            for index, path in enumerate(paths)
        ]
        body = stream.begin(calls)
        return stream if body is None else Answer(200, body, asked.route, asked.allow, inputs.unread)

    async def _subscribe(
        self,
        request: Request,
        inputs: Inputs | BodyFile,
        context: Context | ServiceError,
        credential: Credential,
        request_id: str,
    ) -> Subscription:
        """The subscription that is asked for; what fails before it begins is told in the stream, as tRPC does."""
        path, procedure = request.calls[0]
        event_id = request.last_event_id

        async def read_input() -> object:
            return requests.resumed(inputs.of(0), event_id)

        items: Any
        try:
            found = requests.check_call(request.method, path, procedure, self._rules)
            if isinstance(context, ServiceError):
                items = context
            else:
                items = await self._calls.output(found, context, read_input, request_id)
        except ServiceError as error:
            items = error
        allow = self._allow(request, [items]) if isinstance(items, ServiceError) else b""
        asked = Asked(request.method, path, request_id, allow)
        return Subscription(self._subscriptions, asked, items, event_id, credential)

    def _single(self, request: Request, outcome: Outcome, unread: bool) -> Answer:
        path = request.calls[0][0]
        if isinstance(outcome, bytes):
            return Answer(200, responses.render_result(outcome), path, b"", unread, False, 0, True)
        if isinstance(outcome, ClientDisconnected):
            return _gone(path)
        told = None if isinstance(outcome, StreamRequired) else path
        body = responses.render_error(outcome, told, self._calls.stack(outcome))
        allow = self._allow(request, [outcome])
        return Answer(
            outcome.code.http_status, body, self._names(request), allow, unread, retry_after_s=_retry_after_s([outcome])
        )

    def _batch(self, request: Request, outcomes: list[Outcome], unread: bool) -> Answer:
        paths = [path for path, _ in request.calls]
        envelopes = [
            responses.render_result(outcome)
            if isinstance(outcome, bytes)
            else responses.render_error(outcome, path, self._calls.stack(outcome))
            for path, outcome in zip(paths, outcomes, strict=True)
        ]
        status = responses.status_of(outcomes)
        allow = b"" if status == 200 else self._allow(request, outcomes)
        wait_s = _retry_after_s(outcomes) if status >= 400 else 0
        return Answer(status, responses.render_batch(envelopes), self._names(request), allow, unread, retry_after_s=wait_s)

    def _names(self, request: Request) -> str:
        return ",".join([self._calls.name(path) for path, _ in request.calls])

    def _allow(self, request: Request, outcomes: list[Outcome]) -> bytes:
        """The `allow` header of a 405 (RFC 9110, 15.5.6): what the last call with a wrong method would accept."""
        methods = b""
        for (_, procedure), outcome in zip(request.calls, outcomes, strict=True):
            if procedure is None or isinstance(outcome, bytes) or outcome.code is not Code.METHOD_NOT_SUPPORTED:
                continue
            methods = requests.accepted_methods(procedure.kind, self._rules).encode()
        return methods


def _gone(route: str) -> Answer:
    return Answer(Code.CLIENT_CLOSED_REQUEST.http_status, b"", route, gone=True)


def _retry_after_s(outcomes: list[Outcome]) -> int:
    """After how many seconds all the calls that failed may be tried again, 0 if one that would not help."""
    waits = [retry_after_s(outcome) or 0 for outcome in outcomes if isinstance(outcome, ServiceError)]
    return max(waits) if waits and all(waits) else 0


def _mutates(request: Request) -> bool:
    """Whether the calls are mutations; those of a batch are of one kind."""
    return any(procedure is not None and procedure.kind == "mutation" for _, procedure in request.calls)
