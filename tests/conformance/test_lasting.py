"""Subscriptions of the stock @trpc/client 11.25, over every link that has them."""

import pytest

from tests.conformance.lasting import Client, Lasting, assert_error
from tests.conformance.launched import Launched

SUBSCRIPTION_LINKS = ("sse", "ws", "split")
MOMENT = "2024-01-15T10:30:00.000Z"


@pytest.fixture(params=SUBSCRIPTION_LINKS)
def client(request: pytest.FixtureRequest, lasting: Lasting, launched: Launched) -> Client:
    return Client(lasting, launched, request.param)


def test_subscription_to_its_end(client: Client) -> None:
    running = client.subscribe("sub.count", {"to": 3})
    assert [running.next() for _ in range(4)] == [
        {"event": "started"},
        *({"event": "data", "value": {"json": number}} for number in range(3)),
    ]
    assert [running.next()["event"], running.next()["event"]] == ["stopped", "complete"]


def test_values_of_every_kind(client: Client) -> None:
    running = client.subscribe("sub.values")
    assert running.next() == {"event": "started"}
    values = [running.next()["value"] for _ in range(11)]
    annotated = {"when": ["Date"], "big": ["bigint"], "tags": ["set"], "counts": ["map"]}
    assert values[:4] == [
        {"json": None},
        {"json": None, "meta": {"values": ["undefined"], "v": 1}},
        {"json": MOMENT, "meta": {"values": ["Date"], "v": 1}},
        {"json": str(2**60), "meta": {"values": ["bigint"], "v": 1}},
    ]
    assert values[10]["meta"]["values"] == annotated


def test_tracked_items_have_their_ids(client: Client) -> None:
    running = client.subscribe("sub.tracked", {})
    assert [running.data() for _ in range(3)] == [
        {"id": str(index), "data": {"index": index, "when": MOMENT}} for index in range(1, 4)
    ]
    assert running.next()["event"] == "stopped"


def test_subscription_that_is_resumed(client: Client) -> None:
    running = client.subscribe("sub.tracked", {"lastEventId": "2"})
    assert running.data() == {"id": "3", "data": {"index": 3, "when": MOMENT}}


def test_subscription_that_fails(client: Client) -> None:
    running = client.subscribe("sub.fails")
    assert running.data() == 0
    assert_error(running.next(), "CONFLICT", 409, "sub.fails", "failed with CONFLICT")


def test_unknown_subscription(client: Client) -> None:
    """An EventSource is told no more than that the server refused it."""
    event = client.subscribe("sub.nothing").next()
    assert event["event"] == "error"
    if client.link == "ws":
        assert_error(event, "NOT_FOUND", 404, "sub.nothing", 'No "subscription"-procedure on path "sub.nothing"')


def test_subscription_with_a_bad_input(client: Client) -> None:
    running = client.subscribe("sub.count", {"to": "x"})
    while (event := running.next())["event"] == "started":
        pass
    assert event["error"]["data"] == {"code": "BAD_REQUEST", "httpStatus": 400, "path": "sub.count"}


def test_subscription_without_credentials(client: Client) -> None:
    running = client.subscribe("sub.private", who=None)
    while (event := running.next())["event"] == "started":
        pass
    message = "authentication required: send the session cookie or an API key"
    assert_error(event, "UNAUTHORIZED", 401, "sub.private", message)


def test_subscription_with_an_api_key_in_connection_parameters(client: Client) -> None:
    key = client.site.names["key"]
    running = client.subscribe("sub.private", who=None, params={"authorization": f"Bearer {key}"})
    assert running.data() == {"role": "member"}


@pytest.mark.parametrize("how", ["stop", "abort"])
def test_leaving_closes_the_generator(client: Client, how: str) -> None:
    running = client.subscribe("open.run")
    assert running.data() == 0
    assert client.held()["generators"] == 1
    getattr(running, how)()
    client.until_closed()


def test_leaving_before_the_first_item(client: Client) -> None:
    client.subscribe("open.run").stop()
    client.until_closed()


def test_many_subscriptions_of_one_client(client: Client) -> None:
    many = [client.subscribe("open.run") for _ in range(50)]
    assert [running.data() for running in many] == [0] * 50
    assert client.held()["generators"] == 50
    for running in many:
        running.stop()
    client.until_closed()


def test_a_call_beside_a_subscription_on_one_socket(lasting: Lasting, launched: Launched) -> None:
    client = Client(lasting, launched, "ws")
    running = client.subscribe("open.run")
    assert running.data() == 0
    assert client.query("echo.query", {"a": 1}).next()["value"] == {"a": {"json": 1}}
    assert client.mutate("echo.mutation", "x").next()["value"] == {"json": "x"}
    refused = client.query("stream.count", {"to": 1}).next()
    message = "Cannot return an async iterable or observable from a query procedure with WebSockets"
    assert_error(refused, "UNSUPPORTED_MEDIA_TYPE", 415, "stream.count", message)
    running.stop()
    client.until_closed()
