"""A plugin for tests of the shutdown: `waiting.sleep` takes its time, `waiting.tick` goes on until it is closed."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

from procedures import Context, Router, Tracked

waiting = Router()


@waiting.mutation(name="waiting.sleep")
async def sleep(_: Context, input: float) -> float:
    """Its input, after so many seconds."""
    await asyncio.sleep(input)
    Path(f"called-{input:g}").touch()
    return input


@waiting.subscription(name="waiting.tick")
async def tick(_: Context) -> AsyncIterator[Tracked[int]]:
    """The process that answers, again and again."""
    try:
        while True:
            yield Tracked("a", os.getpid())
            await asyncio.sleep(0.1)
    finally:
        Path("closed").touch()
