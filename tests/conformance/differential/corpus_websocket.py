"""Conversations over a WebSocket: calls, subscriptions, stops, batches, what no client should send, connection parameters."""

import json
from typing import Any

from tests.conformance.differential.transcripts import Script

TO = {"json": {"to": 2}}
UNDEFINED = {"json": None, "meta": {"values": ["undefined"]}}
_LEFT_OUT: Any = object()


def message(
    id: Any, method: Any = "query", path: Any = "echo.query", input: Any = UNDEFINED, *, params: Any = _LEFT_OUT, **more: Any
) -> dict[str, Any]:
    """A message of a client; what is left out is not sent. `last_event_id` goes into its parameters, the rest beside them."""
    inside = {"path": path, "input": input, "lastEventId": more.pop("last_event_id", _LEFT_OUT)}
    given = {name: value for name, value in inside.items() if value is not _LEFT_OUT} if params is _LEFT_OUT else params
    outside = {"id": id, "method": method, "params": given, **more}
    return {name: value for name, value in outside.items() if value is not _LEFT_OUT}


def send(id: Any, *arguments: Any, **more: Any) -> str:
    """The JSON text of a message."""
    return json.dumps(message(id, *arguments, **more))


def subscribe(id: Any, path: str, input: Any = UNDEFINED, **more: Any) -> str:
    """The JSON text that starts a subscription."""
    return send(id, "subscription", path, input, **more)


def stop(id: Any, **more: Any) -> str:
    """The JSON text that stops a subscription."""
    return json.dumps({"id": id, "method": "subscription.stop", **more})


def script(*steps: str | bytes | int, who: str | None = "member", query: str = "", ends: bool = False) -> Script:
    """A script; see there."""
    return Script(steps, who, query, ends)


def wrapped(value: Any, values: Any = None) -> dict[str, Any]:
    """An input as superjson sends it."""
    return {"json": value, **({"meta": {"values": values, "v": 1}} if values is not None else {})}


CALLS: dict[str, Script] = {
    "query": script(send(1, "query", "echo.query", wrapped({"a": [1, None]})), 1),
    "mutation": script(send(1, "mutation", "echo.mutation", wrapped("x")), 1),
    "no-input": script(send(1), 1),
    "input-left-out": script(send(1, "query", "echo.query", _LEFT_OUT), 1),
    "no-input-needed": script(send(1, "query", "echo.nothing"), 1),
    "superjson": script(send(1, "query", "echo.query", wrapped({"d": "2024-01-15T10:30:00.000Z"}, {"d": ["Date"]})), 1),
    "superjson-root": script(send(1, "query", "echo.query", wrapped("1152921504606846976", ["bigint"])), 1),
    "superjson-typed": script(
        send(
            1,
            "query",
            "echo.typed",
            wrapped(
                {"when": "2024-01-15T10:30:00.000Z", "big": "1152921504606846976", "tags": ["a"], "counts": [[1, "one"]]},
                {"when": ["Date"], "big": ["bigint"], "tags": ["set"], "counts": ["map"]},
            ),
        ),
        1,
    ),
    "rows": script(send(1, "query", "attachments.list", wrapped({"conversationId": "~talk~"})), 1),
    "row": script(send(1, "query", "attachments.get", wrapped({"id": "~first~"})), 1),
    "many": script(*(send(number, "query", "echo.query", wrapped(number)) for number in range(1, 21)), 20),
    "same-id-twice": script(send(1, "query", "echo.nothing"), send(1, "query", "echo.nothing"), 2),
    "id-text": script(send("a", "query", "echo.nothing"), 1),
    "id-empty-text": script(send("", "query", "echo.nothing"), 1),
    "id-zero": script(send(0, "query", "echo.nothing"), 1),
    "id-negative": script(send(-7, "query", "echo.nothing"), 1),
    "id-fraction": script(send(1.5, "query", "echo.nothing"), 1),
    "id-large": script(send(2**53 - 1, "query", "echo.nothing"), 1),
    "jsonrpc": script(send(1, "query", "echo.nothing", jsonrpc="2.0"), 1),
    "more-members": script(send(1, "query", "echo.nothing", more=1, context={}), 1),
    "last-event-id-of-a-query": script(send(1, "query", "echo.query", wrapped({"a": 1}), last_event_id="x"), 1),
    "large": script(send(1, "query", "echo.query", wrapped(["é" * 50] * 500)), 1),
}

