"""The procedures `sub.*` and `open.*` of the conformance tests: subscriptions that end, fail, resume or go on for ever.

`reference/streaming.mjs` has the same but for `open.*`, which tells what the process still holds.
"""

import asyncio
import datetime as dt
import itertools
from collections.abc import AsyncIterator

import msgspec

from procedures import Context, MemberContext, Router, Tracked, authenticated, procedure
from schemas import Code, ServiceError
from tests.conformance.streaming import MOMENT, Rich, To, conflict, count, crash, failing_after, later, rich

LAST_ITEM = 4
sub = Router()
open_ = Router()  # what goes on until somebody closes it, and what is open
_generators = itertools.count()
_open_now: set[int] = set()


class Resume(msgspec.Struct, rename="camel"):
    last_event_id: str | None = None


class Item(msgspec.Struct):
    index: int
    when: dt.datetime


class Caller(msgspec.Struct):
    """Who asks; `role` is empty for nobody."""

    role: str


class Held(msgspec.Struct):
    """What the process holds: tasks of its event loop, generators of `open.run`."""

    tasks: int
    generators: int


@sub.subscription(name="count")
async def counted(_: Context, input: To) -> AsyncIterator[int]:
    async for number in count(input.to):
        yield number


@sub.subscription(name="empty")
async def empty(_: Context) -> AsyncIterator[int]:
    for number in range(0):
        yield number


@sub.subscription(name="echo")
async def echo(_: Context, input: object) -> AsyncIterator[object]:
    yield input


@sub.subscription(name="values")
async def values(_: Context) -> AsyncIterator[object]:
    for value in (None, msgspec.UNSET, MOMENT, 2**60, {"a"}, {1: "one"}, "é\n\u2028", [], {}, [None], rich()):
        yield await later(value)


@sub.subscription(name="who")
async def who(ctx: Context) -> AsyncIterator[Caller]:
    yield Caller(ctx.principal.role if ctx.principal else "")


@sub.subscription(procedure.use(authenticated), name="private")
async def private(ctx: MemberContext) -> AsyncIterator[Caller]:
    yield Caller(ctx.principal.role)


@sub.subscription(name="tracked")
async def tracked(_: Context, input: Resume) -> AsyncIterator[Tracked[Item]]:
    """Items after `lastEventId`, up to the last there is."""
    for index in range(int(input.last_event_id or 0) + 1, LAST_ITEM):
        yield Tracked(str(index), Item(index, MOMENT))
        await later(None)


@sub.subscription(name="trackedRich")
async def tracked_rich(_: Context) -> AsyncIterator[Tracked[Rich]]:
    yield Tracked("é id:1", rich())


@sub.subscription(name="trackedFails")
async def tracked_fails(_: Context) -> AsyncIterator[Tracked[int]]:
    yield Tracked("1", 1)
    raise await later(conflict())


@sub.subscription(name="forever")
async def forever(_: Context) -> AsyncIterator[int]:
    """0, then nothing more."""
    yield 0
    await asyncio.Event().wait()


@sub.subscription(name="fails")
async def fails(_: Context) -> AsyncIterator[int]:
    async for item in failing_after([0], conflict()):
        yield item


@sub.subscription(name="failsFirst")
async def fails_first(_: Context) -> AsyncIterator[int]:
    async for item in failing_after([], conflict()):
        yield item


@sub.subscription(name="crashes")
async def crashes(_: Context) -> AsyncIterator[int]:
    async for item in failing_after([0], crash()):
        yield item


@sub.subscription(name="crashesFirst")
async def crashes_first(_: Context) -> AsyncIterator[int]:
    async for item in failing_after([], crash()):
        yield item


@sub.subscription(name="unavailable")
async def unavailable(_: Context) -> AsyncIterator[int]:
    async for item in failing_after([0], ServiceError(Code.SERVICE_UNAVAILABLE, "failed with SERVICE_UNAVAILABLE")):
        yield item


@open_.subscription(name="run")
async def run(_: Context) -> AsyncIterator[int]:
    """0, then nothing more, until somebody closes it."""
    number = next(_generators)
    _open_now.add(number)
    try:
        yield 0
        await asyncio.Event().wait()
    finally:
        _open_now.remove(number)


@open_.query(name="stream")
async def stream(_: Context) -> AsyncIterator[int]:
    """The same for clients that read JSON lines."""
    async for item in run(_):
        yield item


@open_.query(name="held")
async def held(_: Context) -> Held:
    return Held(len(asyncio.all_tasks()), len(_open_now))
