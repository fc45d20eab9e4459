"""Subscriptions on which nothing happens, with short times: pings keep them, and without pings the client connects again."""

import signal
import time
from collections.abc import Iterator

import pytest

from tests.conformance.lasting import Client, Lasting
from tests.conformance.launched import Launched

PING_S = 0.1
INACTIVITY_S = 0.5
# A subscription that is to stay must outlast a machine that stalls.
PATIENT_S, QUIET_S = 5.0, 5.5
SETTINGS = {
    "ATTACHD_STREAM_PING_SECONDS": str(PING_S),
    "ATTACHD_STREAM_JSONL_PING_SECONDS": "0.01",
    "ATTACHD_WEBSOCKET_PING_SECONDS": str(PING_S),
}
INACTIVITY = "ATTACHD_STREAM_RECONNECT_AFTER_INACTIVITY_SECONDS"
PATIENT = {**SETTINGS, INACTIVITY: str(PATIENT_S), "ATTACHD_WEBSOCKET_PONG_WAIT_SECONDS": str(PATIENT_S)}


@pytest.fixture(scope="module")
def pinging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    with Launched(tmp_path_factory.mktemp("pinging"), **PATIENT) as site:
        yield site


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    """Its clients soon connect again."""
    with Launched(tmp_path_factory.mktemp("impatient"), **SETTINGS, **{INACTIVITY: str(INACTIVITY_S)}) as site:
        yield site


@pytest.fixture(scope="module")
def pinging_by_text(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    with Launched(tmp_path_factory.mktemp("text"), **PATIENT, ATTACHD_WEBSOCKET_TEXT_PINGS="true") as site:
        yield site


def test_pings_keep_quiet_subscriptions(lasting: Lasting, pinging: Launched, pinging_by_text: Launched) -> None:
    """The client of a WebSocket answers frames and texts; that of server-sent events sees that the server is there."""
    clients = [Client(lasting, pinging, "sse"), Client(lasting, pinging, "ws"), Client(lasting, pinging_by_text, "ws")]
    subscriptions = [client.subscribe("open.run") for client in clients]
    assert [running.data() for running in subscriptions] == [0, 0, 0]
    states = [list(running.states) for running in subscriptions]
    time.sleep(QUIET_S)
    assert [running.rest() for running in subscriptions] == [[], [], []]
    assert [running.states for running in subscriptions] == states
    assert [client.held()["generators"] for client in clients] == [2, 2, 1]
    for running in subscriptions:
        running.stop()
    for client in clients:
        client.until_closed()


def test_a_server_that_says_nothing_is_left_and_found_again(lasting: Lasting, impatient: Launched) -> None:
    client = Client(lasting, impatient, "sse")
    running = client.subscribe("open.run")
    assert running.data() == 0
    connections = running.states.count("connecting")
    impatient.process.send_signal(signal.SIGSTOP)
    try:
        time.sleep(2 * INACTIVITY_S)
    finally:
        impatient.process.send_signal(signal.SIGCONT)
    assert running.data() == 0, "it subscribed again"
    assert running.states.count("connecting") > connections
    running.stop()
    client.until_closed()


def test_pings_in_a_streamed_call(lasting: Lasting, pinging: Launched) -> None:
    running = Client(lasting, pinging, "stream").query("stream.both")
    assert [running.data(), running.data()] == [0, 1]
    assert running.next()["value"]["right"] == {"later": {"json": "right"}}
