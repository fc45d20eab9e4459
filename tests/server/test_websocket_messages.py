"""The messages of wsLink, without a socket: what is read, what is refused and how, what is written."""

import datetime as dt
import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from procedures import Context, Procedures, Router, Tracked
from schemas import Code, ServiceError
from server.trpc import websocket as wire
from server.trpc.websocket import STOP, Message, Received

LIMIT = 3


class Moment(msgspec.Struct):
    at: dt.datetime


def procedures() -> Procedures:
    router = Router()

    @router.query()
    async def one(_: Context) -> int:
        return 1

    @router.query()
    async def many(_: Context) -> AsyncIterator[int]:
        yield 1

    @router.subscription()
    async def plain(_: Context) -> AsyncIterator[str]:
        yield "a"

    @router.subscription()
    async def tracked(_: Context) -> AsyncIterator[Tracked[int]]:
        yield Tracked("7", 1)

    @router.subscription()
    async def moments(_: Context) -> AsyncIterator[Tracked[Moment]]:
        yield Tracked("7", Moment(dt.datetime(2024, 1, 15, tzinfo=dt.UTC)))

    return router.freeze()


def read(value: Any) -> Received:
    payload = value if isinstance(value, bytes) else json.dumps(value).encode()
    return wire.read_payload(payload, LIMIT)


def refused(value: Any) -> list[tuple[Any, str, str]]:
    """What is answered to a payload without any message: the id, the code, the text of each refusal."""
    received = read(value)
    assert received.messages == []
    answers = [json.loads(wire.write_error(head, error, None)) for head, error in received.refusals]
    return [(each["id"], each["error"]["json"]["data"]["code"], each["error"]["json"]["message"]) for each in answers]


def call(id: Any = 1, method: str = "query", **params: Any) -> dict[str, Any]:
    return {"id": id, "method": method, "params": {"path": "one", **params}}


@pytest.mark.parametrize("id", [1, 0, -1, "1", "", "ü\ud800", 1.5, 2**80, "\u0000"], ids=repr)
def test_an_id_is_given_back_as_it_was_sent(id: Any) -> None:
    [message] = read(call(id)).messages
    assert (message.id, message.method, message.path) == (id, "query", "one")
    assert json.loads(wire.write_stopped(message.head)) == {"id": id, "result": {"type": "stopped"}}


def test_ids_of_different_types_are_different() -> None:
    first, second = read([call(1), call("1")]).messages
    assert first.id != second.id
    assert read(call(1.0)).messages[0].id == first.id  # as in JavaScript, which knows no integers


def test_jsonrpc_is_given_back() -> None:
    [message] = read({**call(), "jsonrpc": "2.0"}).messages
    assert json.loads(wire.write_data(message.head, b'{"json":1}')) == {
        "id": 1,
        "jsonrpc": "2.0",
        "result": {"type": "data", "data": {"json": 1}},
    }


def test_an_array_is_several_messages() -> None:
    received = read([call(1), call("b", "mutation"), {"id": 1, "method": STOP}])
    assert [(each.id, each.method) for each in received.messages] == [(1, "query"), ("b", "mutation"), (1, STOP)]
    assert read([]) == Received([], [])


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="cut"),
        pytest.param(b'{"id":NaN}', id="NaN"),
        pytest.param(b"\xef\xbb\xbf[]", id="BOM"),
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param("PING", id="a quoted PING"),
        pytest.param(None, id="null"),
        pytest.param(7, id="a number"),
        pytest.param([call(), 7], id="an item that is no object"),
        pytest.param([[call()]], id="an array in an array"),
        pytest.param({"method": "query", "params": {"path": "one"}}, id="no id"),
        pytest.param(call(True), id="a boolean id"),
        pytest.param(call([1]), id="a list for id"),
        pytest.param({"id": True, "method": STOP}, id="a boolean id to stop"),
        pytest.param({**call(), "jsonrpc": "1.0"}, id="jsonrpc 1.0"),
        pytest.param({**call(), "jsonrpc": None}, id="jsonrpc null"),
        pytest.param({"id": 1, "params": {"path": "one"}}, id="no method"),
        pytest.param(call(method="reconnect"), id="another method"),
        pytest.param(call(method=["query"]), id="a list for method"),  # type: ignore[arg-type]
        pytest.param({"id": 1, "method": "query"}, id="no params"),
        pytest.param({"id": 1, "method": "query", "params": []}, id="a list for params"),
        pytest.param({"id": 1, "method": "query", "params": {}}, id="no path"),
        pytest.param(call(path=1), id="a number for path"),
        pytest.param(call(lastEventId=None), id="null for lastEventId"),
        pytest.param(call(input={"json": "x", "meta": {"values": ["set"]}}), id="an input that superjson refuses"),
        pytest.param([call(2), call(input={"json": "x", "meta": {"values": ["set"]}})], id="one such of two"),
    ],
)
def test_what_cannot_be_read_is_one_parse_error_without_an_id(value: Any) -> None:
    [(id, code, message)] = refused(value)
    assert (id, code) == (None, "PARSE_ERROR")
    assert message


