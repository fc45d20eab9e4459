"""The limits on a request's head, over a real socket and uvicorn's own machinery."""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from rest import WHOLE_ANSWER
from server.protocol import HEAD_TIMEOUT_S, MAX_HEAD_BYTES
from server.quick_protocol import QuickProtocol
from server.state import BEGIN_SHUTDOWN
from tests.server.stepping import SteppedLoop, run_stepped

KEEP_ALIVE_S = 60  # longer than a machine stalls


Talk = Callable[[SteppedLoop, asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer the size of the body."""
    size = 0
    while True:
        message = await receive()
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    body = str(size).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})


async def whole(scope: Any, receive: Any, send: Any) -> None:
    """Answer the method by the extension that takes an answer whole."""
    body = scope["method"].encode()
    await scope["extensions"][WHOLE_ANSWER](200, b"content-length: %d\r\n" % len(body), body)


@asynccontextmanager
async def serving(protocol: type[QuickProtocol], app: Any = echo, keep_alive_s: int = KEEP_ALIVE_S) -> AsyncIterator[int]:
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, http=protocol, lifespan="off", ws="none", log_config=None, timeout_keep_alive=keep_alive_s, server_header=False
    )
    server = uvicorn.Server(config)
    # The test process keeps its own signals.
    task = asyncio.create_task(server._serve([listening]))  # noqa: SLF001
    try:
        while not server.started:  # noqa: ASYNC110 (uvicorn has no event for it)
            await asyncio.sleep(0.01)
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        await task


def answer(*pieces: bytes) -> bytes:
    """What comes back, until the server closes, for pieces sent one after the other."""

    async def main() -> bytes:
        async with serving(QuickProtocol) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(0)
            try:
                return await asyncio.wait_for(reader.read(), 30)
            finally:
                writer.close()

    return asyncio.run(main())


def stepped(talk: Talk, app: Any = echo) -> None:
    """Talk to a server over one connection while time stands still."""

    async def main(loop: SteppedLoop) -> None:
        async with serving(QuickProtocol, app) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                with loop.standing_still():
                    await talk(loop, reader, writer)
            finally:
                writer.close()

    run_stepped(main)


async def ends_after(loop: SteppedLoop, reader: asyncio.StreamReader, seconds: float) -> None:
    """The server closes the connection then: not a second before, and within one after."""
    await loop.pass_time(seconds - 1)
    assert not reader.at_eof()
    await loop.pass_time(2)
    assert reader.at_eof()


def request(header: bytes = b"", body: bytes = b"", close: bool = True) -> bytes:
    connection = b"connection: close\r\n" if close else b""
    head = b"POST / HTTP/1.1\r\nhost: a\r\n" + connection + header
    return head + b"content-length: %d\r\n\r\n" % len(body) + body


def header_of(total: int) -> bytes:
    """A header that makes the head of an empty request `total` bytes long."""
    return b"x: " + b"x" * (total - len(request()) - len(b"x: \r\n")) + b"\r\n"


def test_a_head_below_the_limit() -> None:
    reply = answer(request(header_of(MAX_HEAD_BYTES - 1)))
    assert reply.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(request(header_of(MAX_HEAD_BYTES + 20_000)), id="one-long-header"),
        pytest.param(request(b"x: y\r\n" * 20_000), id="many-headers"),
        pytest.param(b"GET /" + b"x" * (MAX_HEAD_BYTES + 20_000) + b" HTTP/1.1\r\n\r\n", id="long-path"),
        pytest.param(b"GET /?" + b"x" * 5_000_000, id="five-megabytes-of-query"),
    ],
)
def test_a_head_past_the_limit(head: bytes) -> None:
    body = b'{"error":{"code":"BAD_REQUEST","message":"request line and headers exceed 65536 bytes"}}'
    assert answer(head) == (
        b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\nconnection: close\r\n"
        b"content-length: %d\r\n\r\n%b" % (len(body), body)
    )


def test_a_pipelined_head_past_the_limit_does_not_break_into_the_answer_before_it() -> None:
    """The first request is still being read when the second one's head overflows: no 431 comes in between."""
    first, second = request(body=b"hello", close=False), request(header_of(MAX_HEAD_BYTES + 20_000))

    async def one_after_the_other() -> bytes:
        async with serving(QuickProtocol) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(first)
                assert (await reader.readuntil(b"\r\n\r\n5")).startswith(b"HTTP/1.1 200 ")
                writer.write(second)
                return await asyncio.wait_for(reader.read(), 30)
            finally:
                writer.close()

    assert asyncio.run(one_after_the_other()).startswith(b"HTTP/1.1 431 ")
    assert b"HTTP/1.1 431" not in answer(first + second)


def test_a_long_body_is_no_head() -> None:
    assert answer(request(body=b"x" * 1_000_000)).endswith(b"\r\n\r\n1000000")


@pytest.mark.parametrize("size", [1, 7])
def test_a_head_in_small_pieces(size: int) -> None:
    data = request(b"x: y\r\n" * 10, b"hello")
    assert answer(*(data[at : at + size] for at in range(0, len(data), size))).endswith(b"\r\n\r\n5")


def test_a_connection_that_never_asks() -> None:
    async def main(loop: SteppedLoop, reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await ends_after(loop, reader, HEAD_TIMEOUT_S)

    stepped(main)


def test_a_head_that_never_ends() -> None:
    async def main(loop: SteppedLoop, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"GET / HTTP/1.1\r\n")
        await loop.pass_time(HEAD_TIMEOUT_S - 5)
        writer.write(b"a: b\r\n")
        await ends_after(loop, reader, 5)

    stepped(main)


def test_a_later_head_that_never_ends() -> None:
    async def main(loop: SteppedLoop, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await loop.pass_time(HEAD_TIMEOUT_S - 5)
        writer.write(request(close=False))
        assert (await reader.readuntil(b"\r\n\r\n0")).startswith(b"HTTP/1.1 200 ")
        writer.write(b"GET / HTTP/1.1\r\n")
        await ends_after(loop, reader, HEAD_TIMEOUT_S)

    stepped(main)


def test_a_slow_body_is_not_the_heads_business() -> None:
    async def main(loop: SteppedLoop, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in (request(body=b"hello")[:-5], b"hel", b"lo"):
            await loop.pass_time(HEAD_TIMEOUT_S - 1)
            writer.write(piece)
        assert (await reader.read()).endswith(b"\r\n\r\n5")

    stepped(main)


def test_an_idle_connection_is_closed_after_its_time_and_a_busy_one_is_not() -> None:
    async def main(loop: SteppedLoop, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(3):  # longer than the time, never idle for it
            writer.write(request(body=b"abc", close=False))
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            assert await reader.readexactly(1) == b"3"
            await loop.pass_time(KEEP_ALIVE_S - 1)
            assert not reader.at_eof()
        await loop.pass_time(2)
        assert reader.at_eof()

    stepped(main)


def test_line_ends_behind_an_answer_do_not_keep_a_connection() -> None:
    async def main(loop: SteppedLoop, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n0")
        await loop.pass_time(KEEP_ALIVE_S - 1)
        writer.write(b"\r\n")
        await loop.pass_time(0.5)
        assert not reader.at_eof()
        await loop.pass_time(1)
        assert reader.at_eof()

    stepped(main)


def test_a_request_that_takes_longer_than_the_idle_time_is_answered() -> None:
    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(KEEP_ALIVE_S * 2)
        await whole(scope, receive, send)

    async def main(loop: SteppedLoop, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            for _ in range(3):
                await loop.pass_time(KEEP_ALIVE_S - 1)
            assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(3) == b"GET"

    stepped(main, slow)


@pytest.mark.parametrize(
    ("head", "expected", "closes"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", b"GET", False, id="keep-alive"),
        pytest.param(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", b"GET", True, id="close"),
        pytest.param(b"GET / HTTP/1.0\r\n\r\n", b"GET", True, id="http-1.0"),
        pytest.param(b"HEAD / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", b"", True, id="head-has-no-body"),
        pytest.param(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n" * 3, b"GET", False, id="pipelined"),
    ],
)
async def test_an_answer_that_is_taken_whole(head: bytes, expected: bytes, closes: bool) -> None:
    async with serving(QuickProtocol, whole) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head)
        for _ in range(head.count(b" / ")):
            lines = (await reader.readuntil(b"\r\n\r\n")).lower().splitlines()
            assert lines[0] == b"http/1.1 200 ok"
            assert [line.partition(b":")[0] for line in lines[1:-1]] == [
                *(b"date", b"content-length"),
                *([b"connection"] if closes else []),
            ]
            assert await reader.readexactly(len(expected)) == expected
        if closes:
            assert await asyncio.wait_for(reader.read(), 30) == b""
        writer.close()


@pytest.mark.parametrize("behind", [b"", b"GET / HTTP/1.1\r\nhost: a\r\n\r\n" * 2], ids=["alone", "others-behind-it"])
async def test_the_request_under_way_is_told_that_its_client_is_gone(behind: bytes) -> None:
    told: list[str] = []
    is_over = asyncio.Event()

    async def endless(_scope: Any, receive: Any, send: Any) -> None:
        await receive()  # the body
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        told.append((await receive())["type"])
        await send({"type": "http.response.body", "body": b"more", "more_body": True})  # goes nowhere, and raises nothing
        is_over.set()

    async with serving(QuickProtocol, endless) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n" + behind)
        await reader.readuntil(b"begun")
        writer.transport.abort()
        await asyncio.wait_for(is_over.wait(), 30)
    assert told == ["http.disconnect"]


def test_the_application_is_told_of_the_shutdown_before_answers_are_waited_for() -> None:
    """An answer without an end would keep the process for its whole grace time; here the application ends it."""
    stopping = asyncio.Event()

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            scope["state"][BEGIN_SHUTDOWN] = stopping.set
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        await stopping.wait()
        await send({"type": "http.response.body", "body": b"ended"})

    async def main() -> bytes:
        listening = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(endless, http=QuickProtocol, lifespan="on", ws="none", log_config=None)
        server = uvicorn.Server(config)
        task = asyncio.create_task(server._serve([listening]))  # noqa: SLF001
        while not server.started:  # noqa: ASYNC110 (uvicorn has no event for it)
            await asyncio.sleep(0.01)
        reader, writer = await asyncio.open_connection("127.0.0.1", listening.getsockname()[1])
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await reader.readuntil(b"begun")
        server.should_exit = True
        rest = await asyncio.wait_for(reader.read(), 30)
        writer.close()
        await task
        return rest

    assert b"ended" in asyncio.run(main())


def test_a_request_leaves_nothing_to_the_garbage_collector() -> None:
    request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"

    async def main() -> int:
        async with serving(QuickProtocol, whole) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            gc.collect()
            gc.disable()
            try:
                for _ in range(100):
                    writer.write(request)
                    await reader.readuntil(b"GET")
                return gc.collect()
            finally:
                gc.enable()
                writer.close()

    assert asyncio.run(main()) < 100
