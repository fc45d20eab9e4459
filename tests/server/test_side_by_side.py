"""Running coroutines side by side, most of which never wait."""

import asyncio

import pytest

from server.side_by_side import side_by_side


async def at_once(value: int) -> int:
    return value


async def later(value: int, gate: asyncio.Event) -> int:
    await gate.wait()
    return value


async def test_results_are_in_order() -> None:
    gate = asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, gate.set)
    assert await side_by_side([]) == []
    assert await side_by_side([at_once(1), at_once(2)]) == [1, 2]
    assert await side_by_side([at_once(1), later(2, gate), at_once(3), later(4, gate)]) == [1, 2, 3, 4]


async def test_a_waiting_call_does_not_hold_up_the_ones_behind_it() -> None:
    gate = asyncio.Event()

    async def open_gate() -> int:
        gate.set()
        return 2

    async with asyncio.timeout(30):
        assert await side_by_side([later(1, gate), open_gate()]) == [1, 2]


async def test_a_call_stays_in_the_task_it_began_in() -> None:
    async def task_before_and_after() -> bool:
        before = asyncio.current_task()
        async with asyncio.timeout(30):
            await asyncio.sleep(0.001)
        return asyncio.current_task() is before

    assert await side_by_side([task_before_and_after() for _ in range(3)]) == [True, True, True]


async def test_a_time_out_of_one_call_is_its_own() -> None:
    async def impatient() -> int:
        try:
            async with asyncio.timeout(0.001):
                await asyncio.sleep(60)
        except TimeoutError:
            return 1
        return 0

    assert await side_by_side([impatient(), impatient()]) == [1, 1]


async def test_cancelling_cancels_all() -> None:
    begun = asyncio.Semaphore(0)
    ended: list[int] = []

    async def wait(number: int) -> None:
        begun.release()
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(number)

    task = asyncio.create_task(side_by_side([wait(1), wait(2), wait(3)]))
    for _ in range(3):
        await begun.acquire()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    assert sorted(ended) == [1, 2, 3]
