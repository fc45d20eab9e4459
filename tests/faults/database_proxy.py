"""A PostgreSQL that fails: stands between attachd and a real server, reads what is asked, and fails there.

    with proxy.at("COMMIT", "cut-after"):
        …                        # the server commits, and nobody hears of it

The messages are those of PostgreSQL's protocol 3 ("Frontend/Backend Protocol"), without TLS.
"""

import asyncio
import contextlib
import re
import struct
from collections.abc import Iterator
from typing import Final, Literal

from tests.faults.loop import LoopThread, reset

_SSL_REQUEST: Final = 80877103
_LENGTH: Final = struct.Struct("!I")

# At a statement: RST before the server has it; RST after the server did it, before its answer; no answer, though it does it; it
# never gets there; or an error of the server, by its SQLSTATE.
Fault = Literal["cut-before", "cut-after", "no-answer", "stall"] | tuple[str, str]


class _Rule:
    def __init__(self, pattern: str, fault: Fault, times: int | None) -> None:
        self.pattern = re.compile(pattern)
        self.fault = fault
        self.left = times
        self.hits: list[str] = []

    def matches(self, text: str) -> bool:
        if self.left == 0 or not self.pattern.match(text):
            return False
        self.left = None if self.left is None else self.left - 1
        self.hits.append(text)
        return True


