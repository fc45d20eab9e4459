"""The procedures over WebSocket, on real connections: calls, subscriptions, who calls, and the end of all that."""

import asyncio
import gc
import json
import os
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidStatus

from server.quick_protocol import QuickProtocol
from storage import fresh_id
from tests.server.sockets import TIMEOUT_S, outcome, request, site, stop, subscription
from tests.server.streaming import eventually


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """The event loop that the server runs on."""
    return "asyncio", {"use_uvloop": True}


async def test_calls(tmp_path: Path) -> None:
    async with site(tmp_path) as here, here.client() as client:
        assert await client.call("echo", {"a": [1, None, "ü"]}) == {"a": [1, None, "ü"]}
        assert await client.call("shout", "a", method="mutation", id="b") == "A"
        assert await client.call("shout", "a") == "NOT_FOUND"  # a mutation is no query here, unlike over HTTP
        assert await client.call("nothing") == "NOT_FOUND"
        assert await client.call("shout", 5, method="mutation") == "BAD_REQUEST"
        assert await client.call("secret") == "UNAUTHORIZED"
        assert await client.call("fail", "CONFLICT") == "CONFLICT"
        assert await client.call("many") == "UNSUPPORTED_MEDIA_TYPE"
        await client.send({**request("fail", ""), "jsonrpc": "2.0"})
        assert await client.read() == {
            "id": 1,
            "jsonrpc": "2.0",
            "error": {
                "json": {
                    "message": "Internal server error",
                    "code": -32603,
                    "data": {"code": "INTERNAL_SERVER_ERROR", "httpStatus": 500, "path": "fail"},
                }
            },
        }
        await client.send("x", "PING", b'{"id":1}'.decode(), "PONG", "ping")
        answers = [answer if answer == "PONG" else (answer["id"], outcome(answer)) for answer in await client.read_many(4)]
        assert answers == [(None, "PARSE_ERROR"), "PONG", (None, "PARSE_ERROR"), (None, "PARSE_ERROR")]
        await client.socket.send(b"{}")
        assert outcome(await client.read()) == "PARSE_ERROR"
        assert await client.call("echo", "still there") == "still there"


async def test_the_slash_at_the_end(tmp_path: Path) -> None:
    async with site(tmp_path) as here, here.client("/") as client:
        assert await client.call("echo", 1) == 1


async def test_calls_run_side_by_side(tmp_path: Path) -> None:
    """Those that wait hold up neither those behind them nor those of other connections."""
    async with site(tmp_path) as here, here.client() as first, here.client() as second:
        waiting = [request("wait", f"{id}", id=id, method="mutation") for id in range(3)]
        await first.send([waiting[0], request("echo", "a", id="a"), waiting[1], request("echo", "b", id="b")], waiting[2])
        assert [outcome(answer) for answer in await first.read_many(2)] == ["a", "b"]
        assert await second.call("echo", "c") == "c"
        assert await first.call("echo", "d") == "d"
        here.world.gate.set()
        assert sorted([outcome(answer) for answer in await first.read_many(3)]) == ["0", "1", "2"]


async def test_no_call_sees_what_another_has_set_in_its_context(tmp_path: Path) -> None:
    async with site(tmp_path) as here, here.client() as client:
        for input in ("now", "later", "now"):
            assert await client.call("remember", input) == f"nothing {input}"


async def test_too_many_in_an_array(tmp_path: Path) -> None:
    async with site(tmp_path, server_max_batch_size="2") as here, here.client() as client:
        await client.send([request("echo", id=1), request("echo", id="b"), stop(3)])
        assert [(answer["id"], outcome(answer)) for answer in await client.read_many(2)] == [
            (1, "BAD_REQUEST"),
            ("b", "BAD_REQUEST"),
        ]


async def test_a_subscription_from_start_to_end(tmp_path: Path) -> None:
    async with site(tmp_path) as here, here.client() as client:
        await client.send({**subscription("count", 2), "jsonrpc": "2.0"})
        head = {"id": 1, "jsonrpc": "2.0"}
        assert await client.read_many(4) == [
            {**head, "result": {"type": "started"}},
            {**head, "result": {"type": "data", "data": {"json": 0}}},
            {**head, "result": {"type": "data", "data": {"json": 1}}},
            {**head, "result": {"type": "stopped"}},
        ]
        await client.send(subscription("resume", {"a": 1}, id="r", lastEventId="seen"))
        data = {"json": {"id": "next", "data": {"a": 1, "lastEventId": "seen"}}}
        answers = await client.read_many(3)
        assert answers[1] == {"id": "r", "result": {"type": "data", "data": data, "id": "next"}}
        assert outcome(answers[2]) == "stopped"


