"""What a WebSocket client may not do, from both sides of each limit; frames are written by hand where no client would."""

import asyncio
import base64
import json
import os
import re
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from server.protocol import LimitedProtocol
from tests.server.sockets import TIMEOUT_S, Site, outcome, request, site, stop, subscription
from tests.server.streaming import eventually

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
ECHO = json.dumps(request("echo", "a")).encode()


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """The event loop that the server runs on."""
    return "asyncio", {"use_uvloop": True}


def frame(payload: bytes, opcode: int = TEXT, *, fin: bool = True, rsv: int = 0, masked: bool = True, size: int = -1) -> bytes:
    """A frame of a client; `size` is what it claims to be."""
    size = len(payload) if size < 0 else size
    head = bytes([fin << 7 | rsv << 4 | opcode])
    bit = 0x80 if masked else 0
    if size < 126:
        head += bytes([bit | size])
    elif size < 65_536:
        head += bytes([bit | 126]) + struct.pack("!H", size)
    else:
        head += bytes([bit | 127]) + struct.pack("!Q", size)
    if not masked:
        return head + payload
    mask = os.urandom(4)
    masks = (mask * (len(payload) // 4 + 1))[: len(payload)]
    return head + mask + (int.from_bytes(payload) ^ int.from_bytes(masks)).to_bytes(len(payload))


class Raw:
    """A connection that speaks bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, *pieces: bytes) -> None:
        self.writer.write(b"".join(pieces))

    async def head(self) -> bytes:
        """The head of the next answer of HTTP."""
        async with asyncio.timeout(TIMEOUT_S):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def read(self) -> tuple[int, bytes]:
        """The opcode and the payload of the next frame."""
        async with asyncio.timeout(TIMEOUT_S):
            first, second = await self.reader.readexactly(2)
            assert first & 0x80
            assert second < 0x80, "a server does not mask"
            size = second
            if size == 126:
                (size,) = struct.unpack("!H", await self.reader.readexactly(2))
            elif size == 127:
                (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
            return first & 0xF, await self.reader.readexactly(size)

    async def closed(self) -> int:
        """The code that the server closes with; it must then close the connection too."""
        while True:
            opcode, payload = await self.read()
            if opcode == CLOSE:
                break
        async with asyncio.timeout(TIMEOUT_S):
            assert await self.reader.read() == b""
        code: int = struct.unpack("!H", payload[:2])[0]
        return code


def handshake(path: str = "/api/trpc", /, **changed: str | None) -> bytes:
    """A request to upgrade; header names with `_` for `-`."""
    headers: dict[str, str | None] = {
        "host": "localhost",
        "connection": "keep-alive, Upgrade",
        "upgrade": "websocket",
        "sec_websocket_version": "13",
        "sec_websocket_key": base64.b64encode(os.urandom(16)).decode(),
        **changed,
    }
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items() if value is not None]
    return "\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode()


@asynccontextmanager
async def dialled(here: Site) -> AsyncIterator[Raw]:
    """A connection on which nothing was said."""
    reader, writer = await asyncio.open_connection("127.0.0.1", here.live.port)
    try:
        yield Raw(reader, writer)
    finally:
        writer.close()


@asynccontextmanager
async def raw(here: Site) -> AsyncIterator[Raw]:
    """A connection that has shaken hands."""
    async with dialled(here) as connection:
        connection.send(handshake())
        answer = await connection.head()
        assert answer.startswith(b"HTTP/1.1 101 "), answer
        assert re.search(rb"x-request-id: \S+\r\n", answer, re.IGNORECASE)
        yield connection


async def alive(connection: Raw) -> None:
    """The connection still answers."""
    connection.send(frame(ECHO))
    opcode, payload = await connection.read()
    assert (opcode, outcome(json.loads(payload))) == (TEXT, "a")


async def test_frames_that_are_taken(tmp_path: Path) -> None:
    """In pieces, byte by byte, with control frames between them, with nothing in them."""
    async with site(tmp_path) as here, raw(here) as connection:
        await alive(connection)
        for byte in frame(ECHO):
            connection.send(bytes([byte]))
            await asyncio.sleep(0)
        assert (await connection.read())[0] == TEXT
        connection.send(frame(ECHO[:5], fin=False), frame(b"", CONTINUATION, fin=False), frame(b"are you there?", PING))
        connection.send(frame(b"", PONG), frame(ECHO[5:], CONTINUATION))
        assert await connection.read() == (PONG, b"are you there?")
        assert outcome(json.loads((await connection.read())[1])) == "a"
        connection.send(frame(b"PI", fin=False), frame(b"NG", CONTINUATION), frame(b"PING"))
        assert [await connection.read() for _ in range(2)] == [(TEXT, b"PONG")] * 2
        connection.send(frame(b"{}", BINARY), frame(b"PING", BINARY))
        for _ in range(2):
            assert outcome(json.loads((await connection.read())[1])) == "PARSE_ERROR"


@pytest.mark.parametrize("size", [0, 125, 126, 9_000, 65_535, 65_536, 200_000])
async def test_answers_of_any_size(tmp_path: Path, size: int) -> None:
    """Many at once, so that what is written is still waiting when the next is."""
    async with site(tmp_path) as here, here.client(max_size=None) as client:
        await client.send(*(request("echo", chr(97 + id) * size, id=id) for id in range(8)))
        for _ in range(8):
            answer = await client.read()
            assert outcome(answer) == chr(97 + answer["id"]) * size


async def test_a_client_that_reads_late_gets_what_was_sent(tmp_path: Path) -> None:
    """Frames whose heads differ in length, in the queue of a transport that cannot send (docs/decisions/0015)."""
    async with site(tmp_path) as here, raw(here) as connection:
        sizes = [9_000, 200_000] * 30
        requests = [json.dumps(request("echo", chr(97 + id % 26) * size, id=id)) for id, size in enumerate(sizes)]
        connection.send(*(frame(text.encode()) for text in requests))
        await asyncio.sleep(0.5)
        for _ in sizes:
            opcode, payload = await connection.read()
            answer = json.loads(payload)
            assert (opcode, outcome(answer)) == (TEXT, chr(97 + answer["id"] % 26) * sizes[answer["id"]])


LIMIT = 2000


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        pytest.param(frame(ECHO, masked=False), 1002, id="not masked"),
        pytest.param(frame(ECHO, rsv=4), 1002, id="compressed without asking"),
        pytest.param(frame(ECHO, rsv=1), 1002, id="a reserved bit"),
        pytest.param(frame(ECHO, 3), 1002, id="a reserved opcode"),
        pytest.param(frame(b"x", PING, fin=False), 1002, id="a control frame in pieces"),
        pytest.param(frame(b"x" * 126, PING), 1002, id="a large control frame"),
        pytest.param(frame(ECHO, CONTINUATION), 1002, id="the rest of nothing"),
        pytest.param(frame(b"a", fin=False) + frame(b"b"), 1002, id="a message within a message"),
        pytest.param(frame(b"", fin=False) + frame(b"", fin=False), 1002, id="an empty message within a message"),
        pytest.param(frame(b"\x03", CLOSE), 1002, id="half a close code"),
        pytest.param(frame(struct.pack("!H", 1005), CLOSE), 1002, id="a close code that must not be sent"),
        pytest.param(frame(struct.pack("!H", 1000) + b"\xff", CLOSE), 1007, id="a reason that is not UTF-8"),
        pytest.param(frame(b'{"id":"\xff"}'), 1007, id="text that is not UTF-8"),
        pytest.param(frame(b"\xc3", fin=False) + frame(b"(", CONTINUATION), 1007, id="pieces that are not UTF-8 together"),
        pytest.param(frame(b"x" * (LIMIT + 1)), 1009, id="too large"),
        pytest.param(frame(b"x", size=2**62), 1009, id="it claims to be too large"),
        pytest.param(frame(b"x", size=2**63), 1002, id="it claims an impossible size"),
        pytest.param(frame(b"x" * LIMIT, fin=False) + frame(b"x", CONTINUATION), 1009, id="too large together"),
    ],
)
async def test_frames_that_close_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: bytes, code: int
) -> None:
    monkeypatch.setattr("server.frames.LINGER_S", TIMEOUT_S)
    async with site(tmp_path, websocket_max_message_bytes=f"{LIMIT}") as here:
        async with raw(here) as connection:
            await alive(connection)
            connection.send(sent, frame(ECHO) * 3)
            assert await connection.closed() == code
        await eventually(lambda: here.connections == 0)
        async with raw(here) as connection:
            await alive(connection)


async def test_a_client_that_sends_on_reads_why_it_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.frames.LINGER_S", TIMEOUT_S)
    async with site(tmp_path, websocket_max_message_bytes=f"{LIMIT}") as here, raw(here) as connection:
        connection.send(frame(b"x" * 5_000_000))
        assert await connection.closed() == 1009


async def test_the_largest_message(tmp_path: Path) -> None:
    async with site(tmp_path, websocket_max_message_bytes=f"{LIMIT}") as here, raw(here) as connection:
        room = LIMIT - len(json.dumps(request("echo", "")))
        message = json.dumps(request("echo", "x" * room)).encode()
        assert len(message) == LIMIT
        connection.send(frame(message), frame(message[:LIMIT], fin=False), frame(b"", CONTINUATION))
        for _ in range(2):
            assert outcome(json.loads((await connection.read())[1])) == "x" * room


@pytest.mark.parametrize(
    ("payload", "answer"),
    [(b"", 1000), (struct.pack("!H", 1001), 1001), (struct.pack("!H", 4321) + b"bye", 4321)],
    ids=["no code", "1001", "a code of its own"],
)
async def test_a_client_closes(tmp_path: Path, payload: bytes, answer: int) -> None:
    async with site(tmp_path) as here:
        async with raw(here) as connection:
            connection.send(frame(payload, CLOSE), frame(ECHO))
            assert await connection.closed() == answer
        await eventually(lambda: here.connections == 0)


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"sec_websocket_version": "8"}, 400),
        ({"sec_websocket_version": None}, 400),
        ({"sec_websocket_key": None}, 400),
        ({"sec_websocket_key": "c2hvcnQ="}, 400),
        ({"sec_websocket_key": "!" * 24}, 400),
        ({"host": None}, 400),
        ({"sec_websocket_protocol": "graphql-ws", "sec_websocket_extensions": "permessage-deflate"}, 101),
        ({"connection": "upgrade"}, 101),
    ],
    ids=repr,
)
async def test_handshakes(tmp_path: Path, changed: dict[str, str | None], status: int) -> None:
    async with site(tmp_path) as here, dialled(here) as connection:
        connection.send(handshake(**changed))
        head = (await connection.head()).decode().lower()
        assert head.startswith(f"http/1.1 {status} ")
        if status == 101:
            assert "extensions" not in head
            assert "protocol" not in head.replace("switching protocols", "")
        else:
            assert "sec-websocket-version: 13" in head
            assert json.loads(await connection.reader.read())["error"]["json"]["data"]["code"] == "BAD_REQUEST"


@pytest.mark.parametrize(
    "sent",
    [
        handshake("/healthz"),
        handshake("/api/trpc/echo?input=1"),
        handshake().replace(b"GET", b"HEAD"),
        handshake(upgrade="h2c"),
        handshake(connection="close"),
    ],
    ids=["another path", "a procedure", "another method", "another protocol", "nothing asked for"],
)
async def test_what_is_no_handshake_is_answered_as_http(tmp_path: Path, sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with site(tmp_path) as here, dialled(here) as connection:
        connection.send(sent)
        assert int((await connection.head()).split()[1]) in (200, 204, 404)
    assert not caplog.records


async def test_a_handshake_behind_another_request(tmp_path: Path) -> None:
    """On a connection that was used for HTTP before; and while an answer is awaited, where no handshake may come."""
    async with site(tmp_path) as here:
        get = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
        async with dialled(here) as connection:
            connection.send(get)
            length = re.search(rb"content-length: (\d+)", await connection.head())
            assert length is not None
            await connection.reader.readexactly(int(length[1]))
            connection.send(handshake())
            assert (await connection.head()).startswith(b"HTTP/1.1 101 ")
            await alive(connection)
        async with dialled(here) as connection:
            connection.send(get + handshake())
            async with asyncio.timeout(TIMEOUT_S):
                assert b" 101 " not in await connection.reader.read()


async def test_too_many_connections(tmp_path: Path) -> None:
    async with site(tmp_path, websocket_max_connections="2") as here:
        async with here.client() as first, here.client():
            with pytest.raises(InvalidStatus) as refused:
                async with here.client():
                    pass
            assert refused.value.response.status_code == 503
            assert refused.value.response.headers["retry-after"] == "1"
            assert await first.call("echo", 1) == 1
        await eventually(lambda: here.connections == 0)
        async with here.client() as client:
            assert await client.call("echo", 1) == 1


@pytest.mark.parametrize("in_arrays", [False, True], ids=["one by one", "in arrays"])
async def test_too_many_messages(tmp_path: Path, in_arrays: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection ends with the client's answer to the close, which is not one message too many itself."""
    monkeypatch.setattr("server.frames.CLOSE_TIMEOUT_S", 10 * TIMEOUT_S)
    async with site(tmp_path, websocket_max_messages_per_second="40") as here:
        calls = [request("echo", id=id) for id in range(20)]
        messages = [calls] if in_arrays else calls
        async with here.client() as client:
            for _ in range(2):
                await client.send(*messages, *messages)
                assert {outcome(answer) for answer in await client.read_many(40)} == {None}
                await asyncio.sleep(1.05)
            begun, answered = time.monotonic(), 0
            # More than are needed: where the machine stalls for a second, the count begins anew.
            await client.send(*messages * (20 if in_arrays else 10))
            while (answer := await client.read())["id"] is not None:
                assert outcome(answer) is None
                answered += 1
            assert outcome(answer) == "TOO_MANY_REQUESTS"
            assert answered <= 40 or time.monotonic() - begun >= 1.0
            assert "websocket.max_messages_per_second" in answer["error"]["json"]["message"]
            assert await client.closed() == (1008, "TOO_MANY_REQUESTS")


async def test_too_many_subscriptions(tmp_path: Path) -> None:
    async with site(tmp_path, websocket_max_subscriptions="2") as here, here.client() as client, here.client() as other:
        await client.send(*(subscription("endless", f"{id}", id=id) for id in range(3)))
        answers = await client.read_many(5)
        assert sorted([outcome(answer) for answer in answers]) == ["0", "1", "TOO_MANY_REQUESTS", "started", "started"]
        await other.send(subscription("endless", "other"))
        assert outcome(await other.read()) == "started"
        await client.send(stop(0))
        assert outcome(await client.read()) == "stopped"
        await client.send(subscription("count", 1, id=2))
        assert outcome(await client.read()) == "started"


async def test_many_calls_that_wait_hold_up_the_next(tmp_path: Path) -> None:
    async with site(tmp_path, websocket_max_calls="3") as here, here.client() as client:
        await client.send(*(request("wait", f"{id}", id=id, method="mutation") for id in range(3)))
        await asyncio.sleep(0.1)
        await client.send(request("echo", "held", id="held"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.socket.recv(), 0.3)
        here.world.gate.set()
        assert sorted([outcome(answer) for answer in await client.read_many(4)]) == ["0", "1", "2", "held"]
        assert await client.call("echo", "again") == "again"


async def test_a_quiet_client_is_asked_whether_it_is_there(tmp_path: Path) -> None:
    async with site(tmp_path, websocket_ping_seconds="0.1", websocket_pong_wait_seconds="1") as here, raw(here) as connection:
        for _ in range(2):
            assert await connection.read() == (PING, b"")
            connection.send(frame(b"", PONG))
        await alive(connection)


async def test_a_client_that_does_nothing_stays(tmp_path: Path) -> None:
    """Its library answers ping frames by itself."""
    async with site(tmp_path, websocket_ping_seconds="0.1", websocket_pong_wait_seconds="1") as here, here.client() as client:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.socket.recv(), 1.3)
        assert await client.call("echo", 1) == 1


async def test_a_quiet_client_is_asked_by_text(tmp_path: Path) -> None:
    settings = {"websocket_ping_seconds": "0.1", "websocket_pong_wait_seconds": "1", "websocket_text_pings": "true"}
    async with site(tmp_path, **settings) as here, here.client() as client, here.client() as other:
        for _ in range(2):
            assert await client.read() == "PING"
            await client.send("PONG")
            assert await other.read() == "PING"
            await other.socket.ping()  # what it says does not matter
        assert await client.call("echo", 1) == 1
        assert await other.call("echo", 1) == 1


async def test_a_dead_client_is_cut_off(tmp_path: Path) -> None:
    """One whose machine is gone: its connection is open, and nothing comes."""
    async with site(tmp_path, websocket_ping_seconds="0.1", websocket_pong_wait_seconds="0.2") as here, raw(here) as connection:
        connection.send(frame(json.dumps(subscription("endless", "a")).encode()))
        await eventually(lambda: here.world.done == ["a"] and here.connections == 0)
        for kind in ("started", "a"):
            assert outcome(json.loads((await connection.read())[1])) == kind
        assert await connection.read() == (PING, b"")
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):  # without a close frame
            await connection.read()


async def test_a_client_that_stopped_reading_is_cut_off(tmp_path: Path) -> None:
    async with site(tmp_path, websocket_ping_seconds="0.2", websocket_pong_wait_seconds="0.2") as here, raw(here) as connection:
        connection.send(frame(json.dumps(subscription("flood")).encode()))
        await eventually(lambda: here.world.produced > 0)
        await eventually(lambda: here.connections == 0)


async def test_the_times_of_http_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither that of a request's head, nor that of a connection without a request, which ends when it is handed over."""
    monkeypatch.setattr(LimitedProtocol, "head_timeout_s", 0.5)
    async with site(tmp_path) as here, dialled(here) as connection:
        here.live._server.config.timeout_keep_alive = 0.5  # type: ignore[assignment]  # noqa: SLF001
        connection.send(b"HEAD /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        await connection.head()
        connection.send(handshake())
        await connection.head()
        await asyncio.sleep(0.8)
        await alive(connection)


async def test_no_pings_when_they_are_off(tmp_path: Path) -> None:
    async with site(tmp_path, websocket_ping_seconds="0") as here, here.client() as client:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.socket.recv(), 0.5)
        assert await client.call("echo", 1) == 1


async def test_a_client_that_does_not_answer_a_close_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.frames.CLOSE_TIMEOUT_S", 0.2)
    async with site(tmp_path, websocket_connection_params_seconds="0.1") as here, dialled(here) as connection:
        connection.send(handshake("/api/trpc?connectionParams=1"))
        await connection.head()
        assert outcome(json.loads((await connection.read())[1])) == "TIMEOUT"
        assert (await connection.read())[0] == CLOSE
        await eventually(lambda: here.connections == 0)
