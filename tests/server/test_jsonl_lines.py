"""Lines of JSON: the pure core, to the byte, as @trpc/server 11.25.2 wrote them (2026-11)."""

import asyncio
import datetime as dt
import json
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from procedures import Context, Router
from schemas import Code, ServiceError
from server.trpc import responses
from server.trpc.deferred import deferred_parts, discard
from server.trpc.jsonl import Deferred, Lines, Output, Settled, head, whole

PROMISE = Deferred(9, 0, None, False)
ITERABLE = Deferred(9, 0, None, True)


class Later(msgspec.Struct, rename="camel", kw_only=True):
    is_here: int
    comes_once: Any
    comes_often: Any = msgspec.UNSET


def shape(error: Exception, call: int) -> bytes:
    """An error, shortly."""
    return b'{"message":"%b","call":%d}' % (str(error).encode(), call)


async def numbers() -> AsyncIterator[int]:
    yield 1


async def number() -> int:
    return 1


def settle(*settled: Settled) -> bytes:
    """The lines of an answer whose calls are all there."""
    return Lines(len(settled), shape).settle(list(enumerate(settled)))


def test_the_head() -> None:
    assert head(1) == b'{"json":{"0":[[0],[null,0,0]]}}\n'
    assert head(2) == b'{"json":{"0":[[0],[null,0,0]],"1":[[0],[null,0,1]]}}\n'


def test_results_that_are_there_at_once() -> None:
    lines = (
        b'{"json":[0,0,[[{"result":0}],["result",0,2]]]}\n'
        b'{"json":[1,0,[[{"result":0}],["result",0,3]]]}\n'
        b'{"json":[2,0,[[{"data":0}],["data",0,4]]]}\n'
        b'{"json":[3,0,[[{"data":0}],["data",0,5]]]}\n'
        b'{"json":[4,0,[[{"id":1,"when":"x"}]]]}\n'
        b'{"json":[5,0,[[[]]]]}\n'
    )
    data = [b'{"json":{"id":1,"when":"x"}}', b'{"json":[]}']
    assert settle(*data) == lines
    assert settle(Output({"id": 1, "when": "x"}), Output([])) == lines
    assert whole(data) == head(2) + lines


def test_results_and_an_error_at_once() -> None:
    output = Output({"when": dt.datetime(1970, 1, 1, tzinfo=dt.UTC)})
    assert settle(b'{"json":1}', ServiceError(Code.NOT_FOUND, "no"), output) == (
        b'{"json":[0,0,[[{"result":0}],["result",0,3]]]}\n'
        b'{"json":[1,0,[[{"error":{"message":"no","call":1}}]]]}\n'
        b'{"json":[2,0,[[{"result":0}],["result",0,4]]]}\n'
        b'{"json":[3,0,[[{"data":0}],["data",0,5]]]}\n'
        b'{"json":[4,0,[[{"data":0}],["data",0,6]]]}\n'
        b'{"json":[5,0,[[1]]]}\n'
        b'{"json":[6,0,[[{"when":"1970-01-01T00:00:00.000Z"}]]],"meta":{"values":{"2.0.0.when":["Date"]},"v":1}}\n'
    )


@pytest.mark.parametrize(
    ("value", "written"),
    [
        pytest.param(msgspec.UNSET, b"[[]]", id="undefined"),
        pytest.param(None, b"[[null]]", id="null"),
        pytest.param([], b"[[[]]]", id="empty-list"),
        pytest.param({}, b"[[{}]]", id="empty-object"),
        pytest.param("a\nb", b'[["a\\nb"]]', id="line-end"),
        pytest.param("\ud800", b'[["\\ud800"]]', id="lone-surrogate"),
    ],
)
def test_a_value(value: Any, written: bytes) -> None:
    assert Lines(3, shape).fulfilled(PROMISE, value) == b'{"json":[9,0,%b]}\n' % written
    assert Lines(3, shape).yielded(ITERABLE, value) == b'{"json":[9,1,%b]}\n' % written


def test_the_end_and_the_failures() -> None:
    lines = Lines(3, shape)
    assert lines.returned(ITERABLE) == b'{"json":[9,0,[[]]]}\n'
    assert lines.failed(ITERABLE, ValueError("x")) == b'{"json":[9,2,{"message":"x","call":0}]}\n'
    assert lines.failed(PROMISE, ValueError("x")) == b'{"json":[9,1,{"message":"x","call":0}]}\n'


