"""A procedure that streams, as a plugin of the server behind the proxies."""

import asyncio
from collections.abc import AsyncGenerator

from procedures import Context, Router

router = Router()
PAUSE_S = 60.0


@router.query()
async def slowly(ctx: Context) -> AsyncGenerator[int, None]:
    """One number at once, another much later."""
    yield 1
    await asyncio.sleep(PAUSE_S)
    yield 2
