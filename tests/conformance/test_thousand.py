"""1,000 subscriptions of attachments.onChange in one process: what each costs, that it gets every event, and leaves nothing.

And fewer over WebSockets, which cost their client more.
"""

import asyncio
import json
import statistics
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.conformance.launched import Launched

EVENTS = 10
MAX_BYTES_EACH = 64 * 1024
DELIVERED_WITHIN_S = 2.0
CLOSED_WITHIN_S = 30.0
# How many connections are made at a time, so that the listening socket's backlog holds them.
SIDE_BY_SIDE = 100
_END_OF_EVENT = b"\n\n\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    with Launched(tmp_path_factory.mktemp("thousand")) as site:
        yield site


class Process:
    """What the kernel knows of the server's process."""

    def __init__(self, pid: int) -> None:
        self._folder = Path("/proc") / str(pid)

    def resident_bytes(self) -> int:
        line = next(line for line in (self._folder / "status").read_text().splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024

    def descriptors(self) -> int:
        return len(list((self._folder / "fd").iterdir()))


class Subscriber(ABC):
    """A subscription with the events of data it has got, (id, data)."""

    def __init__(self) -> None:
        self.events: list[tuple[int, dict[str, object]]] = []

    async def read_until(self, count: int) -> float:
        """Read until there are so many events; the `time.perf_counter()` of the last."""
        while len(self.events) < count:
            event = await self.next()
            if event is not None:
                self.events.append(event)
        return time.perf_counter()

    @abstractmethod
    async def next(self) -> tuple[int, dict[str, object]] | None:
        """What comes next; None if it is no event of data."""


class EventStream(Subscriber):
    """Over server-sent events, on a raw socket."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        super().__init__()
        self._reader = reader

    @classmethod
    @asynccontextmanager
    async def open(cls, site: Launched, conversation_id: str) -> AsyncIterator[Subscriber]:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        try:
            input = quote(json.dumps({"json": {"conversationId": conversation_id}}))
            head = f"GET /api/trpc/attachments.onChange?input={input} HTTP/1.1\r\nhost: localhost\r\n"
            writer.write(f"{head}cookie: session={site.names['member']}\r\n\r\n".encode())
            yield cls(reader)
        finally:
            writer.close()
            await writer.wait_closed()

    async def next(self) -> tuple[int, dict[str, object]] | None:
        frame = await self._reader.readuntil(_END_OF_EVENT)
        fields = dict(line.split(b": ", 1) for line in frame.split(b"\n") if b": " in line)
        return (int(fields[b"id"]), json.loads(fields[b"data"])["json"]) if b"id" in fields else None


class WebSocket(Subscriber):
    """Over a WebSocket of its own."""

    def __init__(self, socket: ClientConnection) -> None:
        super().__init__()
        self._socket = socket

    @classmethod
    @asynccontextmanager
    async def open(cls, site: Launched, conversation_id: str) -> AsyncIterator[Subscriber]:
        headers = {"cookie": f"session={site.names['member']}"}
        async with connect(f"ws://127.0.0.1:{site.port}/api/trpc", additional_headers=headers, compression=None) as socket:
            params = {"path": "attachments.onChange", "input": {"json": {"conversationId": conversation_id}}}
            await socket.send(json.dumps({"id": 1, "method": "subscription", "params": params}))
            yield cls(socket)

    async def next(self) -> tuple[int, dict[str, object]] | None:
        message = await self._socket.recv()
        if message == "PING":
            await self._socket.send("PONG")
            return None
        result = json.loads(message)["result"]
        return (int(result["id"]), result["data"]["json"]["data"]) if result["type"] == "data" else None


async def subscribe_all(
    stack: AsyncExitStack, transport: type[EventStream | WebSocket], site: Launched, conversation_id: str, count: int
) -> list[Subscriber]:
    """So many subscriptions, all under way: `ready` has come."""

    async def subscribe() -> Subscriber:
        subscriber = await stack.enter_async_context(transport.open(site, conversation_id))
        await subscriber.read_until(1)
        return subscriber

    subscribers: list[Subscriber] = []
    for start in range(0, count, SIDE_BY_SIDE):
        subscribers += await asyncio.gather(*(subscribe() for _ in range(min(SIDE_BY_SIDE, count - start))))
    return subscribers


async def held(client: httpx.AsyncClient) -> int:
    """The tasks of the server's event loop."""
    tasks: int = (await client.get("/api/trpc/open.held")).json()["result"]["data"]["json"]["tasks"]
    return tasks


async def upload(client: httpx.AsyncClient, conversation_id: str, name: str) -> str:
    reply = await client.post("/api/upload", data={"conversationId": conversation_id}, files={"file": (name, b"a note\n")})
    assert reply.status_code == 200, reply.text
    id: str = reply.json()["id"]
    return id


@pytest.mark.parametrize(
    ("transport", "count"), [pytest.param(EventStream, 1000, id="sse"), pytest.param(WebSocket, 200, id="ws")]
)
async def test_many_subscriptions(site: Launched, transport: type[EventStream | WebSocket], count: int) -> None:
    process = Process(site.process.pid)
    conversation = site.names["silence"]
    cookies = {"session": site.names["member"]}
    async with httpx.AsyncClient(base_url=site.base_url, cookies=cookies, timeout=30) as client:
        # What the first subscription and the first upload cost is not a subscription's own.
        async with AsyncExitStack() as stack:
            await subscribe_all(stack, transport, site, conversation, 20)
            await upload(client, conversation, "warm.txt")
        tasks, descriptors = await settled(client, process)
        resident = process.resident_bytes()

        async with AsyncExitStack() as stack:
            subscribers = await subscribe_all(stack, transport, site, conversation, count)
            assert (process.resident_bytes() - resident) / count < MAX_BYTES_EACH
            uploaded, took = [], []
            for number in range(EVENTS):
                begun = time.perf_counter()
                uploaded.append(await upload(client, conversation, f"{number}.txt"))
                ended = await asyncio.gather(*(subscriber.read_until(number + 2) for subscriber in subscribers))
                took.append(max(ended) - begun)
            assert statistics.median(took) < DELIVERED_WITHIN_S  # the machine may have stalled during one
            expected = [("ready", None), *(("created", id) for id in uploaded)]
            for subscriber in subscribers:
                assert [(data["type"], data["id"]) for _, data in subscriber.events] == expected
                assert subscriber.events[1:] == subscribers[0].events[1:]
            assert (process.resident_bytes() - resident) / count < MAX_BYTES_EACH
        await until_as_before(client, process, (tasks, descriptors))


async def settled(client: httpx.AsyncClient, process: Process) -> tuple[int, int]:
    """Tasks and descriptors of the server when nothing is under way but the connection that asks."""
    before = (-1, -1)
    while (now := (await held(client), process.descriptors())) != before:
        before = now
        await asyncio.sleep(0.1)
    return now


async def until_as_before(client: httpx.AsyncClient, process: Process, before: tuple[int, int]) -> None:
    """Wait until no task and no descriptor is left of what was closed."""
    deadline = time.monotonic() + CLOSED_WITHIN_S
    while (now := (await held(client), process.descriptors())) != before:
        assert time.monotonic() < deadline, f"(tasks, descriptors) are {now}, and were {before}"
        await asyncio.sleep(0.05)
