"""Running many short calls for little: tasks that take one call after the other.

A task of asyncio costs 2 us to make, start and end (2026-11), a query over WebSocket 10 in all. So one task at a time stands in
front: it runs what comes, and most calls end without waiting for anything. When one does wait, the task stays with it, since
`asyncio.timeout` and cancellation go by the task a call began in, and another task takes the place in front.

Each call has a copy of the context (contextvars) in which the workers were made, so that none sees what another has set.
"""

import asyncio
import contextvars
import types
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any

Call = Coroutine[Any, Any, None]


class Workers:
    """Runs coroutines that never raise, side by side. Belongs to one event loop; `aclose` cancels what still runs.

    `pause` is called when the calls that came together have ended or wait.
    """

    def __init__(self, pause: Callable[[], None] = lambda: None) -> None:
        self._pause = pause
        self._calls: deque[Call] = deque()
        self._context = contextvars.copy_context()
        self._front: asyncio.Task[None] | None = None
        self._parked: asyncio.Future[None] | None = None  # what the task in front waits for when there is no call
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def run(self, call: Call) -> None:
        """Run the coroutine soon."""
        if self._closed:
            call.close()
            return
        self._calls.append(call)
        if self._front is None:
            self._advance()
        elif self._parked is not None:
            self._parked.set_result(None)
            self._parked = None

    async def aclose(self, timeout_s: float) -> None:
        """Cancel what runs, and wait so long until it has ended; nothing is run afterwards."""
        self._closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)
        for call in self._calls:
            call.close()
        self._calls.clear()

    def _advance(self) -> None:
        self._front = task = asyncio.create_task(self._work())
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A task ended; the one in front only by a call that raised, which somebody must be told and the others survive."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            context = {"message": "a call raised", "exception": error, "task": task}
            task.get_loop().call_exception_handler(context)
            self._pause()
        if self._front is task:
            self._front = None
            if self._calls and not self._closed:
                self._advance()

    def _retake(self, task: asyncio.Task[None] | None) -> bool:
        """Stand in front again, unless another does."""
        if self._front is None:
            self._front = task
        return self._front is task

    async def _work(self) -> None:
        calls = self._calls
        while True:
            while calls:
                call = calls.popleft()
                context = self._context.copy()
                try:
                    awaited = context.run(call.send, None)
                except StopIteration:
                    continue
                front, self._front = self._front, None
                if calls:
                    self._advance()
                self._pause()
                await _resume(call, awaited, context)
                self._pause()
                if not self._retake(front):
                    return
            self._pause()
            self._parked = asyncio.get_running_loop().create_future()
            await self._parked


@types.coroutine
def _resume(call: Call, awaited: object, context: contextvars.Context) -> Generator[object, Any, None]:
    """The rest of a coroutine that waits for `awaited`, which the task is told of as if it had run in it all along."""
    try:
        while True:
            try:
                sent = yield awaited
            except BaseException as error:  # noqa: BLE001 (handed on to the coroutine, which decides)
                awaited = context.run(call.throw, error)
            else:
                awaited = context.run(call.send, sent)
    except StopIteration:
        return