SUBSCRIPTIONS: dict[str, Script] = {
    "count": script(subscribe(1, "sub.count", TO), 4),
    "empty": script(subscribe(1, "sub.empty"), 2),
    "input-left-out": script(subscribe(1, "sub.echo", _LEFT_OUT), 1),
    "values": script(subscribe(1, "sub.values"), 13),
    "echo": script(subscribe(1, "sub.echo", wrapped("1152921504606846976", ["bigint"])), 3),
    "tracked": script(subscribe(1, "sub.tracked", wrapped({})), 5),
    "tracked-rich": script(subscribe(1, "sub.trackedRich"), 3),
    "jsonrpc": script(subscribe(1, "sub.count", TO, jsonrpc="2.0"), 4),
    "id-text": script(subscribe("s", "sub.count", TO), 4),
    "two": script(subscribe(1, "sub.count", TO), subscribe(2, "sub.tracked", wrapped({})), 9),
    "beside-calls": script(subscribe(1, "sub.count", TO), send(2, "query", "echo.nothing"), 5),
    "resumed": script(subscribe(1, "sub.tracked", wrapped({}), last_event_id="2"), 3),
    "resumed-without-input": script(subscribe(1, "sub.tracked", last_event_id="2"), 3),
    "resumed-over-input": script(subscribe(1, "sub.tracked", wrapped({"lastEventId": "1"}), last_event_id="3"), 2),
    "resumed-beside-text": script(subscribe(1, "sub.echo", wrapped("text"), last_event_id="2"), 3),
    "resumed-beside-null": script(subscribe(1, "sub.echo", wrapped(None), last_event_id="2"), 3),
    "resumed-beside-an-array": script(subscribe(1, "sub.echo", wrapped([1]), last_event_id="2"), 3),
    "resumed-with-empty-id": script(subscribe(1, "sub.echo", wrapped({"a": 1}), last_event_id=""), 3),
    "resumed-with-a-number": script(subscribe(1, "sub.tracked", wrapped({}), last_event_id=2), 1),
    "resumed-with-null": script(subscribe(1, "sub.tracked", wrapped({}), last_event_id=None), 1),
    "stop": script(subscribe(1, "sub.forever"), 2, stop(1), 1),
    "stop-with-jsonrpc": script(subscribe(1, "sub.forever"), 2, stop(1, jsonrpc="2.0"), 1),
    "stop-jsonrpc": script(subscribe(1, "sub.forever", jsonrpc="2.0"), 2, stop(1), 1),
    "stop-twice": script(subscribe(1, "sub.forever"), 2, stop(1), stop(1), 1),
    "stop-unknown": script(stop(7), send(1, "query", "echo.nothing"), 1),
    "stop-ended": script(subscribe(1, "sub.empty"), 2, stop(1), send(2, "query", "echo.nothing"), 1),
    "stop-of-another-type": script(subscribe(1, "sub.forever"), 2, stop("1"), send(2, "query", "echo.nothing"), 1),
    "stop-one-of-two": script(subscribe(1, "sub.forever"), subscribe(2, "sub.forever"), 4, stop(1), 1),
    "duplicate": script(subscribe(1, "sub.forever"), 2, subscribe(1, "sub.count", TO), 1),
    "duplicate-text": script(subscribe("x", "sub.forever"), 2, subscribe("x", "sub.count", TO), 1),
    "duplicate-then-stop": script(subscribe(1, "sub.forever"), 2, subscribe(1, "sub.forever"), 1, stop(1), 1),
    "not-duplicate-of-another-type": script(subscribe(1, "sub.forever"), 2, subscribe("1", "sub.empty"), 2),
    "query-with-the-id-of-a-subscription": script(subscribe(1, "sub.forever"), 2, send(1, "query", "echo.nothing"), 1),
    "id-again-after-stop": script(subscribe(1, "sub.forever"), 2, stop(1), 1, subscribe(1, "sub.count", TO), 4),
    "id-again-after-end": script(subscribe(1, "sub.empty"), 2, subscribe(1, "sub.empty"), 2),
}

