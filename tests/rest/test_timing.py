"""Unhappy timing: clients that go away, disks that fail, and what must not be left behind."""

import asyncio
import logging
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from rest import Exchange, answer, error_reply, exchanges, health_routes
from schemas import Code, ServiceError
from tests.descriptors import needs_proc, open_descriptors
from tests.engines.backing import BLOBS
from tests.rest.live import IDLE_TIMEOUT_S, Client, Server, error, eventually

on_disk = pytest.mark.only_on("local", reason="counts the descriptors of files")

LARGE = b"%PDF-1.7\n" + bytes(20_000_000)


def open_blobs(server: Server) -> int:
    """How many descriptors of this process are files in the folder of blobs."""
    return sum(Path(leads_to).is_relative_to(server.backing.folder / BLOBS) for leads_to in open_descriptors().values())


@pytest.fixture(scope="module")
def large(client: Client) -> str:
    url: str = client.store("large.pdf", LARGE)["url"]
    return url


def slow_download(client: Client, url: str) -> socket.socket:
    """A download whose client has read only the first bytes."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 10_000)
    connection.connect(("127.0.0.1", client.server.port))
    connection.sendall(client.head("GET", url))
    assert connection.recv(12) == b"HTTP/1.1 200"
    return connection


@needs_proc
@on_disk
@pytest.mark.parametrize("is_reset", [False, True], ids=["closed", "reset"])
def test_a_download_stops_when_its_client_goes_away(
    client: Client, large: str, is_reset: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "attachd.rest")
    connections = [slow_download(client, large) for _ in range(5)]
    assert eventually(lambda: open_blobs(client.server) == 5)
    for connection in connections:
        if is_reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    assert eventually(lambda: open_blobs(client.server) == 0)
    assert not caplog.records  # it was not the idle time that ended them


@needs_proc
@on_disk
def test_a_client_that_takes_nothing_is_left(unheard: Client, large: str, caplog: pytest.LogCaptureFixture) -> None:
    left = f"the client took nothing for {IDLE_TIMEOUT_S:g} seconds"
    with caplog.at_level(logging.INFO, "attachd.rest"), slow_download(unheard, large):
        assert eventually(lambda: any(left in record.getMessage() for record in caplog.records))
        assert eventually(lambda: open_blobs(unheard.server) == 0)


@needs_proc
@on_disk
def test_nothing_stays_open_after_answers(client: Client, large: str) -> None:
    for header in ("Range: bytes=5-", "Range: bytes=0-1", "If-None-Match: *", "If-Match: x", "Accept: application/json"):
        client.get(large, header)
    client.request("HEAD", large)
    assert eventually(lambda: open_blobs(client.server) == 0)


def test_a_file_that_is_gone_from_the_disk_is_503(client: Client, server: Server) -> None:
    stored = client.store("a.txt", b"text")
    server.backing.lose_bytes(stored["id"])
    url = stored["url"]
    answer = client.get(url)
    assert (answer.status, answer.json()) == (503, error("SERVICE_UNAVAILABLE", "the storage is not available now, try again"))
    assert answer.headers["retry-after"] == "5"


@pytest.mark.only_on("local", reason="a store of objects tells at once that one is too short: 503")
def test_a_file_that_breaks_off_is_no_whole_answer(client: Client, server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """After the answer has started nothing pretends to be an error: the connection ends short of Content-Length."""
    stored = client.store("a.pdf", LARGE)
    server.backing.bytes.write(server.backing.key_of(stored["id"]), LARGE[:3_000_000])
    url = stored["url"]
    with client.connect() as connection:
        connection.sendall(client.head("GET", url))
        data = b"".join(iter(lambda: connection.recv(1 << 20), b""))
    head, _, body = data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert len(body) < len(LARGE)
    assert LARGE.startswith(body)
    assert eventually(lambda: any(record.exc_info and "failed" in record.getMessage() for record in caplog.records))


def test_a_bug_is_logged_with_its_traceback_and_says_nothing(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    sent, _ = run(raising(ZeroDivisionError("secret")))
    assert sent[0]["status"] == 500
    assert sent[1]["body"] == b'{"error":{"code":"INTERNAL_SERVER_ERROR","message":"Internal server error"}}'
    (record,) = caplog.records
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ZeroDivisionError)


def test_a_failure_after_the_start_sends_nothing_more(caplog: pytest.LogCaptureFixture) -> None:
    async def handle(exchange: Exchange) -> None:
        await exchange.start(200, [(b"content-length", b"5")])
        raise ServiceError(Code.SERVICE_UNAVAILABLE, "too late")

    sent, _ = run(handle)
    assert [message["type"] for message in sent] == ["http.response.start"]
    assert len(caplog.records) == 1


def test_a_client_error_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    sent, _ = run(raising(ServiceError(Code.NOT_FOUND, "m")))
    assert sent[1]["body"] == error_reply(ServiceError(Code.NOT_FOUND, "m")).body
    assert not caplog.records


def test_a_refused_body_is_read_on_for_a_while_only(monkeypatch: pytest.MonkeyPatch) -> None:
    received = 0

    async def receive() -> Message:
        nonlocal received
        received += 1
        await asyncio.sleep(0.05)
        return {"type": "http.request", "body": b"x", "more_body": True}

    monkeypatch.setattr(exchanges, "LINGER_S", 0.5)
    monkeypatch.setattr(exchanges, "LINGER_IDLE_S", 60.0)
    sent, _ = run(raising(ServiceError(Code.NOT_FOUND, "m")), receive, [(b"transfer-encoding", b"chunked")])
    assert received > 1
    assert (b"connection", b"close") in sent[0]["headers"]
    assert [message.get("more_body") for message in sent] == [None, True, False]


def test_no_body_is_read_past_its_limit() -> None:
    async def receive() -> Message:
        return {"type": "http.request", "body": b"x" * 6, "more_body": False}

    async def read(exchange: Exchange) -> None:
        assert await exchange.read(6, 1.0) == b"x" * 6
        assert await exchange.read(6, 1.0) is None

    async def read_too_much(exchange: Exchange) -> None:
        await exchange.read(5, 1.0)

    chunked = [(b"transfer-encoding", b"chunked")]
    assert run(read, receive, chunked)[0] == []
    sent, _ = run(read_too_much, receive, chunked)
    assert sent[0]["status"] == 413


@pytest.mark.parametrize("length", [b"", b"-1", b"5, 6", b"1e3", b"9" * 20])
def test_a_length_that_a_lenient_server_lets_through_is_400(length: bytes) -> None:
    async def handle(exchange: Exchange) -> None:
        exchange.declared_bytes()

    async def gone() -> Message:
        return {"type": "http.disconnect"}

    sent, _ = run(handle, gone, [(b"content-length", length)])
    assert sent[0]["status"] == 400


def test_readiness_follows_the_check() -> None:
    async def fail() -> None:
        raise ServiceError(Code.SERVICE_UNAVAILABLE, "the disk is gone")

    async def hang() -> None:
        await asyncio.sleep(60)

    for check, status, message in (
        (fail, 503, b"the disk is gone"),
        (hang, 503, b"the database and the storage did not answer within 0.05 seconds"),
    ):
        _, ready = health_routes(check, 0.05)
        sent = asyncio.run(call(ready.app))
        assert sent[0]["status"] == status
        assert message in sent[1]["body"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_the_running_server_is_alive_and_ready(client: Client, server: Server, path: str) -> None:
    before = server.files()
    assert (client.get(path).status, client.get(path).json()) == (200, {"status": "ok"})
    assert client.request("HEAD", path).status == 200
    assert client.request("POST", path, body=b"").status == 405
    server.assert_only(before)


Handle = Callable[[Exchange], Awaitable[None]]


def raising(failure: Exception) -> Handle:
    async def handle(_: Exchange) -> None:
        raise failure

    return handle


def run(handle: Handle, receive: Receive | None = None, headers: Any = ()) -> tuple[list[Message], Scope]:
    """What a handler sends."""
    scope = {"type": "http", "method": "GET", "path": "/x", "headers": list(headers)}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(handle, Exchange(scope, receive, send, frozenset()))

    return asyncio.run(call(app, receive, scope)), scope


async def call(
    app: Callable[[Scope, Receive, Send], Awaitable[None]], receive: Receive | None = None, scope: Any = None
) -> list[Message]:
    """What an application sends for one request."""
    sent: list[Message] = []

    async def nothing() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope or {"type": "http", "method": "GET", "path": "/x", "headers": []}, receive or nothing, send)
    return sent
