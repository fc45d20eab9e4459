"""Subscriptions over server-sent events, on real connections."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from procedures import Context, Router, Tracked, authenticated, procedure
from schemas import Code, ServiceError
from tests.server.streaming import eventually, read_all, serving

CONNECTED = b'event: connected\ndata: {"reconnectAfterInactivityMs":120000}\n\n\n'
RETURN = b"event: return\ndata: \n\n\n"
PING = b"event: ping\ndata: \n\n\n"


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """The event loop that the server runs on."""
    return "asyncio", {"use_uvloop": True}


class World:
    """What the procedures of these tests do and note."""

    def __init__(self) -> None:
        self.open = 0
        self.left: list[str] = []
        self.inputs: list[Any] = []
        self.news = asyncio.Condition()
        self.item: Tracked[str] = Tracked("0", "")

    async def publish(self, item: Tracked[str]) -> None:
        """Give an item to everybody who waits."""
        async with self.news:
            self.item = item
            self.news.notify_all()

    def router(self) -> Router:
        """The procedures."""
        router = Router()
        self._declare_endless(router)
        self._declare_failing(router)

        @router.subscription()
        async def count(ctx: Context, input: int) -> AsyncIterator[int]:
            for number in range(input):
                yield number

        @router.subscription()
        async def resume(ctx: Context, input: Any) -> AsyncIterator[Tracked[int]]:
            self.inputs.append(input)
            yield Tracked("a", 1)

        @router.subscription()
        async def bare(ctx: Context, input: Any) -> AsyncIterator[str]:
            self.inputs.append(input)
            yield "bare"

        @router.subscription(procedure.use(authenticated))
        async def members(ctx: Context) -> AsyncIterator[int]:
            yield 1
            await asyncio.sleep(3600)

        return router

    def _declare_endless(self, router: Router) -> None:
        @router.subscription()
        async def wait(ctx: Context) -> AsyncIterator[Tracked[str]]:
            self.open += 1
            try:
                while True:
                    async with self.news:
                        await self.news.wait()
                    yield self.item
            finally:
                self.open -= 1
                self.left.append("finally")

        @router.subscription()
        async def flood(ctx: Context) -> AsyncIterator[str]:
            self.open += 1
            try:
                while True:
                    self.inputs.append(None)
                    yield "x" * 100_000
            finally:
                self.open -= 1

        @router.subscription()
        async def busy(ctx: Context) -> AsyncIterator[int]:
            self.open += 1
            try:
                while True:
                    yield 1
            finally:
                self.open -= 1

        @router.subscription()
        async def stubborn(ctx: Context) -> AsyncIterator[int]:
            self.open += 1
            try:
                for number in range(3):
                    try:
                        await asyncio.sleep(3600)
                    except asyncio.CancelledError:
                        self.left.append("cancelled")
                    yield number
            finally:
                self.open -= 1

    def _declare_failing(self, router: Router) -> None:
        @router.subscription()
        async def fail(ctx: Context, input: str) -> AsyncIterator[int]:
            yield 1
            if input == "crash":
                raise RuntimeError("a detail that is nobody's business")
            raise ServiceError(Code.CONFLICT, "in the middle")

        @router.subscription()
        async def bad_id(ctx: Context) -> AsyncIterator[Tracked[int]]:
            yield Tracked("a\nb", 1)

        @router.subscription()
        async def bad_end(ctx: Context) -> AsyncIterator[int]:
            try:
                yield 1
                await asyncio.sleep(3600)
            finally:
                self.left.append("bad_end")
                raise RuntimeError("at the end")


def error(message: str, number: int, code: str, status: int, path: str) -> bytes:
    """The frame of an error."""
    data = f'{{"code":"{code}","httpStatus":{status},"path":"{path}"}}'
    shape = f'{{"message":"{message}","code":{number},"data":{data}}}'
    return f'event: serialized-error\ndata: {{"json":{shape}}}\n\n\n'.encode()


async def test_a_subscription_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    async with serving(tmp_path, World().router()) as live:
        answer = await live.get("count?input=2")
        request_id = answer.headers.pop("x-request-id")
        assert answer.status == 200
        assert request_id
        del answer.headers["date"]
        assert answer.headers == {
            "content-type": "text/event-stream",
            "cache-control": "no-cache, no-transform",
            "x-accel-buffering": "no",
            "connection": "keep-alive",
            "vary": "trpc-accept, accept",
            "transfer-encoding": "chunked",
        }
        assert [await answer.chunk() for _ in range(5)] == [
            CONNECTED,
            b'data: {"json":0}\n\n\n',
            b'data: {"json":1}\n\n\n',
            RETURN,
            b"",
        ]
        # The connection goes on.
        answer.writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await answer.begin()).status == 200


@pytest.mark.parametrize(
    ("path", "headers", "input"),
    [
        pytest.param("resume", [], msgspec.UNSET, id="nothing"),
        pytest.param("resume?lastEventId=7", [], {"lastEventId": "7"}, id="query"),
        pytest.param("resume?Last-Event-Id=7", [], {"lastEventId": "7"}, id="query-of-the-polyfill"),
        pytest.param("resume?lastEventId=7&Last-Event-Id=8", [], {"lastEventId": "7"}, id="first-query"),
        pytest.param("resume?lastEventId=7", ["Last-Event-Id: 9"], {"lastEventId": "9"}, id="header-wins"),
        pytest.param("resume?lastEventId=7", ["Last-Event-Id:"], msgspec.UNSET, id="empty-header-wins"),
        pytest.param("resume?input=%7B%22a%22:1%7D", ["last-event-id: 9"], {"a": 1, "lastEventId": "9"}, id="merged"),
        pytest.param(
            "resume?input=%7B%22lastEventId%22:%221%22%7D", ["last-event-id: 9"], {"lastEventId": "9"}, id="newer-than-input"
        ),
        pytest.param("resume?input=null", ["last-event-id: 9"], {"lastEventId": "9"}, id="instead-of-null"),
        pytest.param("resume?input=[1]", ["last-event-id: 9"], [1], id="not-into-a-list"),
        pytest.param("resume?input=5", ["last-event-id: 9"], 5, id="not-into-a-number"),
        pytest.param("resume?lastEventId=a%20b%2Bc", [], {"lastEventId": "a b+c"}, id="decoded"),
    ],
)
async def test_the_last_event_id(tmp_path: Path, path: str, headers: list[str], input: Any) -> None:
    world = World()
    async with serving(tmp_path, world.router()) as live:
        answer = await live.get(path, *headers)
        assert await answer.rest() == CONNECTED + b'data: {"json":1}\nid: a\n\n\n' + RETURN
    assert world.inputs == [input]


async def test_items_without_id_after_a_client_that_has_one(tmp_path: Path) -> None:
    async with serving(tmp_path, World().router()) as live:
        answer = await live.get("bare", "last-event-id: 9")
        assert await answer.rest() == (
            CONNECTED + b'data: {"json":"bare"}\nid: \n\n\nevent: restore-id\ndata: \nid: 9\n\n\n' + RETURN
        )


@pytest.mark.parametrize(
    ("method", "path", "frame", "allow"),
    [
        pytest.param(
            "GET",
            "members",
            error("authentication required: send the session cookie or an API key", -32001, "UNAUTHORIZED", 401, "members"),
            None,
            id="anonymous",
        ),
        pytest.param(
            "PUT",
            "members",
            error(
                'Unsupported PUT-request to subscription procedure at path \\"members\\"',
                -32005,
                "METHOD_NOT_SUPPORTED",
                405,
                "members",
            ),
            "GET, POST",
            id="method",
        ),
        pytest.param(
            "GET",
            "count?input=%5B",
            error(
                "the input is not valid JSON: Expecting value: line 1 column 2 (char 1)", -32600, "BAD_REQUEST", 400, "count"
            ),
            None,
            id="malformed-input",
        ),
        pytest.param(
            "GET",
            "count?input=%22a%22",
            error("the input is not valid: Expected `int`, got `str`", -32600, "BAD_REQUEST", 400, "count"),
            None,
            id="wrong-input",
        ),
        pytest.param(
            "GET",
            "fail?input=%22service%22",
            b'data: {"json":1}\n\n\n' + error("in the middle", -32009, "CONFLICT", 409, "fail"),
            None,
            id="in-the-middle",
        ),
        pytest.param(
            "GET",
            "fail?input=%22crash%22",
            b'data: {"json":1}\n\n\n' + error("Internal server error", -32603, "INTERNAL_SERVER_ERROR", 500, "fail"),
            None,
            id="crash",
        ),
        pytest.param(
            "GET", "bad_id", error("Internal server error", -32603, "INTERNAL_SERVER_ERROR", 500, "bad_id"), None, id="bad-id"
        ),
    ],
)
async def test_errors_are_events(tmp_path: Path, method: str, path: str, frame: bytes, allow: str | None) -> None:
    async with serving(tmp_path, World().router()) as live:
        answer = await live.request(method, path, "content-type: application/json")
        assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream")
        assert answer.headers.get("allow") == allow
        assert await answer.rest() == CONNECTED + frame


@pytest.mark.parametrize(
    ("path", "headers", "status", "code"),
    [
        pytest.param("count?connectionParams=x", [], 400, "PARSE_ERROR", id="connection-params"),
        pytest.param("%zz", [], 400, "BAD_REQUEST", id="path"),
        pytest.param("count", ["trpc-accept: application/jsonl"], 400, "BAD_REQUEST", id="json-lines-without-batch"),
        pytest.param("nothing", [], 404, "NOT_FOUND", id="unknown"),
    ],
)
async def test_errors_of_the_whole_request_are_none(
    tmp_path: Path, path: str, headers: list[str], status: int, code: str
) -> None:
    async with serving(tmp_path, World().router()) as live:
        answer = await live.get(path, *headers)
        assert (answer.status, answer.headers["content-type"]) == (status, "application/json")
        assert (await answer.json())["error"]["json"]["data"]["code"] == code


async def test_subscriptions_cannot_be_batched(tmp_path: Path) -> None:
    async with serving(tmp_path, World().router()) as live:
        answer = await live.get("count,bare?batch=1&input=%7B%220%22:1%7D")
        assert answer.status == 400
        failures = [item["error"]["json"] for item in await answer.json()]
        assert [failure["message"] for failure in failures] == ["Cannot batch subscription calls"] * 2
        assert [failure["data"]["path"] for failure in failures] == ["count", "bare"]


async def test_the_stack_is_told_in_development_only(tmp_path: Path) -> None:
    async with serving(tmp_path, World().router(), development=True) as live:
        told = await (await live.get("fail?input=%22crash%22")).rest()
    assert b"nobody's business" in told
    assert b'"stack":"' in told


async def test_by_post(tmp_path: Path) -> None:
    async with serving(tmp_path, World().router()) as live:
        answer = await live.request("POST", "count", "content-type: application/json", body=b'{"json":1}')
        assert await answer.rest() == CONNECTED + b'data: {"json":0}\n\n\n' + RETURN


async def test_a_client_that_goes_away_leaves_nothing(tmp_path: Path) -> None:
    world = World()
    async with serving(tmp_path, world.router()) as live:
        tasks = len(asyncio.all_tasks())
        answers = [await live.get("wait") for _ in range(20)]
        await eventually(lambda: world.open == 20)
        for answer in answers:
            answer.leave()
        await eventually(lambda: world.open == 0)
        await eventually(lambda: live.requests() == 0 and len(asyncio.all_tasks()) <= tasks)
    assert world.left == ["finally"] * 20


async def test_a_client_that_goes_away_during_a_flood(tmp_path: Path) -> None:
    world = World()
    async with serving(tmp_path, world.router()) as live:
        answer = await live.get("flood")
        await answer.chunk()
        await eventually(lambda: world.open == 1)
        # Nobody reads: what the kernel does not take is not made.
        made = -1
        while made != len(world.inputs):
            made = len(world.inputs)
            assert made < 200
            await asyncio.sleep(0.3)
        answer.leave()
        await eventually(lambda: world.open == 0 and live.requests() == 0)


async def test_a_client_that_does_not_read_is_not_waited_for_at_the_end(tmp_path: Path) -> None:
    world = World()
    async with serving(tmp_path, world.router(), stream_max_duration_seconds="0.5") as live:
        answer = await live.get("flood")
        await eventually(lambda: len(world.inputs) > 0)
        await eventually(lambda: world.open == 0 and live.requests() == 0)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await answer.rest()


async def test_a_generator_that_never_waits_lets_others_run(tmp_path: Path) -> None:
    world = World()
    async with serving(tmp_path, world.router()) as live:
        request = b"GET /api/trpc/busy HTTP/1.1\r\nHost: ignored.example\r\n\r\n"
        reading = asyncio.create_task(asyncio.to_thread(read_all, live.port, request))
        await eventually(lambda: world.open == 1)
        for _ in range(20):
            assert await (await live.get("count?input=1")).rest() == CONNECTED + b'data: {"json":0}\n\n\n' + RETURN
        live.app.begin_shutdown()
        assert RETURN not in await reading
    assert world.open == 0


async def test_a_generator_that_takes_a_cancellation_for_its_own(tmp_path: Path) -> None:
    world = World()
    async with serving(tmp_path, world.router()) as live:
        answer = await live.get("stubborn")
        await eventually(lambda: world.open == 1)
        answer.leave()
        await eventually(lambda: world.open == 0 and live.requests() == 0)
    assert world.left == ["cancelled"]


async def test_a_generator_that_fails_when_it_is_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    async with serving(tmp_path, world.router()) as live:
        answer = await live.get("bad_end")
        assert [await answer.chunk(), await answer.chunk()] == [CONNECTED, b'data: {"json":1}\n\n\n']
        answer.leave()
        await eventually(lambda: live.requests() == 0)
    assert world.left == ["bad_end"]
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["at the end"]


async def test_an_event_reaches_everybody(tmp_path: Path) -> None:
    world = World()
    async with serving(tmp_path, world.router()) as live:
        answers = [await live.get("wait") for _ in range(50)]
        await eventually(lambda: world.open == 50)
        for id in ("1", "2"):
            await world.publish(Tracked(id, "news"))
            frame = b'data: {"json":"news"}\nid: %b\n\n\n' % id.encode()
            received = [[await answer.chunk() for _ in range(1 if id == "2" else 2)][-1] for answer in answers]
            assert received == [frame] * 50
        for answer in answers:
            answer.leave()


async def test_pings_come_when_nothing_else_does(tmp_path: Path) -> None:
    world = World()
    async with serving(tmp_path, world.router(), stream_ping_seconds="0.2") as live:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        answer = await live.get("wait")
        assert [await answer.chunk() for _ in range(3)] == [CONNECTED, PING, PING]
        assert 0.35 < loop.time() - begun < 20
        await world.publish(Tracked("1", "news"))
        while (frame := await answer.chunk()) == PING:
            pass
        assert frame == b'data: {"json":"news"}\nid: 1\n\n\n'
        assert await answer.chunk() == PING
        answer.leave()


async def test_no_pings_when_they_are_off(tmp_path: Path) -> None:
    async with serving(
        tmp_path,
        World().router(),
        stream_ping_seconds="0",
        stream_reconnect_after_inactivity_seconds="0",
        stream_max_duration_seconds="0.3",
    ) as live:
        assert await (await live.get("wait")).rest() == b"event: connected\ndata: {}\n\n\n"


async def test_the_time_of_a_subscription_is_limited(tmp_path: Path) -> None:
    """It ends without `return`: the client connects again. Pings do not make it longer."""
    world = World()
    async with serving(tmp_path, world.router(), stream_max_duration_seconds="0.3", stream_ping_seconds="0.1") as live:
        assert (await (await live.get("wait")).rest()).replace(PING, b"") == CONNECTED
        await eventually(lambda: world.left == ["finally"])


async def test_a_subscription_too_many_is_told_to_come_back(tmp_path: Path) -> None:
    """By an error after which the stock client connects again."""
    world = World()
    async with serving(tmp_path, world.router(), stream_max_subscriptions="2") as live:
        answers = [await live.get("wait") for _ in range(2)]
        refused = await (await live.get("wait")).rest()
        message = "the server has 2 subscriptions, which is all it takes (stream.max_subscriptions): try again"
        assert refused == CONNECTED + error(message, -32603, "SERVICE_UNAVAILABLE", 503, "wait")
        await eventually(lambda: world.open == 2)
        answers.pop().leave()
        await eventually(lambda: world.open == 1 and live.requests() == 1)
        answers.append(await live.get("wait"))
        await eventually(lambda: world.open == 2)
        for answer in answers:
            answer.leave()


async def test_when_the_server_stops_subscriptions_end_without_return(tmp_path: Path) -> None:
    world = World()
    async with serving(tmp_path, world.router()) as live:
        answer = await live.get("wait")
        await eventually(lambda: world.open == 1)
        live.app.begin_shutdown()
        assert await answer.rest() == CONNECTED
        late = await (await live.get("wait")).rest()
        assert late == CONNECTED + error("the server is stopping: connect again", -32603, "SERVICE_UNAVAILABLE", 503, "wait")
    assert world.left == ["finally"]


async def test_a_session_that_ends_ends_its_subscriptions(tmp_path: Path) -> None:
    async with serving(tmp_path, World().router(), auth_session_cache_seconds="0") as live:
        tokens = [(await live.session())[1] for _ in range(2)]
        ended, kept = [await live.get("members", f"cookie: session={token}") for token in tokens]
        assert await live.store.credentials.revoke_session(tokens[0])
        message = "the credential of this stream is no longer valid"
        assert await ended.rest() == (
            CONNECTED + b'data: {"json":1}\n\n\n' + error(message, -32001, "UNAUTHORIZED", 401, "members")
        )
        await eventually(lambda: live.requests() == 1)
        await asyncio.sleep(1.2)  # it was looked after once more
        live.app.begin_shutdown()
        assert await kept.rest() == CONNECTED + b'data: {"json":1}\n\n\n'


async def test_to_pages_of_other_origins(tmp_path: Path) -> None:
    world = World()
    async with serving(tmp_path, world.router(), server_allowed_origins="https://a.example") as live:
        answer = await live.get("count?input=1", "origin: https://a.example")
        assert answer.headers["access-control-allow-origin"] == "https://a.example"
        assert await answer.rest() == CONNECTED + b'data: {"json":0}\n\n\n' + RETURN
        answer = await live.get("wait", "origin: https://a.example")
        await eventually(lambda: world.open == 1)
        answer.leave()
        await eventually(lambda: world.open == 0)