ERRORS: dict[str, Script] = {
    "unknown": script(send(1, "query", "no.such"), 1),
    "unknown-mutation": script(send(1, "mutation", "no.such", jsonrpc="2.0"), 1),
    "unknown-subscription": script(subscribe(1, "no.such"), 1),
    "query-as-subscription": script(subscribe(1, "echo.nothing"), 1),
    "query-as-mutation": script(send(1, "mutation", "echo.nothing"), 1),
    "mutation-as-query": script(send(1, "query", "echo.mutation"), 1),
    "subscription-as-query": script(send(1, "query", "sub.empty"), 1),
    "subscription-as-mutation": script(send(1, "mutation", "sub.empty"), 1),
    "empty-path": script(send(1, "query", ""), 1),
    "proto": script(send(1, "query", "__proto__"), send(2, "query", "constructor"), 2),
    "slash-in-path": script(send(1, "query", "echo/nothing"), 1),
    "comma-in-path": script(send(1, "query", "echo.nothing,echo.nothing"), 1),
    "fails": script(send(1, "query", "fail.CONFLICT"), 1),
    "crashes": script(send(1, "query", "fail.crash"), 1),
    "anonymous": script(send(1, "query", "attachments.get", wrapped({"id": "~first~"})), 1, who=None),
    "anonymous-subscription": script(subscribe(1, "sub.private"), 1, who=None),
    "anonymous-and-public": script(send(1, "query", "echo.nothing"), 1, who=None),
    "bad-input": script(send(1, "query", "attachments.get", wrapped({"id": "x"})), 1),
    "bad-input-of-a-subscription": script(subscribe(1, "sub.count", wrapped({"to": "x"})), 1),
    "no-input": script(subscribe(1, "sub.count"), 1),
    "bad-annotation": script(send(1, "query", "echo.query", wrapped("x", ["nothing"])), 1),
    "subscription-fails": script(subscribe(1, "sub.fails"), 4),
    "subscription-fails-first": script(subscribe(1, "sub.failsFirst"), 3),
    "subscription-crashes": script(subscribe(1, "sub.crashes", jsonrpc="2.0"), 4),
    "subscription-crashes-first": script(subscribe(1, "sub.crashesFirst"), 3),
    "subscription-unavailable": script(subscribe(1, "sub.unavailable"), 4),
    "tracked-fails": script(subscribe(1, "sub.trackedFails"), 4),
    "id-again-after-error": script(subscribe(1, "sub.failsFirst"), 3, subscribe(1, "sub.empty"), 2),
    "stream-of-a-query": script(send(1, "query", "stream.count", TO), 1),
    "later-values-of-a-query": script(send(1, "query", "stream.deferred"), 1),
    "stream-of-a-mutation": script(send(1, "mutation", "stream.work", TO), 1),
}

ONE, TWO = message(1, "query", "echo.nothing"), message(2, "query", "echo.nothing")


def batch(*messages: Any) -> str:
    """The JSON text of a batch."""
    return json.dumps(messages)


BATCHES: dict[str, Script] = {
    "two": script(batch(ONE, TWO), 2),
    "of-one": script(batch(ONE), 1),
    "of-none": script(batch(), batch(ONE), 1),
    "mixed-kinds": script(batch(ONE, message(2, "mutation", "echo.mutation"), message(3, "subscription", "sub.count", TO)), 6),
    "one-unreadable": script(batch(ONE, {"id": 2}), 1),
    "one-not-an-object": script(batch(ONE, 1), 1),
    "one-unknown": script(batch(ONE, message(2, "query", "no.such")), 2),
    "one-without-id": script(batch(message(None), TWO), 2),
    "nested": script(batch([ONE]), 1),
    "with-stop": script(subscribe(3, "sub.forever"), 2, batch(ONE, {"id": 3, "method": "subscription.stop"}), 2),
    "with-duplicates": script(batch(message(1, "subscription", "sub.forever"), message(1, "subscription", "sub.empty")), 3),
    "at-the-limit": script(batch(*(message(number, "query", "echo.nothing") for number in range(100))), 100),
    "over-the-limit": script(batch(*(message(number, "query", "echo.nothing") for number in range(101))), 101),
    "over-the-limit-jsonrpc": script(batch(*(message(number, jsonrpc="2.0") for number in range(101))), 101),
    "over-the-limit-unreadable": script(batch(*range(101)), 1),
    "over-the-limit-without-ids": script(batch(*(message(None) for _ in range(101))), 1),
    "over-the-limit-with-stops": script(
        batch(*({"id": number, "method": "subscription.stop"} for number in range(100)), message("x")), 1
    ),
}

