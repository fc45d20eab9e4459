"""The procedures `stream.*` of the conformance tests: what comes later, piece by piece, or fails on the way.

`reference/streaming.mjs` has the same.
"""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Awaitable
from typing import TypeVar

import msgspec

from procedures import Context, MemberContext, Router, authenticated, procedure
from schemas import Code, ServiceError

T = TypeVar("T")
# Between two steps, so that what comes first is the same on a loaded machine too.
STEP_S = 0.02
stream = Router()  # of queries and mutations for clients that read JSON lines
MOMENT = dt.datetime(2024, 1, 15, 10, 30, tzinfo=dt.UTC)


class Deferred(msgspec.Struct):
    now: int
    later: Awaitable[int]


class Inner(msgspec.Struct):
    inner: Awaitable[str]


class Nested(msgspec.Struct):
    outer: Awaitable[Inner]


class Several(msgspec.Struct):
    fast: Awaitable[str]
    failing: Awaitable[str]
    slow: Awaitable[str]


class Members(msgspec.Struct):
    total: int
    items: AsyncIterator[int]


class Promised(msgspec.Struct):
    later: Awaitable[Members]


class Both(msgspec.Struct):
    left: AsyncIterator[int]
    right: Awaitable[str]


class Numbered(msgspec.Struct):
    index: int
    later: Awaitable[int]


class Rich(msgspec.Struct):
    when: dt.datetime
    big: int
    tags: set[str]
    counts: dict[int, str]


class RichLater(msgspec.Struct):
    when: dt.datetime
    rich: Awaitable[Rich]
    tags: Awaitable[set[str]]
    nothing: Awaitable[None]
    undefined: Awaitable[msgspec.UnsetType]


class To(msgspec.Struct):
    to: int


class Progress(msgspec.Struct):
    done: int
    of: int


def rich() -> Rich:
    return Rich(MOMENT, 2**60, {"a"}, {1: "one"})


async def later(value: T, steps: int = 1) -> T:
    """The value after some steps."""
    await asyncio.sleep(STEP_S * steps)
    return value


async def failing(error: Exception, steps: int = 1) -> str:
    """Raises the error after some steps."""
    await asyncio.sleep(STEP_S * steps)
    raise error


async def count(to: int) -> AsyncIterator[int]:
    """0, 1, … below `to`, a step before each."""
    for number in range(to):
        yield await later(number)


async def failing_after(items: list[int], error: Exception) -> AsyncIterator[int]:
    """The items, and then the error."""
    for item in items:
        yield item
    raise await later(error) if items else error


def conflict() -> ServiceError:
    """An error that the client is told of."""
    return ServiceError(Code.CONFLICT, "failed with CONFLICT")


def crash() -> RuntimeError:
    """An error that nobody expects."""
    return RuntimeError("a detail that is nobody's business")


@stream.query(name="deferred")
async def deferred(_: Context) -> Deferred:
    return Deferred(1, later(2))


@stream.mutation(name="deferredMutation")
async def deferred_mutation(_: Context, input: To) -> Deferred:
    return Deferred(input.to, later(input.to + 1))


@stream.query(name="nested")
async def nested(_: Context) -> Nested:
    return Nested(later(Inner(later("deep"))))


@stream.query(name="several")
async def several(_: Context) -> Several:
    return Several(later("fast"), failing(conflict(), 3), later("slow", 5))


@stream.query(name="rejected")
async def rejected(_: Context) -> Several:
    return Several(later("fast"), failing(conflict(), 3), failing(ServiceError(Code.NOT_FOUND, "failed with NOT_FOUND"), 5))


@stream.query(name="crashed")
async def crashed(_: Context) -> Several:
    return Several(later("fast"), failing(crash(), 3), later("slow", 5))


@stream.query(name="rich")
async def rich_later(_: Context) -> RichLater:
    return RichLater(MOMENT, later(rich()), later({"a"}, 3), later(None, 5), later(msgspec.UNSET, 7))


@stream.query(name="members")
async def members(_: Context, input: To) -> Members:
    return Members(input.to, count(input.to))


@stream.query(name="both")
async def both(_: Context) -> Both:
    return Both(count(2), later("right", 5))


@stream.query(name="promised")
async def promised(_: Context) -> Promised:
    return Promised(later(Members(2, count(2))))


@stream.query(procedure.use(authenticated), name="private")
async def private(_: MemberContext) -> Deferred:
    return Deferred(1, later(2))


@stream.query(name="count")
async def counted(_: Context, input: To) -> AsyncIterator[int]:
    async for number in count(input.to):
        yield number


@stream.mutation(name="work")
async def work(_: Context, input: To) -> AsyncIterator[Progress]:
    async for number in count(input.to):
        yield Progress(number + 1, input.to)


@stream.query(name="fails")
async def fails(_: Context) -> AsyncIterator[int]:
    async for item in failing_after([0], conflict()):
        yield item


@stream.query(name="failsFirst")
async def fails_first(_: Context) -> AsyncIterator[int]:
    async for item in failing_after([], conflict()):
        yield item


@stream.query(name="crashes")
async def crashes(_: Context) -> AsyncIterator[int]:
    async for item in failing_after([0], crash()):
        yield item


@stream.query(name="values")
async def values(_: Context) -> AsyncIterator[object]:
    for value in (None, msgspec.UNSET, MOMENT, 2**60, {"a"}, {1: "one"}, "é\n\u2028", [], {}, [None], rich()):
        yield await later(value)


@stream.query(name="numbered")
async def numbered(_: Context) -> AsyncIterator[Numbered]:
    for index in range(2):
        yield Numbered(index, later(index * 10))
        await later(None, 3)
