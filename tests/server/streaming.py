"""A real server in the event loop of the test, with procedures of the test's own, and raw connections to it."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import msgspec
import uvicorn

from procedures import Router
from server.app import App, create_app
from server.quick_protocol import QuickProtocol
from server.settings import load_settings
from storage import Store, fresh_id
from tests.engines.backing import backing_of

TIMEOUT_S = 30.0


@asynccontextmanager
async def serving(
    folder: Path, router: Router, http: type[QuickProtocol] = QuickProtocol, /, *, development: bool = False, **settings: str
) -> AsyncIterator["Live"]:
    """A server with `router` beside the procedures of attachd; settings by their variables without ATTACHD_."""
    variables = {
        **backing_of(folder).settings,
        "ATTACHD_SERVER_REQUEST_LOG": "false",
        # No ping comes between what a test reads, however long the machine stalls, unless the test asks for pings.
        "ATTACHD_STREAM_PING_SECONDS": "60",
        "ATTACHD_STREAM_RECONNECT_AFTER_INACTIVITY_SECONDS": "120",
        "ATTACHD_STREAM_JSONL_PING_SECONDS": "60",
        **{f"ATTACHD_{name.upper()}": value for name, value in settings.items()},
    }
    loaded = load_settings(None, variables)
    loaded = msgspec.structs.replace(loaded, server=msgspec.structs.replace(loaded.server, development=development))
    app = create_app(loaded, [router])
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, http=http, lifespan="on", ws="none", log_config=None, server_header=False, timeout_graceful_shutdown=5
    )
    server = uvicorn.Server(config)
    # The test process keeps its own signals.
    task = asyncio.create_task(server._serve([listening]))  # noqa: SLF001
    try:
        while not server.started:
            assert not task.done(), "the server did not start"
            await asyncio.sleep(0.01)
        live = Live(app, listening.getsockname()[1], server)
        yield live
        await live.leave()
    finally:
        server.should_exit = True
        app.begin_shutdown()
        await task


class Live:
    """The running server."""

    def __init__(self, app: App, port: int, server: uvicorn.Server) -> None:
        self.app = app
        self.port = port
        self._server = server
        self._answers: list[Answer] = []

    async def leave(self) -> None:
        """Close all connections."""
        for answer in self._answers:
            answer.leave()
            with contextlib.suppress(ConnectionError):
                await answer.writer.wait_closed()

    @property
    def store(self) -> Store:
        """The store of the application."""
        store = self.app._store  # noqa: SLF001
        assert store is not None
        return store

    async def session(self) -> tuple[str, str]:
        """The user and the token of a new session."""
        user = fresh_id()
        token = await self.store.credentials.create_session(user_id=user, organization_id=fresh_id(), role="member", ttl_s=60)
        return user, token

    def requests(self) -> int:
        """How many requests are being answered."""
        return len(self._server.server_state.tasks)

    async def get(self, path: str, *headers: str) -> "Answer":
        """The beginning of the answer to a GET below the prefix of tRPC."""
        return await self.request("GET", path, *headers)

    async def request(self, method: str, path: str, *headers: str, body: bytes = b"") -> "Answer":
        """The beginning of an answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        length = [f"Content-Length: {len(body)}"] if body else []
        head = [f"{method} /api/trpc/{path} HTTP/1.1", "Host: ignored.example", *headers, *length, "", ""]
        writer.write("\r\n".join(head).encode() + body)
        self._answers.append(Answer(reader, writer))
        return await self._answers[-1].begin()


class Answer:
    """An answer that is being read: header names in lower case."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self.status = 0
        self.headers: dict[str, str] = {}

    async def begin(self) -> Self:
        """Read status and headers, those of the next answer when one was read whole."""
        self.headers = {}
        status, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        self.status = int(status.split()[1])
        for name, _, value in (line.partition(": ") for line in lines if line):
            assert name not in self.headers
            self.headers[name] = value
        return self

    async def chunk(self) -> bytes:
        """The next chunk; empty at the end of the body."""
        async with asyncio.timeout(TIMEOUT_S):
            size = int(await self._reader.readuntil(b"\r\n"), 16)
            data = await self._reader.readexactly(size + 2)
        assert data.endswith(b"\r\n")
        return data[:-2]

    async def rest(self) -> bytes:
        """The body from here to its end."""
        if "content-length" in self.headers:
            return await self._reader.readexactly(int(self.headers["content-length"]))
        pieces = []
        while piece := await self.chunk():
            pieces.append(piece)
        return b"".join(pieces)

    async def json(self) -> Any:
        """The body, decoded."""
        return json.loads(await self.rest())

    def leave(self) -> None:
        """Go away."""
        self.writer.close()


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until the condition comes true; fails if it does not."""
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():  # noqa: ASYNC110 (the server has no event for it)
            await asyncio.sleep(0.01)


def read_all(port: int, request: bytes) -> bytes:
    """The end of what comes to a client that reads as fast as it is written to; it needs a thread of its own."""
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as connection:
        connection.sendall(request)
        end = b""
        while piece := connection.recv(65_536):
            end = (end + piece)[-400:]
            if end.endswith(b"\r\n0\r\n\r\n"):
                break
        return end
