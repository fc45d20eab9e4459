"""Calls of the stock @trpc/client 11.25 whose answers come piece by piece: httpBatchStreamLink."""

import time
from typing import Any

import pytest

from tests.conformance.lasting import Client, Lasting
from tests.conformance.launched import Launched

SETTLE_S = 0.3
MOMENT = "2024-01-15T10:30:00.000Z"


@pytest.fixture
def stream(lasting: Lasting, launched: Launched) -> Client:
    return Client(lasting, launched, "stream")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param("stream.deferred", {"now": {"json": 1}, "later": {"later": {"json": 2}}}, id="deferred"),
        pytest.param("stream.nested", {"outer": {"later": {"inner": {"later": {"json": "deep"}}}}}, id="nested"),
        pytest.param("stream.private", {"now": {"json": 1}, "later": {"later": {"json": 2}}}, id="private"),
        pytest.param(
            "stream.both",
            {"left": {"items": [{"json": 0}, {"json": 1}]}, "right": {"later": {"json": "right"}}},
            id="a-promise-beside-an-iterable",
        ),
        pytest.param(
            "stream.promised",
            {"later": {"later": {"total": {"json": 2}, "items": {"items": [{"json": 0}, {"json": 1}]}}}},
            id="an-iterable-in-a-promise",
        ),
    ],
)
def test_what_comes_later(stream: Client, path: str, value: Any) -> None:
    running = stream.query(path)
    while (event := running.next())["event"] == "item":
        pass
    assert event == {"event": "value", "value": value}


def test_later_values_of_every_kind(stream: Client) -> None:
    value = stream.query("stream.rich").next()["value"]
    assert value["when"] == {"json": MOMENT, "meta": {"values": ["Date"], "v": 1}}
    assert value["tags"]["later"] == {"json": ["a"], "meta": {"values": ["set"], "v": 1}}
    assert value["nothing"]["later"] == {"json": None}
    assert value["undefined"]["later"] == {"json": None, "meta": {"values": ["undefined"], "v": 1}}
    assert value["rich"]["later"]["big"] == {"json": str(2**60), "meta": {"values": ["bigint"], "v": 1}}
    assert value["rich"]["later"]["counts"] == {"json": [[1, "one"]], "meta": {"values": ["map"], "v": 1}}


@pytest.mark.parametrize(
    ("path", "code", "message"),
    [
        pytest.param("stream.several", "CONFLICT", "failed with CONFLICT", id="told"),
        pytest.param("stream.crashed", "INTERNAL_SERVER_ERROR", "Internal server error", id="kept"),
    ],
)
def test_one_of_several_later_values_is_rejected(stream: Client, path: str, code: str, message: str) -> None:
    value = stream.query(path).next()["value"]
    assert (value["fast"], value["slow"]) == ({"later": {"json": "fast"}}, {"later": {"json": "slow"}})
    error = value["failing"]["rejected"]
    assert (error["name"], error["message"]) == ("TRPCClientError", message)
    assert (error["data"]["code"], error["data"]["path"]) == (code, path)


def test_items_come_one_by_one(stream: Client) -> None:
    running = stream.query("stream.count", {"to": 3})
    assert [running.data() for _ in range(3)] == [0, 1, 2]
    assert running.next()["value"] == {"items": [{"json": 0}, {"json": 1}, {"json": 2}]}


def test_progress_of_a_mutation(stream: Client) -> None:
    value = None
    running = stream.mutate("stream.work", {"to": 2})
    while (event := running.next())["event"] == "item":
        value = event["value"]
    assert value == {"done": {"json": 2}, "of": {"json": 2}}
    assert len(event["value"]["items"]) == 2


def test_an_iterable_that_fails(stream: Client) -> None:
    running = stream.query("stream.fails")
    assert running.data() == 0
    value = running.next()["value"]
    assert value["items"] == [{"json": 0}]
    assert value["error"]["data"] == {"code": "CONFLICT", "httpStatus": 409, "path": "stream.fails"}


def test_aborting_a_stream_closes_the_generator(stream: Client) -> None:
    running = stream.query("open.stream")
    assert running.data() == 0, "the item comes although the stream goes on"
    assert stream.held()["generators"] == 1
    running.abort()
    event = running.next()
    assert "abort" in event["value"]["error"]["message"].lower()
    stream.until_closed()


def test_a_call_and_a_subscription_through_a_split_link(lasting: Lasting, launched: Launched) -> None:
    client = Client(lasting, launched, "split")
    assert client.subscribe("sub.count", {"to": 1}).data() == 0
    assert client.query("stream.deferred").next()["value"] == {"now": {"json": 1}, "later": {"later": {"json": 2}}}


def test_nothing_is_left_of_what_was_closed(lasting: Lasting, launched: Launched) -> None:
    """The first time makes what is kept for the next; the second may leave nothing more."""
    tasks = [tasks_after_closing_many(lasting, launched) for _ in range(2)]
    assert tasks[1] <= tasks[0]


def tasks_after_closing_many(lasting: Lasting, launched: Launched) -> int:
    """The tasks of the server after many streams over each link have been closed."""
    client = Client(lasting, launched, "sse")
    for link in ("sse", "ws", "stream"):
        path, op = ("open.stream", Client.query) if link == "stream" else ("open.run", Client.subscribe)
        many = [op(Client(lasting, launched, link), path) for _ in range(20)]
        assert [running.data() for running in many] == [0] * 20
        for running in many:
            running.abort()
    client.until_closed()
    # What was closed ends its task a moment later.
    fewest, until = client.held()["tasks"], time.monotonic() + SETTLE_S
    while time.monotonic() < until:
        fewest = min(fewest, client.held()["tasks"])
    return fewest
