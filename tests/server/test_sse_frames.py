"""Frames of server-sent events: the pure core, to the byte."""

import gc
import weakref
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from procedures import Context, Procedure, Router, Tracked
from schemas import Code, ServiceError
from server.trpc import responses, sse


class Event(msgspec.Struct, frozen=True):
    kind: str


def _procedures() -> dict[str, Procedure]:
    router = Router()

    @router.subscription()
    async def tracked(ctx: Context) -> AsyncIterator[Tracked[dict[str, int]]]:
        yield Tracked("1", {})

    @router.subscription()
    async def events(ctx: Context) -> AsyncIterator[Event]:
        yield Event("")

    @router.subscription()
    async def anything(ctx: Context) -> AsyncIterator[Any]:
        yield None

    return {procedure.path: procedure for procedure in router.freeze()}


PROCEDURES = _procedures()


class Counting:
    """The encoder of a procedure, which counts its calls."""

    def __init__(self, path: str) -> None:
        self.calls = 0
        self._encode = responses.encoder(PROCEDURES[path])

    def __call__(self, item: Any) -> bytes:
        self.calls += 1
        return self._encode(item)


def frames(path: str) -> tuple[sse.Frames, Counting]:
    """The frames of a subscription, and what encodes its items."""
    encode = Counting(path)
    return sse.Frames(PROCEDURES[path], encode), encode


def frame(path: str, item: Any, last_id: str | None = None) -> tuple[bytes, str | None]:
    """What a client that has seen `last_id` gets of an item, and what it has seen then."""
    return frames(path)[0].of(item, last_id)


@pytest.mark.parametrize(
    ("path", "item", "last_id", "expected", "id_after"),
    [
        pytest.param("events", Event("a"), None, b'data: {"json":{"kind":"a"}}\n\n\n', None, id="plain"),
        pytest.param("tracked", Tracked("7", {"n": 1}), None, b'data: {"json":{"n":1}}\nid: 7\n\n\n', "7", id="tracked"),
        pytest.param("tracked", Tracked("8", {}), "7", b'data: {"json":{}}\nid: 8\n\n\n', "8", id="tracked-after-another"),
        pytest.param(
            "events",
            Event("a"),
            "7",
            b'data: {"json":{"kind":"a"}}\nid: \n\n\nevent: restore-id\ndata: \nid: 7\n\n\n',
            "7",
            id="without-id-after-one",
        ),
        pytest.param(
            "anything",
            {1},
            None,
            b'data: {"json":[1],"meta":{"values":["set"],"v":1}}\n\n\n',
            None,
            id="annotated",
        ),
        pytest.param("anything", "a\nb\r\n\0", None, b'data: {"json":"a\\nb\\r\\n\\u0000"}\n\n\n', None, id="line-ends"),
        pytest.param("tracked", Tracked("é", {}), None, 'data: {"json":{}}\nid: é\n\n\n'.encode(), "é", id="utf-8-id"),
    ],
)
def test_an_item(path: str, item: Any, last_id: str | None, expected: bytes, id_after: str | None) -> None:
    assert frame(path, item, last_id) == (expected, id_after)


@pytest.mark.parametrize("id", ["", "a\nb", "a\rb", "a\0b", "\ud800"])
def test_an_id_that_cannot_be_sent(id: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (the text is for the log)
        frame("tracked", Tracked(id, {}))


def test_subscribers_share_the_frames_of_events() -> None:
    kinds: dict[str, list[Any]] = {
        "tracked": [Tracked(str(number), {"n": number}) for number in range(3)],
        "events": [Event(str(number)) for number in range(3)],
    }
    for path, items in kinds.items():
        shared, encode = frames(path)
        first, *others = [[shared.of(item, None)[0] for item in items] for _ in range(5)]
        assert encode.calls == len(set(first)) == 3
        assert others == [first] * 4


class Data(dict[str, int]):
    """A dict that can be watched."""


def test_few_frames_are_remembered() -> None:
    shared, encode = frames("tracked")
    items: list[weakref.ref[Data]] = []
    for number in range(1000):
        data = Data(n=number)
        items.append(weakref.ref(data))
        assert shared.of(Tracked("1", data), None)[0] == b'data: {"json":{"n":%d}}\nid: 1\n\n\n' % number
    data = Data()
    gc.collect()
    assert encode.calls == 1000
    assert [item() is not None for item in items] == [False] * 984 + [True] * 16


def test_items_that_may_change_are_written_each_time() -> None:
    item: dict[str, int] = {"n": 1}
    shared, _ = frames("anything")
    before = shared.of(item, None)
    item["n"] = 2
    assert shared.of(item, None) != before


def test_the_other_frames() -> None:
    assert sse.connected(None) == b"event: connected\ndata: {}\n\n\n"
    assert sse.connected(5000) == b'event: connected\ndata: {"reconnectAfterInactivityMs":5000}\n\n\n'
    assert sse.PING == b"event: ping\ndata: \n\n\n"
    assert sse.RETURN == b"event: return\ndata: \n\n\n"
    assert sse.serialized_error(ServiceError(Code.FORBIDDEN, "no"), "a.b") == (
        b'event: serialized-error\ndata: {"json":{"message":"no","code":-32003,'
        b'"data":{"code":"FORBIDDEN","httpStatus":403,"path":"a.b"}}}\n\n\n'
    )


@pytest.mark.parametrize(("sent", "kept"), [("7", "7"), ("", None), (None, None), ("a\nb", None), ("a\0", None)])
def test_the_id_with_which_a_client_comes(sent: str | None, kept: str | None) -> None:
    assert sse.sendable_id(sent) == kept


@given(st.recursive(st.none() | st.booleans() | st.text() | st.floats(), lambda inner: st.lists(inner) | st.sets(st.text())))
def test_an_event_source_reads_what_was_written(value: Any) -> None:
    """The fields of a frame are lines: nothing in an item makes another line, and its data are JSON."""
    written, _ = frame("anything", value, "9")
    fields = [line.partition(b": ") for line in written.split(b"\n") if line]
    assert [name for name, _, _ in fields] == [b"data", b"id", b"event", b"data", b"id"]
    assert b"\r" not in written
    msgspec.json.decode(fields[0][2])
