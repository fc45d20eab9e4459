"""Answers in JSON lines, on real connections."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from procedures import Context, Router, authenticated, procedure
from schemas import Code, ServiceError
from server.trpc.jsonl import head
from tests.server.streaming import Answer, Live, eventually, read_all, serving

ASKED = "trpc-accept: application/jsonl"
MESSAGE = "Cannot use stream-like response in non-streaming request - use httpBatchStreamLink"


class Parts(msgspec.Struct):
    now: int
    later: Awaitable[Any]
    items: AsyncIterator[Any]


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """The event loop that the server runs on."""
    return "asyncio", {"use_uvloop": True}


class World:
    """What the procedures of these tests wait for, and note."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.open = 0
        self.done: list[str] = []

    async def wait(self, result: Any) -> Any:
        """The result, once the gate is open."""
        self.open += 1
        try:
            await self.gate.wait()
            return result
        finally:
            self.open -= 1

    async def items(self, *items: Any, end: Exception | None = None) -> AsyncIterator[Any]:
        """Items; then an exception, or nothing until the gate opens."""
        self.open += 1
        try:
            for item in items:
                yield item
            if end is not None:
                raise end
            await self.gate.wait()
        finally:
            self.open -= 1
            self.done.append("finally")

    def router(self) -> Router:
        """The procedures."""
        router = Router()
        self._declare_deferring(router)
        self._declare_endless(router)

        @router.query()
        async def plain(ctx: Context, input: Any) -> dict[str, int]:
            return {"n": 1}

        @router.query()
        async def slow(ctx: Context) -> str:
            return str(await self.wait("slow"))

        @router.mutation()
        async def write(ctx: Context) -> str:
            await self.wait(None)
            self.done.append("written")
            return "written"

        @router.mutation()
        async def write_and_watch(ctx: Context) -> dict[str, AsyncIterator[int]]:
            await self.wait(None)
            self.done.append("written")
            return {"items": self.items(1)}

        @router.query()
        async def fail(ctx: Context, input: str) -> str:
            if input == "crash":
                raise RuntimeError("a detail that is nobody's business")
            raise ServiceError(Code.CONFLICT, "refused")

        @router.query(procedure.use(authenticated))
        async def members(ctx: Context) -> int:
            return 1

        @router.subscription()
        async def changes(ctx: Context) -> AsyncIterator[int]:
            yield 1

        return router

    def _declare_deferring(self, router: Router) -> None:
        @router.query()
        async def parts(ctx: Context) -> Parts:
            async def later() -> dict[str, Any]:
                return {"x": 2, "deep": self.wait("deep")}

            return Parts(1, later(), self.items("i"))

        @router.query()
        async def bad(ctx: Context) -> dict[str, Any]:
            async def fail(error: Exception) -> None:
                raise error

            return {
                "known": fail(ServiceError(Code.FORBIDDEN, "not you")),
                "crash": fail(RuntimeError("a detail that is nobody's business")),
                "items": self.items(1, end=ServiceError(Code.CONFLICT, "mid")),
                "unwritable": self.items(object()),
            }

        @router.query()
        async def gives_up(ctx: Context) -> dict[str, Any]:
            task = asyncio.get_running_loop().create_future()
            task.cancel()
            return {"a": task}

    def _declare_endless(self, router: Router) -> None:
        @router.query()
        async def count(ctx: Context, input: int) -> AsyncIterator[int]:
            for number in range(input):
                yield number

        @router.query()
        async def watch(ctx: Context) -> AsyncIterator[int]:
            async for item in self.items(1):
                yield item

        @router.query()
        async def flood(ctx: Context) -> AsyncIterator[str]:
            self.open += 1
            try:
                while True:
                    self.done.append("")
                    yield "x" * 100_000
            finally:
                self.open -= 1


async def ask(live: Live, path: str, *headers: str, method: str = "GET") -> Answer:
    """The beginning of an answer in JSON lines to a batch."""
    separator = "&" if "?" in path else "?"
    answer = await live.request(method, f"{path}{separator}batch=1", ASKED, *headers)
    assert answer.status == 200
    return answer


def inputs(*values: Any) -> str:
    """The query string of the inputs."""
    return "input=" + json.dumps(dict(enumerate(values))).replace('"', "%22").replace(" ", "")


