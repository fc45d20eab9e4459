"""A plugin for tests of the shutdown: `waiting.until` waits to be told, `waiting.tick` goes on until it is closed.

What they do can be seen in the folder in which the server runs.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

from procedures import Context, Router, Tracked

waiting = Router()


@waiting.mutation(name="waiting.until")
async def until(_: Context, input: str) -> str:
    """Its input, once there is a file of that name."""
    Path(f"{input}.begun").touch()
    while not Path(input).exists():  # noqa: ASYNC110 (another process makes it)
        await asyncio.sleep(0.02)
    Path(f"{input}.done").touch()
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