async def test_subscriptions_that_fail(tmp_path: Path) -> None:
    async with site(tmp_path) as here, here.client() as client:
        await client.send(subscription("broken", 5))
        assert [outcome(answer) for answer in await client.read_many(4)] == ["started", 5, "INTERNAL_SERVER_ERROR", "stopped"]
        await client.send(subscription("broken", -1))
        assert [outcome(answer) for answer in await client.read_many(3)] == ["started", "FORBIDDEN", "stopped"]
        for message, error in {"private": "UNAUTHORIZED", "echo": "NOT_FOUND", "count": "BAD_REQUEST"}.items():
            await client.send(subscription(message, "no number"), request("echo", "next", id=2))
            assert sorted([outcome(answer) for answer in await client.read_many(2)]) == [error, "next"]


async def test_stopping(tmp_path: Path) -> None:
    async with site(tmp_path) as here, here.client() as client:
        await client.send(subscription("endless", "a"), subscription("endless", "b", id="1"))
        await client.read_many(4)
        assert here.world.open == 2
        await client.send(stop(), stop("unknown"), stop())
        assert await client.read() == {"id": 1, "result": {"type": "stopped"}}
        assert (here.world.open, here.world.done) == (1, ["a"])  # `stopped` is told behind the clean-up
        await client.send([subscription("endless", "c"), stop()])  # before it has begun
        assert await client.read() == {"id": 1, "result": {"type": "stopped"}}
        await client.send(subscription("count", 1))
        assert [outcome(answer) for answer in await client.read_many(3)] == ["started", 0, "stopped"]


async def test_an_id_that_is_taken(tmp_path: Path) -> None:
    async with site(tmp_path) as here, here.client() as client:
        await client.send(subscription("endless", "a"))
        await client.read_many(2)
        await client.send(subscription("count", 1))
        answer = await client.read()
        assert (outcome(answer), answer["error"]["json"]["message"]) == ("BAD_REQUEST", "Duplicate id 1")
        assert answer["error"]["json"]["data"]["path"] == "count"
        assert await client.call("echo", "a query may have it", id=1) == "a query may have it"
        await client.send(stop())
        assert outcome(await client.read()) == "stopped"


@pytest.mark.parametrize("abort", [False, True], ids=["closed", "cut off"])
async def test_nothing_stays_behind_when_a_client_goes(tmp_path: Path, abort: bool) -> None:
    async with site(tmp_path) as here:
        async with here.client() as client:  # so that what is made once is there
            await client.call("echo")
        await eventually(lambda: here.connections == 0)
        tasks, descriptors = len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            async with here.client() as client:
                await client.send(*(subscription("endless", f"{id}", id=id) for id in range(20)))
                await client.read_many(40)
                await client.send(request("wait", "a mutation", method="mutation"))
                if abort:
                    client.socket.transport.abort()
        await eventually(lambda: here.world.open == 0 and here.connections == 0)
        here.world.gate.set()
        await eventually(lambda: here.world.done.count("a mutation") == 3)  # what was begun is finished
        await eventually(lambda: len(asyncio.all_tasks()) <= tasks + 3)
        gc.collect()
        await eventually(lambda: len(os.listdir("/proc/self/fd")) <= descriptors)
        assert not [each for each in gc.get_objects() if isinstance(each, ClientConnection) and each.state.name == "OPEN"]


def kept_of_connections() -> list[str]:
    """What is still there of the objects that a connection has."""
    ours = {"Connection", "Socket", "SocketSubscriptions", QuickProtocol.__name__}
    kinds = [type(each) for each in gc.get_objects()]
    return [kind.__name__ for kind in kinds if kind.__name__ in ours and "server." in kind.__module__]


async def test_a_connection_is_freed_at_once(tmp_path: Path) -> None:
    """Its buffers are not Python's, which therefore sees no reason to look for rings of objects that hold them."""
    async with site(tmp_path) as here:
        gc.collect()
        gc.disable()
        try:
            for _ in range(5):
                async with here.client() as client:
                    await client.send(subscription("endless", "a"), request("echo", id=2))
                    await client.read_many(3)
            await eventually(lambda: here.connections == 0 and here.world.open == 0)
            await eventually(lambda: kept_of_connections() == [])
        finally:
            gc.enable()


async def test_a_client_that_does_not_read_holds_its_subscription(tmp_path: Path) -> None:
    async with site(tmp_path) as here, here.client(max_queue=1, close_timeout=0.1) as slow, here.client() as other:
        await slow.send(subscription("flood"))
        produced = -1
        async with asyncio.timeout(TIMEOUT_S):
            while produced != here.world.produced:
                produced = here.world.produced
                await asyncio.sleep(0.3)
        assert await other.call("echo", 1) == 1
        assert here.world.produced < 2000  # some megabytes in the buffers of the kernel, not all that the server could make
        await slow.read_many(produced)
        assert here.world.produced > produced  # it goes on