MALFORMED: dict[str, str | bytes] = {
    "open": "{",
    "empty": "",
    "null": "null",
    "number": "1",
    "text": '"x"',
    "true": "true",
    "nan": '{"id":1,"method":"query","params":{"path":"echo.query","input":{"json":NaN}}}',
    "ping-in-lower-case": "ping",
    "ping-with-a-line-end": "PING\n",
    "binary": b'{"id":1,"method":"query","params":{"path":"echo.nothing"}}',
    "binary-ping": b"PING",
    "binary-nonsense": b"\xff\x00",
    "id-missing": send(_LEFT_OUT),
    "id-null": send(None),
    "id-null-jsonrpc": send(None, jsonrpc="2.0"),
    "id-true": send(True),
    "id-object": send({}),
    "id-array": send([1]),
    "method-missing": send(1, _LEFT_OUT),
    "method-unknown": send(1, "subscribe"),
    "method-null": send(1, None),
    "method-upper-case": send(1, "QUERY"),
    "params-missing": json.dumps({"id": 1, "method": "query"}),
    "params-null": send(1, params=None),
    "params-array": send(1, params=["echo.nothing"]),
    "path-missing": send(1, "query", _LEFT_OUT),
    "path-number": send(1, "query", 1),
    "path-null": send(1, "query", None),
    "jsonrpc-1": send(1, jsonrpc="1.0"),
    "jsonrpc-null": send(1, jsonrpc=None),
    "jsonrpc-number": send(1, jsonrpc=2.0),
    "stop-without-id": json.dumps({"method": "subscription.stop"}),
    "stop-null": stop(None),
    "stop-true": stop(True),
    "stop-with-params": stop(7, params=1),
    "connection-params-late": json.dumps({"method": "connectionParams", "data": None}),
    "input-bare": send(1, "query", "echo.query", {"a": 1}),
    "input-null": send(1, "query", "echo.query", None),
    "duplicate-members": '{"id":1,"id":2,"method":"query","params":{"path":"echo.nothing","input":{"json":null}}}',
    "byte-order-mark": "\ufeff" + send(1, "query", "echo.nothing"),
    "deep": '{"id":1,"method":"query","params":{"path":"echo.nothing","input":' + "[" * 10_000 + "]" * 10_000 + "}}",
}

PARAMETERS = "connectionParams=1"


def parameters(data: Any) -> str:
    """The JSON text of the first message where connection parameters are announced."""
    return json.dumps({"method": "connectionParams", "data": data})


PRIVATE = send(1, "query", "attachments.get", wrapped({"id": "~first~"}))
KEY = parameters({"authorization": "Bearer ~key~"})

CONNECTIONS: dict[str, Script] = {
    "parameters": script(KEY, PRIVATE, 1, who=None, query=PARAMETERS),
    "parameters-of-a-subscription": script(KEY, subscribe(1, "sub.private"), 3, who=None, query=PARAMETERS),
    "parameters-wrong": script(parameters({"authorization": "Bearer wrong"}), PRIVATE, 1, who=None, query=PARAMETERS),
    "parameters-and-cookie": script(parameters({"a": "b"}), PRIVATE, 1, query=PARAMETERS),
    "parameters-null": script(parameters(None), PRIVATE, 1, query=PARAMETERS),
    "parameters-empty": script(parameters({}), PRIVATE, 1, query=PARAMETERS),
    "parameters-number": script(parameters(1), 1, query=PARAMETERS, ends=True),
    "parameters-array": script(parameters([]), 1, query=PARAMETERS, ends=True),
    "parameters-member-is-a-number": script(parameters({"a": 1}), 1, query=PARAMETERS, ends=True),
    "parameters-without-data": script(json.dumps({"method": "connectionParams"}), 1, query=PARAMETERS, ends=True),
    "parameters-malformed": script("{", 1, query=PARAMETERS, ends=True),
    "parameters-not-an-object": script("1", 1, query=PARAMETERS, ends=True),
    "parameters-of-any-method": script(json.dumps({"data": {"authorization": "Bearer ~key~"}}), PRIVATE, 1, query=PARAMETERS),
    "call-instead-of-parameters": script(PRIVATE, 1, query=PARAMETERS, ends=True),
    "ping-before-parameters": script("PING", 1, KEY, PRIVATE, 1, who=None, query=PARAMETERS),
    "pong-before-parameters": script("PONG", KEY, PRIVATE, 1, who=None, query=PARAMETERS),
    "parameters-not-announced": script(KEY, 1, PRIVATE, 1, who=None),
    "parameters-announced-otherwise": script(KEY, 1, PRIVATE, 1, who=None, query="connectionParams=true"),
    "parameters-announced-twice": script(KEY, PRIVATE, 1, who=None, query="connectionParams=1&connectionParams=0"),
    "ping": script("PING", 1),
    "ping-twice": script("PING", "PING", 2, send(1, "query", "echo.nothing"), 1),
    "pong": script("PONG", send(1, "query", "echo.nothing"), 1),
}

# After a message that no client should send the connection must go on.
_GOES_ON = send("after", "query", "echo.nothing")
# Most are answered.
_UNANSWERED = ("stop-with-params",)

CASES: dict[str, Script] = {
    f"ws-{part}{name}": case
    for part, cases in (("", CALLS), ("sub-", SUBSCRIPTIONS), ("error-", ERRORS), ("batch-", BATCHES), ("", CONNECTIONS))
    for name, case in cases.items()
} | {f"ws-malformed-{name}": script(text, _GOES_ON, 1 if name in _UNANSWERED else 2) for name, text in MALFORMED.items()}