class DatabaseProxy(LoopThread):
    """Listens on `port`; a context manager."""

    def __init__(self, upstream: int) -> None:
        super().__init__("database-proxy")
        self.upstream = upstream
        self.port = 0
        self.rules: list[_Rule] = []
        self.links: set[_Link] = set()
        self.stalled = False
        self.delay_s = 0.0
        self._server: asyncio.Server | None = None

    async def begin(self) -> None:
        """Listen, on the port of the last time if there was one."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _FromClient(self), "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def end(self) -> None:
        """Listen no more; break all connections."""
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._reset()

    async def _reset(self) -> None:
        for link in list(self.links):
            link.reset()

    def reset(self) -> None:
        """Break all connections, as a server that crashes."""
        self.do(self._reset())

    def forget(self) -> None:
        """From now on nothing comes through the connections that there are, and nobody is told; new ones are good."""
        for link in list(self.links):
            link.fault = "stall"

    @contextlib.contextmanager
    def down(self) -> Iterator[None]:
        """Meanwhile nobody listens, and no connection is left."""
        self.do(self.end())
        try:
            yield
        finally:
            self.do(self.begin())

    @contextlib.contextmanager
    def silent(self) -> Iterator[None]:
        """Meanwhile nothing comes through, and nobody is told, as when a network is cut; what was sent is delivered later."""
        self.stalled = True
        try:
            yield
        finally:
            self.stalled = False
            self.do(self._resume())

    async def _resume(self) -> None:
        for link in list(self.links):
            link.flush()

    @contextlib.contextmanager
    def slow(self, delay_s: float) -> Iterator[None]:
        """Meanwhile every answer takes so much longer."""
        self.delay_s = delay_s
        try:
            yield
        finally:
            self.delay_s = 0.0

    @contextlib.contextmanager
    def at(self, pattern: str, fault: Fault, *, times: int | None = None) -> Iterator[list[str]]:
        """Meanwhile the fault is met at every statement, or at the next `times`, that begins so. Gives those that met it."""
        rule = _Rule(pattern, fault, times)
        self.rules.append(rule)
        try:
            yield rule.hits
        finally:
            self.rules.remove(rule)
            if fault in ("stall", "no-answer"):
                self.reset()


class _Link:
    """A connection through the proxy."""

    def __init__(self, proxy: DatabaseProxy, client: asyncio.Transport) -> None:
        self.proxy = proxy
        self.client = client
        self.server: asyncio.Transport | None = None
        self.to_server: list[bytes] = []  # what waits, for the connection or while the proxy is silent
        self.to_client: list[bytes] = []
        self.statements: dict[bytes, str] = {}
        self.fault: Fault | None = None
        self.begun = False  # the start-up message has passed
        self.in_transaction = False
        self.unread = b""
        proxy.links.add(self)

    def reset(self) -> None:
        self.proxy.links.discard(self)
        reset(self.client)
        if self.server is not None:
            reset(self.server)

    def flush(self) -> None:
        if self.server is not None and not self.proxy.stalled:
            self.server.write(b"".join(self.to_server))
            self.to_server = []
            self.client.write(b"".join(self.to_client))
            self.to_client = []

    def from_client(self, data: bytes) -> None:
        """Pass on the messages of which all has come, until one meets a fault."""
        self.unread += data
        while (message := self._next()) is not None:
            self._take(message)
        self.flush()

    def _next(self) -> bytes | None:
        kind = 1 if self.begun else 0  # the first messages have no type
        if len(self.unread) < kind + 4:
            return None
        end = kind + _LENGTH.unpack_from(self.unread, kind)[0]
        if len(self.unread) < end:
            return None
        message, self.unread = self.unread[:end], self.unread[end:]
        return message

    def _take(self, message: bytes) -> None:
        if not self.begun:
            self.begun = _LENGTH.unpack_from(message, 4)[0] != _SSL_REQUEST
            self.to_server.append(message)
            return
        if self.fault is None:
            text = self._statement(message)
            rule = next((rule for rule in self.proxy.rules if text and rule.matches(text)), None)
            self.fault = None if rule is None else rule.fault
        if self.fault is None or self.fault in ("cut-after", "no-answer"):
            self.to_server.append(message)
        elif self.fault == "cut-before":
            self.reset()
        elif isinstance(self.fault, tuple) and message[:1] in b"QS":  # the end of what is asked, by either protocol
            self.client.write(_error(*self.fault, in_transaction=self.in_transaction))
            self.fault = None

    def _statement(self, message: bytes) -> str:
        """The text of the statement that a message executes; "" if it executes none."""
        kind, body = message[:1], message[5:]
        if kind == b"P":
            name, text, _ = body.split(b"\0", 2)
            self.statements[name] = text.decode()
        elif kind == b"B":
            _, name, _ = body.split(b"\0", 2)
            return self.statements.get(name, "")
        elif kind == b"Q":
            text = body.rstrip(b"\0")
            self.in_transaction = text.startswith(b"BEGIN") or (self.in_transaction and not text.startswith((b"CO", b"RO")))
            return text.decode()
        return ""

    def from_server(self, data: bytes) -> None:
        if self.fault == "cut-after":
            self.reset()
        elif self.fault is None or isinstance(self.fault, tuple):
            if self.proxy.delay_s:
                asyncio.get_running_loop().call_later(self.proxy.delay_s, self._pass_on, data)
            else:
                self._pass_on(data)

    def _pass_on(self, data: bytes) -> None:
        self.to_client.append(data)
        self.flush()


class _FromClient(asyncio.Protocol):
    def __init__(self, proxy: DatabaseProxy) -> None:
        self._proxy = proxy

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._link = _Link(self._proxy, transport)
        self._connecting = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        try:
            loop = asyncio.get_running_loop()
            await loop.create_connection(lambda: _FromServer(self._link), "127.0.0.1", self._proxy.upstream)
        except OSError:
            self._link.reset()

    def data_received(self, data: bytes) -> None:
        self._link.from_client(data)

    def connection_lost(self, _: Exception | None) -> None:
        self._proxy.links.discard(self._link)
        if self._link.server is not None:
            self._link.server.abort()


class _FromServer(asyncio.Protocol):
    def __init__(self, link: _Link) -> None:
        self._link = link

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._link.server = transport
        if self._link.client.is_closing():  # it went before this came
            transport.abort()
        else:
            self._link.flush()

    def data_received(self, data: bytes) -> None:
        self._link.from_server(data)

    def connection_lost(self, _: Exception | None) -> None:
        if not self._link.client.is_closing():
            self._link.client.close()


def _error(state: str, message: str, *, in_transaction: bool) -> bytes:
    """ErrorResponse and ReadyForQuery."""
    fields = {"S": "ERROR", "V": "ERROR", "C": state, "M": message}
    body = b"".join(key.encode() + value.encode() + b"\0" for key, value in fields.items()) + b"\0"
    ready = b"E" if in_transaction else b"I"
    return b"E" + _LENGTH.pack(len(body) + 4) + body + b"Z" + _LENGTH.pack(5) + ready
