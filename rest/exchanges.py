"""One request and its answer over ASGI, and what happens when a handler fails.

Rules:
1. The body is read lazily, with a limit and a time: uvicorn sends `100 Continue` on the first read, so a client that asks
   first is refused before it sends.
2. A request that is refused before its body is read whole closes its connection, after a moment of reading on: closing at once
   would make the kernel send a reset, and the client lose the answer (nginx calls it lingering close).
3. After the response has started nothing pretends to be an error reply: the handler logs and leaves it incomplete, upon which
   uvicorn closes the connection.
4. A client that goes away is logged at info and answered nothing.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from starlette.types import Receive, Scope, Send

from rest.headers import lines_of, pick
from rest.replies import CLOSE, Headers, Render, Reply, error_reply, internal_error
from schemas import ClientDisconnected, Code, Reason, ServiceError

logger = logging.getLogger("attachd.rest")

# The name of an ASGI extension: `await scope["extensions"][WHOLE_ANSWER](status, header_lines, body)`. uvicorn looks through
# every header of an answer with two regular expressions and joins it piece by piece, which an application with constant headers
# need not pay. Nothing that a client sent may be in these headers: here nobody looks for line ends.
WHOLE_ANSWER = "attachd.whole_answer"
# The name of an ASGI extension: `scope["extensions"][WHOLE_BODY]()` gives the body, instead of `receive`, if all of it has come
# and no part of it was received; else None. It gives bytes and where in them the body begins: what was read together with the
# head need not be copied. And nobody has to set a clock for what need not be waited for.
WHOLE_BODY = "attachd.whole_body"
# The name of an ASGI extension: `scope["extensions"][BODY_SOCKET](left)` gives a BodySocket for the last `left` bytes of the
# body, which the application has not received yet, or None.
BODY_SOCKET = "attachd.body_socket"
# The name in the scope of how many bytes of the body a handler has read, once it is done.
BODY_BYTES = "attachd.body_bytes"
NO_ROUTE = "/…"  # what the log has instead of what it must not have of a path that is no route
LINGER_S = 5.0  # how long a refused body is read on and dropped; nginx's `lingering_timeout`
LINGER_IDLE_S = 1.0  # how long nothing may come meanwhile: a client that waits for the connection to end need not wait longer
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})


class BodySocket(Protocol):
    """The rest of a request's body, read from the socket; `left` counts the bytes still to come."""

    left: int

    def read_into(self, buffer: bytearray) -> int:
        """Read what has come into the buffer; 0 if nothing has. For worker threads. Raises ClientDisconnected."""
        ...

    async def wait(self, timeout_s: float) -> bool:
        """Wait until there is something to read, or the end; False if nothing came for that long."""
        ...

    def close(self) -> None:
        """Hand the socket back; what is left of the body comes through `receive` again."""
        ...


class Exchange:
    """A request and its answer. `headers` has the request's `wanted` ones by name in lower case."""

    __slots__ = ("_receive", "_send", "body_bytes", "complete", "headers", "scope", "started")

    def __init__(self, scope: Scope, receive: Receive, send: Send, wanted: frozenset[bytes]) -> None:
        self.scope = scope
        self.headers = pick(scope["headers"], wanted | _FRAMING)
        self.body_bytes = 0  # read so far
        # Without these two there is no body (RFC 9112, 6.3).
        self.complete = not self.headers.get(b"content-length", b"").strip(b"0") and b"transfer-encoding" not in self.headers
        self.started = False
        self._receive = receive
        self._send = send

    def declared_bytes(self) -> int | None:
        """The Content-Length, or None without one. Raises BAD_REQUEST when it is no number."""
        value = self.headers.get(b"content-length")
        if value is None:
            return None
        if not value.isdigit() or len(value) > 19:
            raise ServiceError(Code.BAD_REQUEST, "Content-Length is not a number of bytes")
        return int(value)

    async def read(self, max_bytes: int, idle_timeout_s: float) -> bytes | None:
        """The next bytes of the body, None at its end.

        Raises PAYLOAD_TOO_LARGE past `max_bytes` of body, TIMEOUT when nothing comes for that long, ClientDisconnected.
        """
        if self.complete:
            return None
        if (whole := self.whole(max_bytes)) is not None:
            data, start = whole
            return data[start:]
        try:
            async with asyncio.timeout(idle_timeout_s):
                message = await self._receive()
        except TimeoutError:
            raise silent(idle_timeout_s) from None
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        self.complete = not message.get("more_body", False)
        body: bytes = message.get("body", b"")
        self._count(len(body), max_bytes)
        return body

    def whole(self, max_bytes: int) -> tuple[bytes, int] | None:
        """All of the body, if it has come and nothing of it was read: the bytes from that place on. None else.

        Raises PAYLOAD_TOO_LARGE past `max_bytes`.
        """
        offered = self.scope.get("extensions", {}).get(WHOLE_BODY)
        if self.complete or self.body_bytes or offered is None:
            return None
        whole: tuple[bytes, int] | None = offered()
        if whole is not None:
            self.complete = True
            data, start = whole
            self._count(len(data) - start, max_bytes)
        return whole

    def _count(self, size: int, max_bytes: int) -> None:
        self.body_bytes += size
        if self.body_bytes > max_bytes:
            raise body_too_large(max_bytes)

    def body_socket(self, least_bytes: int) -> BodySocket | None:
        """The socket to read the rest of the body from, if that is at least so much and the server offers it.

        Close it before anything else is read, and count in `body_bytes` what was.
        """
        left = (self.declared_bytes() or 0) - self.body_bytes
        offered = self.scope.get("extensions", {}).get(BODY_SOCKET)
        if self.complete or left < least_bytes or offered is None:
            return None
        found: BodySocket | None = offered(left)
        return found

    async def disconnected(self) -> None:
        """Returns when the client has gone away; the body must have been read, or be none."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def start(self, status: int, headers: Headers) -> None:
        """Send status and headers."""
        self.started = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def send(self, data: bytes | bytearray, *, more: bool) -> None:
        """Send bytes of the answer's body; without `more` they are the last."""
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def reply(self, reply: Reply) -> None:
        """Send a whole answer; closes the connection when the request was not read whole (rule 2)."""
        headers = [*reply.headers, (b"content-length", b"%d" % len(reply.body))]
        whole = self.scope.get("extensions", {}).get(WHOLE_ANSWER)
        if self.complete and whole is not None:
            self.started = True
            await whole(reply.status, lines_of(headers), reply.body)
        elif self.complete:
            await self.start(reply.status, headers)
            await self.send(reply.body, more=False)
        else:
            await self.start(reply.status, [*headers, CLOSE])
            await self.send(reply.body, more=True)
            await self._linger()
            await self.send(b"", more=False)

    async def _linger(self) -> None:
        try:
            async with asyncio.timeout(LINGER_S):
                while await self.read(2**63, LINGER_IDLE_S) is not None:
                    pass
        except (TimeoutError, ServiceError):
            pass  # whatever ends it: the connection closes now


