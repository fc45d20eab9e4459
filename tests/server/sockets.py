"""A running server with procedures to call over WebSocket, and clients of it."""

import asyncio
import contextlib
import contextvars
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from procedures import Context, Router, Tracked, authenticated, procedure
from schemas import Code, ServiceError
from tests.server.streaming import Live, serving

TIMEOUT_S = 30.0
LAST_SEEN: contextvars.ContextVar[str] = contextvars.ContextVar("LAST_SEEN", default="nothing")


class World:
    """What the procedures of these tests do and note."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.open = 0
        self.done: list[str] = []
        self.produced = 0

    def router(self) -> Router:
        """The procedures."""
        router = Router()
        self._declare_calls(router)
        self._declare_subscriptions(router)
        self._declare_floods(router)
        return router

    def _declare_calls(self, router: Router) -> None:
        @router.query()
        async def echo(ctx: Context, input: Any) -> Any:
            return input

        @router.mutation()
        async def shout(ctx: Context, input: str) -> str:
            return input.upper()

        @router.query()
        async def who(ctx: Context) -> str | None:
            return ctx.principal.user_id if ctx.principal else None

        @router.query(procedure.use(authenticated))
        async def secret(ctx: Context) -> str:
            return "secret"

        @router.mutation()
        async def wait(ctx: Context, input: str) -> str:
            async with asyncio.timeout(TIMEOUT_S):  # which goes by the task
                await self.gate.wait()
            self.done.append(input)
            return input

        @router.query()
        async def remember(ctx: Context, input: str) -> str:
            seen = LAST_SEEN.get()
            LAST_SEEN.set(input)
            await asyncio.sleep(0 if input == "now" else 0.01)
            return f"{seen} {LAST_SEEN.get()}"

        @router.query()
        async def fail(ctx: Context, input: str) -> str:
            raise ServiceError(Code[input], "told") if input else RuntimeError("nobody's business")

        @router.query()
        async def many(ctx: Context) -> AsyncIterator[int]:
            yield 1

    def _declare_subscriptions(self, router: Router) -> None:
        @router.subscription()
        async def count(ctx: Context, input: int) -> AsyncIterator[int]:
            for number in range(input):
                yield number

        @router.subscription()
        async def resume(ctx: Context, input: Any) -> AsyncIterator[Tracked[Any]]:
            yield Tracked("next", input)

        @router.subscription()
        async def endless(ctx: Context, input: str) -> AsyncIterator[str]:
            self.open += 1
            try:
                yield input
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0.01)
                self.open -= 1
                self.done.append(input)

        @router.subscription()
        async def broken(ctx: Context, input: int) -> AsyncIterator[int]:
            if input < 0:
                raise ServiceError(Code.FORBIDDEN, "told")
            yield input
            raise RuntimeError("nobody's business")

        @router.subscription(procedure.use(authenticated))
        async def private(ctx: Context) -> AsyncIterator[str]:
            yield "private"
            await asyncio.Event().wait()

    def _declare_floods(self, router: Router) -> None:
        @router.subscription()
        async def busy(ctx: Context) -> AsyncIterator[int]:
            while True:
                yield 1

        @router.subscription()
        async def flood(ctx: Context) -> AsyncIterator[str]:
            while True:
                self.produced += 1
                yield "x" * 10_000
                await asyncio.sleep(0)


class Client:
    """A WebSocket to the server, in tRPC's messages."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def send(self, *messages: Any) -> None:
        for message in messages:
            await self.socket.send(message if isinstance(message, str) else json.dumps(message))

    async def read(self) -> Any:
        """The next message, decoded; PING and PONG as they are."""
        async with asyncio.timeout(TIMEOUT_S):
            text = await self.socket.recv()
        return text if text in ("PING", "PONG") else json.loads(text)

    async def read_many(self, count: int) -> list[Any]:
        return [await self.read() for _ in range(count)]

    async def call(self, path: str, input: Any = None, *, id: Any = 1, method: str = "query") -> Any:
        """The answer to one call: the data, or the key of the error."""
        await self.send(request(path, input, id=id, method=method))
        answer = await self.read()
        assert answer["id"] == id
        return outcome(answer)

    async def closed(self) -> tuple[int, str]:
        """How the server closes the connection; whatever else comes is dropped."""
        with contextlib.suppress(ConnectionClosed):
            async with asyncio.timeout(TIMEOUT_S):
                while True:
                    await self.socket.recv()
        return self.socket.close_code or 0, self.socket.close_reason or ""


def request(path: str, input: Any = None, *, id: Any = 1, method: str = "query", **params: Any) -> dict[str, Any]:
    return {"id": id, "method": method, "params": {"path": path, "input": {"json": input}, **params}}


def subscription(path: str, input: Any = None, *, id: Any = 1, **params: Any) -> dict[str, Any]:
    return request(path, input, id=id, method="subscription", **params)


def stop(id: Any = 1) -> dict[str, Any]:
    return {"id": id, "method": "subscription.stop"}


def outcome(answer: Any) -> Any:
    """The data of an answer, or the key of its error."""
    if "error" in answer:
        return answer["error"]["json"]["data"]["code"]
    return answer["result"]["data"]["json"] if answer["result"]["type"] == "data" else answer["result"]["type"]


class Site:
    """The running server and its world."""

    def __init__(self, live: Live, world: World) -> None:
        self.live = live
        self.world = world
        self.url = f"ws://127.0.0.1:{live.port}/api/trpc"

    @asynccontextmanager
    async def client(self, query: str = "", **options: Any) -> AsyncIterator[Client]:
        options = {"compression": None, "proxy": None, "ping_interval": None, "open_timeout": TIMEOUT_S, **options}
        async with connect(self.url + query, **options) as socket:
            yield Client(socket)

    @property
    def connections(self) -> int:
        """How many the server has."""
        return len(self.live.app._sockets._connections)  # type: ignore[union-attr]  # noqa: SLF001

    async def session(self) -> tuple[str, str]:
        """The user and the token of a new session."""
        return await self.live.session()


@asynccontextmanager
async def site(folder: Path, **settings: str) -> AsyncIterator[Site]:
    world = World()
    async with serving(folder, world.router(), development=False, **settings) as live:
        yield Site(live, world)
        world.gate.set()