def test_a_call_with_the_id_null_is_refused_and_the_others_run() -> None:
    received = read([{**call(None), "jsonrpc": "2.0"}, call(2), {"id": None, "method": STOP}])
    assert [message.id for message in received.messages] == [2]
    answers = [json.loads(wire.write_error(head, error, None)) for head, error in received.refusals]
    assert [(each["id"], each.get("jsonrpc"), each["error"]["json"]["code"]) for each in answers] == [
        (None, "2.0", -32700),
        (None, None, -32700),
    ]


def test_text_that_is_not_utf_8_is_refused_by_the_protocol() -> None:
    with pytest.raises(UnicodeDecodeError):
        read(b'{"id":"\xff"}')


def test_too_many_calls_are_refused_one_by_one() -> None:
    too_many = [call(1), {"id": 2, "method": STOP}, {"id": "c"}, 4, {"id": None}, call([5])]
    text = "Batch call exceeds maximum size"
    assert refused(too_many) == [(1, "BAD_REQUEST", text), ("c", "BAD_REQUEST", text)]
    assert refused([1, 2, 3, 4]) == [(None, "BAD_REQUEST", text)]
    assert len(read([call(1), call(2), call(3)]).messages) == LIMIT


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        pytest.param({}, msgspec.UNSET, id="missing"),
        pytest.param({"input": {"json": {"a": 1}}}, {"a": 1}, id="wrapped"),
        pytest.param({"input": {"a": 1}}, {"a": 1}, id="bare"),
        pytest.param({"input": {"json": None, "meta": {"values": ["undefined"]}}}, msgspec.UNSET, id="undefined"),
        pytest.param({"input": {"json": ["a"], "meta": {"values": ["set"]}}}, {"a"}, id="a set"),
        pytest.param({"lastEventId": "7"}, {"lastEventId": "7"}, id="an event id instead of an input"),
        pytest.param({"input": {"json": None}, "lastEventId": "7"}, {"lastEventId": "7"}, id="an event id instead of null"),
        pytest.param({"input": {"json": {"a": 1}}, "lastEventId": "7"}, {"a": 1, "lastEventId": "7"}, id="an event id more"),
        pytest.param(
            {"input": {"json": {"lastEventId": "6"}}, "lastEventId": ""}, {"lastEventId": ""}, id="the newer event id"
        ),
        pytest.param({"input": {"json": 5}, "lastEventId": "7"}, 5, id="no place for an event id"),
    ],
)
def test_inputs(params: dict[str, Any], expected: Any) -> None:
    [message] = read(call(method="subscription", **params)).messages
    assert message.input == expected


@pytest.mark.parametrize(
    ("payload", "params"),
    [
        (b'{"method":"connectionParams","data":{"authorization":"Bearer a"}}', {"authorization": "Bearer a"}),
        (b'{"method":"connectionParams","data":null}', None),
        (b'{"data":{}}', {}),
    ],
)
def test_connection_params(payload: bytes, params: Any) -> None:
    assert wire.read_connection_params(payload) == params


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"null", b"{}", b'{"data":[]}', b'{"data":{"a":1}}', b'{"data":"a"}'])
def test_malformed_connection_params(payload: bytes) -> None:
    with pytest.raises(ServiceError) as refused:
        wire.read_connection_params(payload)
    assert refused.value.code is Code.PARSE_ERROR