def test_items_of_plain_type_are_not_walked() -> None:
    iterable = Deferred(9, 0, None, True, lambda item: b'{"json":"encoded %d"}' % item)
    assert Lines(3, shape).yielded(iterable, 5) == b'{"json":[9,1,[["encoded 5"]]]}\n'


def test_members_that_are_not_there_yet() -> None:
    lines, once, often = Lines(2, shape), number(), numbers()
    assert lines.fulfilled(PROMISE, Later(is_here=5, comes_once=once, comes_often=often)) == (
        b'{"json":[9,0,[[{"isHere":5,"comesOnce":0,"comesOften":0}],["comesOnce",0,2],["comesOften",1,3]]]}\n'
    )
    assert lines.take() == [Deferred(2, 0, once, False), Deferred(3, 0, often, True)]
    assert lines.take() == []
    discard(once)


def test_a_value_that_is_not_there_yet() -> None:
    lines, often = Lines(2, shape), numbers()
    encode = responses.encode_annotated
    written = lines.settle([(1, Output(often, encode))])
    assert written.splitlines()[-1] == b'{"json":[3,0,[[0],[null,1,4]]]}'
    assert lines.take() == [Deferred(4, 1, often, True, encode)]


def test_what_is_deeper_is_not_looked_for() -> None:
    """As in tRPC, which writes {} there; here the call fails, because that is a mistake of the procedure."""
    deep = number()
    written = Lines(1, shape).fulfilled(PROMISE, {"a": {"b": deep}})
    assert written.startswith(b'{"json":[9,1,{"message":')
    discard(deep)


def test_what_was_named_in_a_line_that_cannot_be_written_is_given_up() -> None:
    lines, lost = Lines(1, shape), number()
    assert lines.fulfilled(PROMISE, {"a": lost, "b": object()}).startswith(b'{"json":[9,1,')
    assert lines.take() == []  # a coroutine that was not closed would warn, which is an error in tests


async def test_what_is_deferred_in_a_value() -> None:
    once, often, future = number(), numbers(), asyncio.get_running_loop().create_future()
    assert deferred_parts(once) == [once]
    assert deferred_parts({"a": often, "b": 1, "c": future}) == [often, future]
    assert deferred_parts([1, once]) == [once]
    assert deferred_parts(Later(is_here=1, comes_once=2)) == []
    assert deferred_parts({1: once}) == []
    for part in (once, often, future):
        discard(part)
    assert future.cancelled()


def _procedures() -> Router:
    router = Router()

    @router.query()
    async def plain(ctx: Context) -> dict[str, int]:
        return {}

    @router.query()
    async def later(ctx: Context) -> Later:
        return Later(is_here=1, comes_once=1)

    @router.query()
    async def stream(ctx: Context) -> AsyncIterator[int]:
        yield 1

    @router.query()
    async def typed(ctx: Context) -> dict[str, Awaitable[int]]:
        return {}

    return router


@pytest.mark.parametrize("path", ["later", "stream", "typed"])
def test_an_answer_in_one_piece_cannot_wait(path: str) -> None:
    procedure = _procedures().freeze().get(path)
    assert procedure is not None
    encode = responses.whole_encoder(procedure)
    assert encode({"a": 1}) == b'{"json":{"a":1}}'
    with pytest.raises(responses.StreamRequired) as raised:
        encode(numbers() if path == "stream" else {"a": number()})
    assert raised.value.code is Code.UNSUPPORTED_MEDIA_TYPE


plain_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text().filter(lambda key: key not in {"__proto__", "constructor", "prototype"}), inner)
    ),
)


@given(st.lists(plain_json, min_size=1, max_size=12))
def test_encoded_and_walked_outputs_are_the_same_lines(values: list[Any]) -> None:
    lines = settle(*[Output(value) for value in values])
    assert [json.loads(line)["json"] for line in lines.splitlines()][-len(values) :] == [
        [2 * len(values) + index, 0, [[value]]] for index, value in enumerate(values, start=len(values) - len(values))
    ]
    data = [responses.encode_annotated(value) for value in values]
    assert whole(data) == head(len(values)) + settle(*data)
