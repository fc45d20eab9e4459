"""Running the calls of a batch side by side, at the price of one task for those that never wait.

A task of asyncio costs 2 us to make, start and end (2026-11), a look-up by key in SQLite 6. So each call begins in the caller's
task. Most end there. The first one that waits for something goes on in this task while those behind it run as tasks of
their own. A call stays in the task it began in, which is what `asyncio.timeout` and cancellation go by.
"""

import asyncio
import types
from collections.abc import Coroutine, Generator, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


async def side_by_side(calls: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of coroutines that run at once, in order. For coroutines that never raise; cancelling cancels all."""
    results: list[T] = []
    for index, call in enumerate(calls):
        try:
            awaited = call.send(None)
        except StopIteration as stop:
            results.append(stop.value)
        else:
            return [*results, *await _with_tasks(call, awaited, calls[index + 1 :])]
    return results


async def _with_tasks(call: Coroutine[Any, Any, T], awaited: object, others: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    tasks = [asyncio.create_task(other) for other in others]
    try:
        return [await resume(call, awaited), *[await task for task in tasks]]
    except BaseException:
        for task in tasks:
            task.cancel()
        raise


@types.coroutine
def resume(call: Coroutine[Any, Any, T], awaited: object) -> Generator[object, Any, T]:
    """The rest of a coroutine that waits for `awaited`, which the task is told of as if it had run in it all along."""
    try:
        while True:
            try:
                sent = yield awaited
            except BaseException as error:  # noqa: BLE001 (handed on to the coroutine, which decides)
                awaited = call.throw(error)
            else:
                awaited = call.send(sent)
    except StopIteration as stop:
        result: T = stop.value
        return result
