"""A subscription that many take: attachd serves it as a plugin, router.mjs has the same on `@trpc/server`.

The next event comes when every subscriber has taken the last: nothing is queued, and the figure is what the server can do.
"""

import asyncio
from collections.abc import AsyncIterator

from procedures import Context, Router, Tracked
from schemas import AttachmentItem, Change

router = Router()
_waiting: list[asyncio.Future[Tracked[Change]]] = []
_subscribers = 0
_number = 0


@router.subscription()
async def ticks(_ctx: Context) -> AsyncIterator[Tracked[Change]]:
    """Changes of a conversation that never ends."""
    global _subscribers  # noqa: PLW0603 (one process, one feed)
    _subscribers += 1
    try:
        while True:
            taken = asyncio.get_running_loop().create_future()
            _waiting.append(taken)
            if len(_waiting) >= _subscribers:
                _publish()
            yield await taken
    finally:
        _subscribers -= 1


def _publish() -> None:
    global _number, _waiting  # noqa: PLW0603
    _number += 1
    at = "2026-11-22T10:00:00.000Z"
    id, conversation = "01a20100-0000-7000-8000-000000000001", "01a20100-0000-7000-8000-000000000002"
    attachment = AttachmentItem(
        id=id, conversation_id=conversation, filename="screenshot.pdf", content_type="application/pdf", size=1024, created_at=at
    )
    change = Change(type="created", id=id, conversation_id=conversation, at=at, attachment=attachment)
    waiting, _waiting = _waiting, []
    event = Tracked(str(_number), change)
    for taken in waiting:
        if not taken.done():  # its subscriber has gone away
            taken.set_result(event)