async def test_a_generator_that_never_waits_leaves_turns_to_others(tmp_path: Path) -> None:
    async with site(tmp_path) as here, here.client() as busy, here.client() as other:
        await busy.send(subscription("busy"))
        assert await other.call("echo", 1) == 1
        await busy.send(stop())
        async with asyncio.timeout(TIMEOUT_S):
            while outcome(await busy.read()) != "stopped":
                pass
        assert await busy.call("echo", 1) == 1


async def test_who_calls(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        user, token = await here.session()
        async with here.client() as client:
            assert await client.call("who") is None
        for header in (f"session={token}", f"other=1; session={token}"):
            async with here.client(additional_headers={"Cookie": header}) as client:
                assert await client.call("who") == user


@pytest.mark.parametrize(
    ("headers", "is_let_in"),
    [
        pytest.param({}, True, id="no browser"),
        pytest.param({"Origin": "{base}"}, True, id="this server"),
        pytest.param({"Origin": "https://friend.example"}, True, id="an allowed origin"),
        pytest.param({"Origin": "https://evil.example"}, False, id="another origin"),
        pytest.param({"Origin": "null"}, False, id="a sandboxed page"),
        pytest.param({"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}, False, id="cross-site"),
    ],
)
async def test_a_cookie_opens_nothing_for_another_site(tmp_path: Path, headers: dict[str, str], is_let_in: bool) -> None:
    async with site(tmp_path, server_allowed_origins="https://friend.example") as here:
        user, token = await here.session()
        headers = {name: value.format(base=f"http://127.0.0.1:{here.live.port}") for name, value in headers.items()}
        if is_let_in:
            async with here.client(additional_headers={**headers, "Cookie": f"session={token}"}) as client:
                assert await client.call("who") == user
        else:
            with pytest.raises(InvalidStatus) as refused:
                async with here.client(additional_headers={**headers, "Cookie": f"session={token}"}):
                    pass
            assert refused.value.response.status_code == 403
            assert json.loads(refused.value.response.body)["error"]["json"]["data"]["code"] == "FORBIDDEN"
            async with here.client(additional_headers=headers) as client:  # without a cookie it may ask what everybody may
                assert await client.call("who") is None
            async with here.client(
                "?connectionParams=1", additional_headers={**headers, "Cookie": f"session={token}"}
            ) as client:
                await client.send({"method": "connectionParams", "data": {}})
                assert outcome(await client.read()) == "FORBIDDEN"
                assert await client.closed() == (1008, "FORBIDDEN")


async def test_connection_params(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        store = here.live.app._store  # noqa: SLF001
        assert store is not None
        info, key = await store.credentials.create_key(organization_id=fresh_id(), role="member", name="a")
        async with here.client("?connectionParams=1") as client:
            params = {"method": "connectionParams", "data": {"authorization": f"Bearer {key}"}}
            await client.send("PING", params, [request("who"), subscription("private", id=2)])
            answers = await client.read_many(4)
            assert answers[0] == "PONG"
            assert {(answer["id"], outcome(answer)) for answer in answers[1:]} == {
                (1, info.id),
                (2, "started"),
                (2, "private"),
            }
        async with here.client("?connectionParams=1") as client:
            await client.send({"method": "connectionParams", "data": None})
            assert await client.call("who") is None
        async with here.client("?connectionParams=0") as client:
            assert await client.call("who") is None
        for malformed in ("x", {"data": {"a": 1}}):
            async with here.client("?connectionParams=1") as client:
                await client.send(malformed)
                answer = await client.read()
                assert (answer["id"], outcome(answer)) == (None, "PARSE_ERROR")
                assert await client.closed() == (1008, "PARSE_ERROR")


async def test_connection_params_that_came_in_time(tmp_path: Path) -> None:
    async with site(tmp_path, websocket_connection_params_seconds="1") as here, here.client("?connectionParams=1") as client:
        await client.send({"method": "connectionParams", "data": None})
        await asyncio.sleep(1.3)
        assert await client.call("who") is None


async def test_connection_params_that_do_not_come(tmp_path: Path) -> None:
    async with site(tmp_path, websocket_connection_params_seconds="0.1") as here, here.client("?connectionParams=1") as client:
        assert outcome(await client.read()) == "TIMEOUT"
        assert (await client.closed())[0] == 1008


async def test_a_connection_does_not_outlive_its_session(tmp_path: Path) -> None:
    async with site(tmp_path, auth_session_cache_seconds="0") as here:
        _, token = await here.session()
        async with here.client(additional_headers={"Cookie": f"session={token}"}) as client:
            await client.send(subscription("private"))
            assert outcome((await client.read_many(2))[1]) == "private"
            await asyncio.sleep(1.2)
            assert await client.call("echo", "still", id=2) == "still"
            store = here.live.app._store  # noqa: SLF001
            assert store is not None
            await store.credentials.revoke_session(token)
            answer = await client.read()
            assert (answer["id"], outcome(answer)) == (None, "UNAUTHORIZED")
            assert (await client.closed())[0] == 1008