def silent(idle_timeout_s: float) -> ServiceError:
    """The error of a client that stopped sending."""
    return ServiceError(Code.TIMEOUT, f"nothing came for {idle_timeout_s:g} seconds, the request is given up")


def body_too_large(max_bytes: int) -> ServiceError:
    """The error of a request over its limit, whatever it holds."""
    message = f"the request exceeds {max_bytes} bytes, the largest file that is allowed and its form"
    return ServiceError(Code.PAYLOAD_TOO_LARGE, message, reason=Reason.ATTACHMENT_TOO_LARGE)


async def answer(handle: Callable[[Exchange], Awaitable[None]], exchange: Exchange, render: Render = error_reply) -> None:
    """Let `handle` answer; what it raises becomes the answer, as `render` writes it, as long as none has started."""
    try:
        await handle(exchange)
    except ClientDisconnected:
        scope = exchange.scope
        logger.info("%s %s: the client went away after %d bytes", scope["method"], _route(scope), exchange.body_bytes)
    except ServiceError as error:
        if error.code.http_status >= 500:
            _log(exchange, error)
        await _reply_unless_started(exchange, render(error))
    except Exception as error:  # noqa: BLE001 - the edge: whatever it is, it is logged once and the client learns nothing of it
        _log(exchange, error)
        await _reply_unless_started(exchange, render(internal_error()))
    finally:
        exchange.scope[BODY_BYTES] = exchange.body_bytes


def _log(exchange: Exchange, error: Exception) -> None:
    fields = {"request_id": exchange.scope.get("request_id", "")}
    trace: Exception | None = error
    if isinstance(error, ServiceError) and error.code is Code.SERVICE_UNAVAILABLE:  # an outage, and no bug to be found
        fields["cause"], trace = error.cause, None
    logger.error("%s %s failed", exchange.scope["method"], _route(exchange.scope), exc_info=trace, extra={"fields": fields})


def _route(scope: Scope) -> str:
    """The path as the log may have it: with the names of parameters instead of what they are, since one may be a secret."""
    path: str = scope["route"].path if "route" in scope else NO_ROUTE
    return path


async def _reply_unless_started(exchange: Exchange, reply: Reply) -> None:
    if not exchange.started:
        await exchange.reply(reply)


class Shapes:
    """The shape in which each API tells of errors, by the prefix of its paths; other paths have that of API A."""

    def __init__(self, renders: Mapping[str, Render]) -> None:
        # The longest prefix first: it is the most particular.
        self._renders = sorted(renders.items(), key=lambda item: -len(item[0]))

    def reply(self, path: str, error: ServiceError) -> Reply:
        """The answer that tells the client of an error."""
        return next((render for prefix, render in self._renders if path.startswith(prefix)), error_reply)(error)


class NotFound:
    """The ASGI application of every path that is none: 404."""

    def __init__(self, shapes: Shapes) -> None:
        self._shapes = shapes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path = scope["path"]
        error = ServiceError(Code.NOT_FOUND, f"there is nothing at {path[:200]}")
        await Exchange(scope, receive, send, frozenset()).reply(self._shapes.reply(path, error))


class Busy:
    """The ASGI application of connections that there is no room for: 503, after which they are closed."""

    def __init__(self, shapes: Shapes) -> None:
        self._shapes = shapes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        error = ServiceError(Code.SERVICE_UNAVAILABLE, "the server has as many connections as it can, try again")
        reply = self._shapes.reply(scope["path"], error)
        exchange = Exchange(scope, receive, send, frozenset())
        exchange.complete = False  # nothing more is read of the connection, even if all of this request was
        await exchange.reply(reply)


not_found = NotFound(Shapes({}))