def shape(message: str, number: int, code: str, status: int, path: str) -> str:
    """The JSON of an error."""
    data = f'{{"code":"{code}","httpStatus":{status},"path":"{path}"}}'
    return f'{{"message":"{message}","code":{number},"data":{data}}}'


def crash(path: str) -> str:
    """The JSON of an error that nobody expected."""
    return shape("Internal server error", -32603, "INTERNAL_SERVER_ERROR", 500, path)


def lines(*texts: str) -> bytes:
    """The lines after the three of the result of one call, which is deferred."""
    return b"".join(b'{"json":%b}\n' % text.encode() for text in texts)


RESULT = lines('[0,0,[[{"result":0}],["result",0,1]]]', '[1,0,[[{"data":0}],["data",0,2]]]')


async def test_what_is_there_at_once_comes_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path, World().router()) as live:
        answer = await ask(live, "plain,plain")
        request_id, _ = answer.headers.pop("x-request-id"), answer.headers.pop("date")
        assert request_id
        body = await answer.rest()
        assert answer.headers == {
            "content-type": "application/json",
            "vary": "trpc-accept, accept",
            "content-length": str(len(body)),
        }
        assert body == head(2) + lines(
            '[0,0,[[{"result":0}],["result",0,2]]]',
            '[1,0,[[{"result":0}],["result",0,3]]]',
            '[2,0,[[{"data":0}],["data",0,4]]]',
            '[3,0,[[{"data":0}],["data",0,5]]]',
            '[4,0,[[{"n":1}]]]',
            '[5,0,[[{"n":1}]]]',
        )


async def test_a_call_that_waits_holds_up_no_other(tmp_path: Path) -> None:
    world = World()
    async with serving(tmp_path, world.router()) as live:
        answer = await ask(live, "plain,slow,plain,slow")
        request_id, _ = answer.headers.pop("x-request-id"), answer.headers.pop("date")
        assert request_id
        assert answer.headers == {
            "content-type": "application/json",
            "vary": "trpc-accept, accept",
            "transfer-encoding": "chunked",
        }
        first = '[0,0,[[{"result":0}],["result",0,4]]]', '[4,0,[[{"data":0}],["data",0,5]]]', '[5,0,[[{"n":1}]]]'
        assert await answer.chunk() == head(4) + lines(*first)
        third = '[2,0,[[{"result":0}],["result",0,6]]]', '[6,0,[[{"data":0}],["data",0,7]]]', '[7,0,[[{"n":1}]]]'
        assert await answer.chunk() == lines(*third)
        await eventually(lambda: world.open == 2)
        world.gate.set()
        rest = await answer.rest()
        assert sorted(json.loads(line)["json"][2][0][0] for line in rest.splitlines() if b"slow" in line) == ["slow", "slow"]
        assert len(rest.splitlines()) == 6


@pytest.mark.parametrize(
    ("path", "headers", "expected"),
    [
        pytest.param(
            "nope", [], shape('No procedure found on path \\"nope\\"', -32004, "NOT_FOUND", 404, "nope"), id="unknown"
        ),
        pytest.param(
            "members",
            [],
            shape("authentication required: send the session cookie or an API key", -32001, "UNAUTHORIZED", 401, "members"),
            id="anonymous",
        ),
        pytest.param(f"fail?{inputs('x')}", [], shape("refused", -32009, "CONFLICT", 409, "fail"), id="refused"),
        pytest.param(f"fail?{inputs('crash')}", [], crash("fail"), id="crash"),
        pytest.param(
            "changes", [], shape("Cannot batch subscription calls", -32600, "BAD_REQUEST", 400, "changes"), id="changes"
        ),
        pytest.param(
            "write",
            [],
            shape(
                'Unsupported GET-request to mutation procedure at path \\"write\\"',
                -32005,
                "METHOD_NOT_SUPPORTED",
                405,
                "write",
            ),
            id="method",
        ),
    ],
)
async def test_the_failure_of_a_call_is_a_line(tmp_path: Path, path: str, headers: list[str], expected: str) -> None:
    async with serving(tmp_path, World().router()) as live:
        answer = await ask(live, path, *headers)
        assert answer.headers.get("allow") == ("POST" if path == "write" else None)
        assert await answer.rest() == head(1) + lines(f'[0,0,[[{{"error":{expected}}}]]]')