def test_a_call_of_another_kind_is_not_found() -> None:
    find = procedures().get
    assert wire.check_call(read(call(path="one")).messages[0], find).path == "one"
    for message in (call(method="mutation"), call(path="two"), call(method="subscription"), call(path="__proto__")):
        with pytest.raises(ServiceError) as refused:
            wire.check_call(read(message).messages[0], find)
        assert refused.value.code is Code.NOT_FOUND
        assert refused.value.message == f'No "{message["method"]}"-procedure on path "{message["params"]["path"]}"'


@pytest.mark.parametrize(
    ("path", "item", "result"),
    [
        ("plain", "a", {"type": "data", "data": {"json": "a"}}),
        ("tracked", Tracked("7", 1), {"type": "data", "data": {"json": {"id": "7", "data": 1}}, "id": "7"}),
        ("tracked", Tracked('"ü', 1), {"type": "data", "data": {"json": {"id": '"ü', "data": 1}}, "id": '"ü'}),
        (
            "moments",
            Tracked("7", Moment(dt.datetime(2024, 1, 15, tzinfo=dt.UTC))),
            {
                "type": "data",
                "data": {
                    "json": {"id": "7", "data": {"at": "2024-01-15T00:00:00.000Z"}},
                    "meta": {"values": {"data.at": ["Date"]}, "v": 1},
                },
                "id": "7",
            },
        ),
    ],
)
def test_items(path: str, item: Any, result: Any) -> None:
    found = procedures().get(path)
    assert found is not None
    written = wire.write_data(b'{"id":1', wire.item_encoder(found)(item))
    assert json.loads(written) == {"id": 1, "result": result}


def test_what_else_is_written() -> None:
    assert json.loads(wire.write_started(b'{"id":"a"')) == {"id": "a", "result": {"type": "started"}}
    assert json.loads(wire.RECONNECT) == {"id": None, "method": "reconnect"}
    assert json.loads(wire.refuse_connection(ServiceError(Code.FORBIDDEN, "no"))) == {
        "id": None,
        "error": {"json": {"message": "no", "code": -32003, "data": {"code": "FORBIDDEN", "httpStatus": 403}}},
    }
    many = procedures().get("many")
    assert many is not None
    assert wire.no_stream(many).code is Code.UNSUPPORTED_MEDIA_TYPE


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=10,
)
PARAMS = st.fixed_dictionaries({}, optional={"path": st.text() | JSON, "input": JSON, "lastEventId": st.text() | JSON})
MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "id": st.none() | st.booleans() | st.integers() | st.text() | JSON,
        "jsonrpc": st.just("2.0") | JSON,
        "method": st.sampled_from(["query", "mutation", "subscription", STOP, "other"]) | JSON,
        "params": PARAMS | JSON,
    },
)


def answerable(received: Received) -> None:
    """Every message and every refusal can be answered with JSON that gives back its id."""
    for message in received.messages:
        assert isinstance(message, Message)
        assert json.loads(wire.write_started(message.head))["id"] == message.id
    for head, error in received.refusals:
        assert error.code in (Code.PARSE_ERROR, Code.BAD_REQUEST)
        assert "error" in json.loads(wire.write_error(head, error, None))


# The first inputs cost seconds on a machine that does other things.
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(MESSAGES | st.lists(MESSAGES, max_size=5))
def test_any_message_is_taken_or_refused(value: Any) -> None:
    received = read(value)
    answerable(received)
    assert received.messages or received.refusals or value == []


@settings(deadline=None)
@given(st.binary())
def test_any_bytes_are_taken_or_refused(payload: bytes) -> None:
    try:
        received = read(payload)
    except UnicodeDecodeError:
        return
    answerable(received)
