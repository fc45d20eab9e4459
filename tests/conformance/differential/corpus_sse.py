"""Subscriptions over server-sent events: frames, resuming, connection parameters, errors before and in the stream."""

import json
from urllib.parse import quote

from tests.conformance.differential.cases import Case, get, post, with_headers, wrap

TWO = wrap({"to": 2})


def parameters(value: object) -> str:
    """The query parameter `connectionParams` with a JSON value."""
    return "connectionParams=" + quote(json.dumps(value), safe="~")


def resumed(path: str, last_event_id: str, text: str | None = None) -> Case:
    """A subscription of an EventSource that connects again."""
    return with_headers(get(path, text), last_event_id=last_event_id)


FRAMES: dict[str, Case] = {
    "count": get("sub.count", TWO),
    "empty": get("sub.empty"),
    "values": get("sub.values"),
    "echo": get("sub.echo", wrap({"a": "1152921504606846976"}, {"a": ["bigint"]})),
    "echo-undefined": get("sub.echo"),
    "echo-text": get("sub.echo", wrap("a\nb\r\n\u2028")),
    "tracked": get("sub.tracked", wrap({})),
    "tracked-rich": get("sub.trackedRich"),
    "accept-event-stream": with_headers(get("sub.empty"), accept="text/event-stream"),
    "by-post": post("sub.count", TWO),
    "by-post-without-body": post("sub.empty", ""),
    "input-for-none": get("sub.empty", "{"),
    "as-key": get("sub.private", who="key"),
    "as-admin": get("sub.who", who="admin"),
}

RESUMED: dict[str, Case] = {
    "by-header": resumed("sub.tracked", "2", wrap({})),
    "by-header-to-the-end": resumed("sub.tracked", "3", wrap({})),
    "by-header-without-input": resumed("sub.tracked", "1"),
    "by-header-with-spaces": resumed("sub.echo", " x y \t"),
    "by-header-in-utf8": resumed("sub.echo", "é".encode().decode("latin-1")),
    "by-query": get("sub.tracked", wrap({}), query="lastEventId=2"),
    "by-other-query": get("sub.tracked", wrap({}), query="Last-Event-Id=2"),
    "by-input": get("sub.tracked", wrap({"lastEventId": "2"})),
    "header-over-query": with_headers(get("sub.tracked", wrap({}), query="lastEventId=1"), last_event_id="3"),
    "query-over-other-query": get("sub.tracked", wrap({}), query="Last-Event-Id=1&lastEventId=3"),
    "header-over-input": resumed("sub.tracked", "3", wrap({"lastEventId": "1"})),
    "empty-header": resumed("sub.echo", "", wrap({"a": 1})),
    "empty-header-over-query": with_headers(get("sub.echo", query="lastEventId=1"), last_event_id=""),
    "merged-into-an-object": resumed("sub.echo", "x", wrap({"a": 1})),
    "becomes-the-input": resumed("sub.echo", "x"),
    "beside-null": resumed("sub.echo", "x", wrap(None)),
    "beside-text": resumed("sub.echo", "x", wrap("text")),
    "beside-an-array": resumed("sub.echo", "x", wrap([1])),
    "beside-a-date": resumed("sub.echo", "x", wrap("2024-01-15T10:30:00.000Z", ["Date"])),
    "escaped": get("sub.echo", query="lastEventId=a%0Ab%2Bc+d"),
    "untracked-items-keep-the-id": resumed("sub.count", "7", TWO),
    "untracked-items-keep-the-id-of-the-query": get("sub.count", TWO, query="lastEventId=7"),
    "untracked-items-and-an-id-with-a-line-end": get("sub.count", TWO, query="lastEventId=a%0Ab"),
    "by-post": with_headers(post("sub.tracked", wrap({})), last_event_id="2"),
    "query-is-not-a-subscription": get("echo.query", wrap({}), query="lastEventId=2"),
    "header-of-a-query": with_headers(get("echo.query", wrap({})), last_event_id="2"),
}

PARAMETERS: dict[str, Case] = {
    "authorization": get("sub.private", who=None, query=parameters({"authorization": "Bearer ~key~"})),
    "wrong-authorization": get("sub.private", who=None, query=parameters({"authorization": "Bearer wrong"})),
    "cookie-and-other-parameters": get("sub.private", query=parameters({"a": "b"})),
    "header-over-parameters": get("sub.private", who="key", query=parameters({"authorization": "Bearer wrong"})),
    "null": get("sub.who", query=parameters(None)),
    "empty": get("sub.who", query=parameters({})),
    "of-a-query": get(
        "attachments.get", wrap({"id": "~first~"}), who=None, query=parameters({"authorization": "Bearer ~key~"})
    ),
    "malformed": get("sub.who", query="connectionParams=%7B"),
    "nothing": get("sub.who", query="connectionParams="),
    "number": get("sub.who", query=parameters(1)),
    "array": get("sub.who", query=parameters([])),
    "member-is-a-number": get("sub.who", query=parameters({"authorization": 1})),
    "malformed-and-unknown": get("no.such", query="connectionParams=%7B"),
}

ERRORS: dict[str, Case] = {
    "fails": get("sub.fails"),
    "fails-first": get("sub.failsFirst"),
    "crashes": get("sub.crashes"),
    "crashes-first": get("sub.crashesFirst"),
    "unavailable": get("sub.unavailable"),
    "tracked-fails": get("sub.trackedFails"),
    "anonymous": get("sub.private", who=None),
    "bad-input": get("sub.count", wrap({"to": "x"})),
    "no-input": get("sub.count"),
    "malformed-input": get("sub.count", "{"),
    "malformed-body": post("sub.count", "{"),
    "unknown": get("sub.nothing"),
    "unknown-accepting-events": with_headers(get("sub.nothing"), accept="text/event-stream"),
    "query-as-subscription": with_headers(get("echo.nothing"), accept="text/event-stream"),
    "mutation-as-subscription": with_headers(get("echo.mutation"), accept="text/event-stream"),
    "batched": get("sub.empty", query="batch=1"),
    "batched-with-itself": get("sub.empty,sub.count", query="batch=1"),
    "batched-with-a-query": get("sub.empty,echo.nothing", query="batch=1"),
    "batched-with-an-unknown": get("sub.empty,no.such", query="batch=1"),
    "jsonl-not-batched": with_headers(get("sub.empty"), trpc_accept="application/jsonl"),
    "delete": post("sub.empty", "", method="DELETE"),
    "put": get("sub.empty", method="PUT"),
    "head": get("sub.empty", method="HEAD"),
    "post-of-text": post("sub.empty", "x", content_type="text/plain"),
}

CASES: dict[str, Case] = {
    f"sse-{part}{name}": case
    for part, cases in (("", FRAMES), ("resumed-", RESUMED), ("parameters-", PARAMETERS), ("error-", ERRORS))
    for name, case in cases.items()
}