async def test_deferred_values(tmp_path: Path) -> None:
    world = World()
    async with serving(tmp_path, world.router()) as live:
        answer = await ask(live, "parts")
        assert await answer.chunk() == head(1) + RESULT + lines(
            '[2,0,[[{"now":1,"later":0,"items":0}],["later",0,3],["items",1,4]]]'
        )
        assert {await answer.chunk(), await answer.chunk()} == {
            lines('[3,0,[[{"x":2,"deep":0}],["deep",0,5]]]'),
            lines('[4,1,[["i"]]]'),
        }
        await eventually(lambda: world.open == 2)
        world.gate.set()
        assert {await answer.chunk(), await answer.chunk()} == {lines('[5,0,[["deep"]]]'), lines("[4,0,[[]]]")}
        assert await answer.chunk() == b""


async def test_deferred_values_that_fail(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(tmp_path, World().router()) as live:
        rest = await (await ask(live, "bad")).rest()
    assert sorted(rest.splitlines(keepends=True)[4:]) == sorted(
        [
            lines(f"[3,1,{shape('not you', -32003, 'FORBIDDEN', 403, 'bad')}]"),
            lines(f"[4,1,{crash('bad')}]"),
            lines("[5,1,[[1]]]"),
            lines(f"[5,2,{shape('mid', -32009, 'CONFLICT', 409, 'bad')}]"),
            lines(f"[6,2,{crash('bad')}]"),
        ]
    )
    assert len([record for record in caplog.records if record.message == "unexpected exception"]) == 2


async def test_a_deferred_value_that_its_procedure_cancelled(tmp_path: Path) -> None:
    async with serving(tmp_path, World().router()) as live:
        rest = await (await ask(live, "gives_up")).rest()
    assert rest.splitlines(keepends=True)[-1] == lines(f"[3,1,{crash('gives_up')}]")


async def test_a_query_that_streams(tmp_path: Path) -> None:
    async with serving(tmp_path, World().router()) as live:
        answer = await ask(live, f"count?{inputs(2)}")
        assert await answer.rest() == head(1) + RESULT + lines(
            "[2,0,[[0],[null,1,3]]]", "[3,1,[[0]]]", "[3,1,[[1]]]", "[3,0,[[]]]"
        )


async def test_the_stack_is_told_in_development_only(tmp_path: Path) -> None:
    async with serving(tmp_path, World().router(), development=True) as live:
        assert b"nobody's business" in await (await ask(live, f"fail?{inputs('crash')}")).rest()
        assert b"nobody's business" in await (await ask(live, "bad")).rest()


@pytest.mark.parametrize("path", ["parts", "watch"])
async def test_an_answer_in_one_piece_cannot_wait(tmp_path: Path, path: str) -> None:
    async with serving(tmp_path, World().router()) as live:
        single = await live.get(path)
        assert single.status == 415
        # Of a single call tRPC answers it for the request as a whole, without its path.
        data: dict[str, Any] = {"code": "UNSUPPORTED_MEDIA_TYPE", "httpStatus": 415}
        assert (await single.json())["error"]["json"] == {"message": MESSAGE, "code": -32015, "data": data}
        batch = await live.get(f"{path},plain?batch=1")
        assert batch.status == 207
        assert (await batch.json())[0]["error"]["json"] == {"message": MESSAGE, "code": -32015, "data": {**data, "path": path}}


@pytest.mark.parametrize("path", ["slow", "slow,slow", "parts", "watch", "watch,slow,parts"])
async def test_a_client_that_goes_away_leaves_nothing(tmp_path: Path, path: str) -> None:
    world = World()
    async with serving(tmp_path, world.router()) as live:
        tasks = len(asyncio.all_tasks())
        answers = [await ask(live, path) for _ in range(5)]
        await eventually(lambda: world.open >= 5 * len(path.split(",")))
        for answer in answers:
            answer.leave()
        await eventually(lambda: world.open == 0 and live.requests() == 0 and len(asyncio.all_tasks()) <= tasks)


@pytest.mark.parametrize("path", ["write", "write_and_watch", "write,write"])
async def test_mutations_run_to_their_end(tmp_path: Path, path: str) -> None:
    world = World()
    async with serving(tmp_path, world.router()) as live:
        answer = await ask(live, path, "content-type: application/json", method="POST")
        calls = len(path.split(","))
        await eventually(lambda: world.open == calls)
        answer.leave()
        await asyncio.sleep(0.1)
        assert (world.open, world.done) == (calls, [])
        world.gate.set()
        await eventually(lambda: live.requests() == 0)
        assert (world.open, world.done) == (0, ["written"] * calls)


async def until_waiting(world: World) -> None:
    """Wait until the flood goes on no more; what is made until then is what the sockets hold."""
    await eventually(lambda: len(world.done) > 0)
    made = -1
    while len(world.done) != made:
        made = len(world.done)
        assert made < 200
        await asyncio.sleep(0.3)
    assert world.open == 1


async def test_a_client_that_does_not_read_is_waited_for(tmp_path: Path) -> None:
    world = World()
    async with serving(tmp_path, world.router()) as live:
        answer = await ask(live, "flood")
        await until_waiting(world)
        answer.leave()
        await eventually(lambda: world.open == 0 and live.requests() == 0)


async def test_pings_are_spaces(tmp_path: Path) -> None:
    world = World()
    async with serving(tmp_path, world.router(), stream_jsonl_ping_seconds="0.2") as live:
        answer = await ask(live, "slow")
        assert [await answer.chunk() for _ in range(3)] == [head(1), b" ", b" "]
        world.gate.set()
        assert (await answer.rest()).endswith(b'[2,0,[["slow"]]]}\n')


async def test_when_the_server_stops(tmp_path: Path) -> None:
    """Calls run to their end; what has none fails."""
    world = World()
    async with serving(tmp_path, world.router()) as live:
        calls = await ask(live, "slow")
        deferred = await ask(live, "parts")
        await eventually(lambda: world.open == 3)
        live.app.begin_shutdown()
        rest = await deferred.rest()
        stopping = shape("the server is stopping: ask again", -32603, "SERVICE_UNAVAILABLE", 503, "parts")
        assert sorted(rest.splitlines(keepends=True)[-2:]) == sorted([lines(f"[4,2,{stopping}]"), lines(f"[5,1,{stopping}]")])
        world.gate.set()
        assert (await calls.rest()).endswith(b'[2,0,[["slow"]]]}\n')
    assert world.done == ["finally"]


async def test_when_a_session_ends(tmp_path: Path) -> None:
    """What is deferred fails; calls run to their end."""
    world = World()
    async with serving(tmp_path, world.router(), auth_session_cache_seconds="0") as live:
        _, token = await live.session()
        answer = await ask(live, "slow,watch", f"cookie: session={token}")
        await eventually(lambda: world.open == 2)
        assert await live.store.credentials.revoke_session(token)
        await eventually(lambda: world.open == 1)
        world.gate.set()
        rest = await answer.rest()
        refused = shape("the credential of this stream is no longer valid", -32001, "UNAUTHORIZED", 401, "watch")
        assert f"2,{refused}]" in rest.decode()
        assert b'[["slow"]]]}\n' in rest


async def test_a_generator_that_never_waits_lets_others_run(tmp_path: Path) -> None:
    world = World()
    async with serving(tmp_path, world.router()) as live:
        request = f"GET /api/trpc/count?{inputs(10**9)}&batch=1 HTTP/1.1\r\nHost: ignored.example\r\n{ASKED}\r\n\r\n"
        reading = asyncio.create_task(asyncio.to_thread(read_all, live.port, request.encode()))
        await asyncio.sleep(0.1)
        for _ in range(20):
            assert (await live.get("plain")).status == 200
        live.app.begin_shutdown()
        assert b"SERVICE_UNAVAILABLE" in await reading


async def test_a_client_that_does_not_read_is_not_waited_for_at_the_end(tmp_path: Path) -> None:
    world = World()
    async with serving(tmp_path, world.router()) as live:
        answer = await ask(live, "flood")
        await until_waiting(world)
        live.app.begin_shutdown()
        await eventually(lambda: world.open == 0 and live.requests() == 0)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await answer.rest()


async def test_to_pages_of_other_origins(tmp_path: Path) -> None:
    world = World()
    async with serving(tmp_path, world.router(), server_allowed_origins="https://a.example") as live:
        world.gate.set()
        for path in ("plain", "slow", "parts"):
            answer = await ask(live, path, "origin: https://a.example")
            assert answer.headers["access-control-allow-origin"] == "https://a.example"
            assert (await answer.rest()).startswith(head(1))
