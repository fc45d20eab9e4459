"""Workers: calls side by side in tasks that take one after the other."""

import asyncio
import contextvars
from typing import Any

import pytest

from server.workers import Workers

VALUE: contextvars.ContextVar[int] = contextvars.ContextVar("VALUE", default=0)


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param}


class World:
    """Calls, and what they note."""

    def __init__(self) -> None:
        self.notes: list[object] = []
        self.gate = asyncio.Event()
        self.tasks: set[asyncio.Task[Any] | None] = set()

    async def note(self, what: object) -> None:
        self.tasks.add(asyncio.current_task())
        self.notes.append(what)

    async def wait(self, what: object) -> None:
        before = asyncio.current_task()
        async with asyncio.timeout(10):
            await self.gate.wait()
        assert asyncio.current_task() is before
        self.notes.append(what)


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_calls_that_do_not_wait_share_a_task() -> None:
    world, workers = World(), Workers()
    for round in range(3):
        for number in range(10):
            workers.run(world.note(round * 10 + number))
        await turns()
    assert world.notes == list(range(30))
    assert len(world.tasks) == 1
    await workers.aclose(5)


async def test_a_call_that_waits_holds_up_no_other() -> None:
    others = len(asyncio.all_tasks())
    world, workers = World(), Workers()
    for number in range(5):
        workers.run(world.wait(f"waited {number}"))
        workers.run(world.note(number))
    await turns()
    assert world.notes == [0, 1, 2, 3, 4]
    world.gate.set()
    await turns()
    assert world.notes[5:] == [f"waited {number}" for number in range(5)]
    workers.run(world.note("again"))
    await turns()
    assert world.notes[-1] == "again"
    assert len(asyncio.all_tasks()) == others + 1  # of all that waited one task is left
    await workers.aclose(5)


async def test_what_comes_together_is_told_once() -> None:
    world = World()
    workers = Workers(lambda: world.notes.append("pause"))
    for number in range(3):
        workers.run(world.note(number))
    await turns()
    assert world.notes == [0, 1, 2, "pause"]
    workers.run(world.note("first"))
    workers.run(world.wait("waited"))
    await turns()
    assert world.notes[4:] == ["first", "pause"]
    world.gate.set()
    await turns()
    assert world.notes[6:8] == ["waited", "pause"]
    await workers.aclose(5)


async def test_a_call_may_begin_another() -> None:
    world, workers = World(), Workers()

    async def begin() -> None:
        workers.run(world.note("inner"))
        world.notes.append("outer")

    workers.run(begin())
    await turns()
    assert world.notes == ["outer", "inner"]
    await workers.aclose(5)


async def test_each_call_has_a_context_of_its_own() -> None:
    world, workers = World(), Workers()

    async def change(number: int, pause: bool) -> None:
        seen = VALUE.get()
        VALUE.set(number)
        if pause:
            await asyncio.sleep(0)
        world.notes.append((seen, VALUE.get()))

    for number in range(1, 5):
        workers.run(change(number, pause=number % 2 == 0))
    await turns()
    assert sorted(world.notes) == [(0, number) for number in range(1, 5)]  # type: ignore[type-var]
    await workers.aclose(5)


async def test_a_call_that_raises_does_not_stop_the_others() -> None:
    world, workers = World(), Workers()
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))

    async def fail(pause: bool) -> None:
        if pause:
            await asyncio.sleep(0)
        raise ValueError("a mistake")

    for pause in (False, True):
        workers.run(fail(pause))
        workers.run(world.note(pause))
        await turns()
        workers.run(world.note("again"))
        await turns()
    assert world.notes == [False, "again", True, "again"]
    await workers.aclose(5)
    assert [type(error) for error in told] == [ValueError, ValueError]


async def test_closing_cancels_what_waits_and_runs_nothing_more() -> None:
    others = len(asyncio.all_tasks())
    world, workers = World(), Workers()
    cancelled = []

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    workers.run(wait())
    workers.run(wait())
    await turns()
    workers.run(world.note("not begun"))
    await workers.aclose(5)
    workers.run(world.note("too late"))
    await turns()
    assert cancelled == [True, True]
    assert world.notes == []
    assert len(asyncio.all_tasks()) == others
