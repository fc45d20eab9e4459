"""WebSockets of a process that is told to stop: clients are asked to leave, calls are finished, nothing is left open."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.rest.live import eventually
from tests.running import Attachd

PLUGIN = {"ATTACHD_SERVER_PLUGINS": "tests.server.waiting:waiting", "ATTACHD_WEBSOCKET_RECONNECT_SECONDS": "0.3"}
RECONNECT = {"id": None, "method": "reconnect"}


@contextmanager
def socket(server: Attachd, **options: Any) -> Iterator[ClientConnection]:
    url = re.sub("^http", "ws", server.base_url) + "/api/trpc"
    with connect(
        url, compression=None, proxy=None, open_timeout=30, ping_interval=None, close_timeout=1, **options
    ) as connection:
        yield connection


def send(connection: ClientConnection, path: str, input: Any = None, *, id: int = 1, method: str = "mutation") -> None:
    connection.send(json.dumps({"id": id, "method": method, "params": {"path": path, "input": {"json": input}}}))


def read(connection: ClientConnection) -> Any:
    return json.loads(connection.recv(timeout=30))


def begin_call(server: Attachd, connection: ClientConnection) -> Path:
    """Call what waits for a file, which is given; the call is under way."""
    send(connection, "waiting.until", "told")
    assert eventually((server.folder / "told.begun").exists)
    return server.folder / "told"


def read_to_the_end(connection: ClientConnection) -> tuple[list[Any], float]:
    """What comes until the connection is closed, and the seconds that takes."""
    began, messages = time.monotonic(), []
    try:
        while True:
            messages.append(read(connection))
    except ConnectionClosed:
        return messages, time.monotonic() - began


@pytest.mark.parametrize("workers", ["1", "2"])
def test_clients_are_asked_to_reconnect(tmp_path: Path, workers: str) -> None:
    # Time enough for some of the items, also where the machine stalls for a while.
    settings = {**PLUGIN, "ATTACHD_WEBSOCKET_RECONNECT_SECONDS": "1"}
    with Attachd(tmp_path, "--workers", workers, credentials=False, **settings) as server:
        with socket(server) as subscriber, socket(server) as idle:
            send(subscriber, "waiting.tick", method="subscription")
            assert [read(subscriber)["result"]["type"] for _ in range(2)] == ["started", "data"]
            server.process.terminate()
            messages, seconds = read_to_the_end(subscriber)
            # It gets its items until then, and no word that they are over: it is to take them elsewhere.
            assert {message.get("method") or message["result"]["type"] for message in messages} == {"reconnect", "data"}
            assert messages.count(RECONNECT) == 1
            assert seconds < 20
            assert read_to_the_end(idle)[0] == [RECONNECT]
            assert subscriber.close_code == idle.close_code == 1012
            assert server.process.wait(30) == 0
        assert (tmp_path / "closed").exists()
        assert "traceback" not in server.log.read_text()


def test_a_call_is_finished(tmp_path: Path) -> None:
    with Attachd(tmp_path, credentials=False, **PLUGIN) as server, socket(server) as connection:
        told = begin_call(server, connection)
        server.process.terminate()
        assert read(connection) == RECONNECT
        time.sleep(0.5)  # longer than clients get to connect elsewhere
        told.touch()
        messages, seconds = read_to_the_end(connection)
        assert messages == [{"id": 1, "result": {"type": "data", "data": {"json": "told"}}}]
        assert connection.close_code == 1012
        assert seconds < 20
        assert server.process.wait(30) == 0
        line = next(line for line in server.lines() if line.get("route") == "waiting.until")
        assert (line["method"], line["status"]) == ("WS", 200)


def test_a_call_that_outlasts_the_grace_is_cut_off(tmp_path: Path) -> None:
    settings = {**PLUGIN, "ATTACHD_SERVER_SHUTDOWN_GRACE_SECONDS": "1"}
    with Attachd(tmp_path, credentials=False, **settings) as server, socket(server) as connection:
        told = begin_call(server, connection)
        server.process.terminate()
        messages, seconds = read_to_the_end(connection)
        assert messages == [RECONNECT]
        assert seconds < 20  # and not 30, which it is without the setting
        assert server.process.wait(30) == 0
    assert not told.with_suffix(".done").exists()


def test_a_call_is_finished_that_nobody_waits_for(tmp_path: Path) -> None:
    with Attachd(tmp_path, credentials=False, **PLUGIN) as server:
        with socket(server) as connection:
            told = begin_call(server, connection)
        server.process.terminate()
        assert eventually(server.is_closed)
        time.sleep(0.5)
        told.touch()
        assert server.process.wait(30) == 0
    assert told.with_suffix(".done").exists()


def test_the_log_of_a_connection(tmp_path: Path) -> None:
    with Attachd(tmp_path, credentials=True, **PLUGIN) as server:
        with socket(server, additional_headers={"Cookie": f"session={server.tokens['member']}"}) as connection:
            send(connection, "attachments.usage", method="query")
            assert read(connection)["result"]["data"]["json"] == {"count": 0, "bytes": 0}
            send(connection, "attachments.secret\nname", id=2, method="query")
            assert "error" in read(connection)
            send(connection, "waiting.tick", id=3, method="subscription")
            read(connection)
        assert server.stop() == 0
        lines = [line for line in server.lines() if line.get("method") == "WS"]
        assert [(line["route"], line["status"]) for line in lines] == [
            ("attachments.usage", 200),
            ("unknown", 404),
            ("trpc", 101),
            ("waiting.tick", 200),
        ]
        assert len({line["request_id"] for line in lines}) == 1
        assert server.tokens["member"] not in server.log.read_text()
