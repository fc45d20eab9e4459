"""Who subscribes at either server hears of what happens at both: everything, once, in the order of the log."""

import contextlib
import json
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from websockets.sync.client import connect

from tests.cluster.cluster import Cluster
from tests.cluster.test_together import call, upload
from tests.running import Attachd

pytestmark = pytest.mark.only_on("postgresql", "s3", reason="what several machines share")

UPLOADS = 24
EVENT_TIMEOUT_S = 60.0
Event = tuple[int, str, str | None]  # number, kind, attachment


def by_sse(server: Attachd, conversation: str) -> Iterator[Event]:
    """The events of a subscription over server-sent events; the first is `ready`."""
    params = {"input": json.dumps({"conversationId": conversation})}
    with (
        server.client() as client,
        client.stream("GET", "/api/trpc/attachments.onChange", params=params, timeout=EVENT_TIMEOUT_S) as reply,
    ):
        fields: dict[str, str] = {}
        for line in reply.iter_lines():
            name, _, value = line.partition(": ")
            if line:
                fields[name] = value
            elif fields:
                if "id" in fields:
                    data = json.loads(fields["data"])["json"]
                    yield int(fields["id"]), data["type"], data["id"]
                fields = {}


def by_websocket(server: Attachd, conversation: str) -> Iterator[Event]:
    """The same over a WebSocket."""
    url = server.base_url.replace("http", "ws", 1) + "/api/trpc"
    cookie = {"Cookie": f"session={server.tokens['member']}"}
    with connect(url, additional_headers=cookie, compression=None, proxy=None, open_timeout=EVENT_TIMEOUT_S) as socket:
        params = {"path": "attachments.onChange", "input": {"json": {"conversationId": conversation}}}
        socket.send(json.dumps({"id": 1, "method": "subscription", "params": params}))
        while True:
            message = socket.recv(timeout=EVENT_TIMEOUT_S)
            if message == "PING":
                socket.send("PONG")
            elif (result := json.loads(message)["result"])["type"] == "data":
                data = result["data"]["json"]["data"]
                yield int(result["id"]), data["type"], data["id"]


def test_events_of_both_reach_subscribers_of_both(cluster: Cluster) -> None:
    conversation = str(uuid.uuid4())
    ways: list[Callable[[Attachd, str], Iterator[Event]]] = [by_sse, by_websocket]
    streams = [way(server, conversation) for server in cluster.both for way in ways]
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(len(streams) + 4) as pool:
        for stream in streams:
            stack.callback(stream.close)  # type: ignore[attr-defined]  # a generator
        for number, kind, attachment in [next(stream) for stream in streams]:
            assert (number >= 0, kind, attachment) == (True, "ready", None)

        def change(number: int) -> None:
            here, there = cluster.both if number % 2 else (cluster.two, cluster.one)
            with here.client() as mine, there.client() as yours:
                id = upload(mine, conversation, f"{number}.txt", b"text")["id"]
                call(yours, "attachments.rename", {"id": id, "filename": f"renamed-{number}.txt"}, mutation=True)
                if number % 3 == 0:
                    call(mine, "attachments.delete", {"id": id}, mutation=True)

        list(pool.map(change, range(UPLOADS)))
        sql = "SELECT id, kind, attachment_id FROM events WHERE conversation_id = ? ORDER BY id"
        log = cluster.one.backing.query(sql, conversation)
        assert len(log) == 2 * UPLOADS + UPLOADS // 3
        heard = pool.map(lambda stream: [next(stream) for _ in log], streams)
        assert list(heard) == [log] * len(streams)


def test_who_changes_over_to_the_other_server_misses_nothing(cluster: Cluster) -> None:
    conversation = str(uuid.uuid4())
    with cluster.one.client() as client:
        stream = by_sse(cluster.one, conversation)
        next(stream)
        ids = [upload(client, conversation, "a.txt", b"text")["id"]]
        last, _, _ = next(stream)
        stream.close()  # type: ignore[attr-defined]  # a generator
        ids += [upload(client, conversation, "a.txt", b"text")["id"] for _ in range(3)]
    with cluster.two.client() as client:
        params = {"input": json.dumps({"conversationId": conversation, "lastEventId": str(last)})}
        with client.stream("GET", "/api/trpc/attachments.onChange", params=params, timeout=EVENT_TIMEOUT_S) as reply:
            assert heard_ids(reply, 3) == ids[1:]


def heard_ids(reply: httpx.Response, count: int) -> list[str]:
    """The attachments of the next changes."""
    found: list[str] = []
    for line in reply.iter_lines():
        if line.startswith("data: ") and "attachment" in line:
            found.append(json.loads(line.removeprefix("data: "))["json"]["id"])
            if len(found) == count:
                break
    return found
