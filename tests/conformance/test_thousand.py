"""1,000 subscriptions of attachments.onChange in one process: what each costs, that it gets every event, and leaves nothing."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from tests.conformance.launched import Launched

SUBSCRIBERS = 1000
EVENTS = 10
MAX_BYTES_EACH = 64 * 1024
DELIVERED_WITHIN_S = 2.0
CLOSED_WITHIN_S = 5.0
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


class Subscriber:
    """A subscription on a raw socket, with the events of data it has got, (id, data), and when it got the newest."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self.events: list[tuple[int, dict[str, object]]] = []

    async def read_until(self, count: int) -> float:
        """Read until there are so many events; the `time.perf_counter()` of the last."""
        while len(self.events) < count:
            frame = await self._reader.readuntil(_END_OF_EVENT)
            fields = dict(line.split(b": ", 1) for line in frame.split(b"\n") if b": " in line)
            if b"id" in fields:
                self.events.append((int(fields[b"id"]), json.loads(fields[b"data"])["json"]))
        return time.perf_counter()


@asynccontextmanager
async def subscribed(site: Launched, conversation_id: str) -> AsyncIterator[Subscriber]:
    """A subscription that is under way: its `ready` has come."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    try:
        input = quote(json.dumps({"json": {"conversationId": conversation_id}}))
        head = f"GET /api/trpc/attachments.onChange?input={input} HTTP/1.1\r\nhost: localhost\r\n"
        writer.write(f"{head}cookie: session={site.names['member']}\r\n\r\n".encode())
        subscriber = Subscriber(reader)
        await subscriber.read_until(1)
        yield subscriber
    finally:
        writer.close()
        await writer.wait_closed()


async def subscribe_all(stack: AsyncExitStack, site: Launched, conversation_id: str, count: int) -> list[Subscriber]:
    subscribers: list[Subscriber] = []
    for start in range(0, count, SIDE_BY_SIDE):
        entering = (
            stack.enter_async_context(subscribed(site, conversation_id)) for _ in range(min(SIDE_BY_SIDE, count - start))
        )
        subscribers += await asyncio.gather(*entering)
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


async def test_a_thousand_subscriptions(site: Launched) -> None:
    process = Process(site.process.pid)
    conversation = site.names["silence"]
    cookies = {"session": site.names["member"]}
    async with httpx.AsyncClient(base_url=site.base_url, cookies=cookies, timeout=30) as client:
        # What the first subscription and the first upload cost is not a subscription's own.
        async with AsyncExitStack() as stack:
            await subscribe_all(stack, site, conversation, 20)
            await upload(client, conversation, "warm.txt")
        tasks, descriptors = await settled(client, process)
        resident = process.resident_bytes()

        async with AsyncExitStack() as stack:
            subscribers = await subscribe_all(stack, site, conversation, SUBSCRIBERS)
            assert (process.resident_bytes() - resident) / SUBSCRIBERS < MAX_BYTES_EACH
            uploaded = []
            for number in range(EVENTS):
                begun = time.perf_counter()
                uploaded.append(await upload(client, conversation, f"{number}.txt"))
                ended = await asyncio.gather(*(subscriber.read_until(number + 2) for subscriber in subscribers))
                assert max(ended) - begun < DELIVERED_WITHIN_S
            expected = [("ready", None), *(("created", id) for id in uploaded)]
            for subscriber in subscribers:
                assert [(data["type"], data["id"]) for _, data in subscriber.events] == expected
                assert subscriber.events[1:] == subscribers[0].events[1:]
            assert (process.resident_bytes() - resident) / SUBSCRIBERS < MAX_BYTES_EACH
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
