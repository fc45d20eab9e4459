"""Batches of clients that read JSON lines: values that come later, streams, errors at every moment, and who may ask how."""

from tests.conformance.differential.cases import Case, batch, get, post, with_headers, wrap

B = "batch=1"
JSONL = "application/jsonl"
ONE, TWO, THREE = wrap({"to": 1}), wrap({"to": 2}), wrap({"to": 3})
MISSING = "01900000-0000-7000-8000-000000000000"
GET_FIRST = wrap({"id": "~first~"})
BAD_TO = wrap({"to": "x"})


def lines(paths: str, text: str | None = None, *, who: str | None = "member", query: str = B) -> Case:
    """A batch of queries by GET as httpBatchStreamLink sends it."""
    return with_headers(get(paths, text, query=query, who=who), trpc_accept=JSONL)


def lines_post(paths: str, body: str, *, who: str | None = "member", query: str = B) -> Case:
    """A batch by POST as httpBatchStreamLink sends it."""
    return with_headers(post(paths, body, query=query, who=who), trpc_accept=JSONL)


# Calls that give their data whole.
WHOLE: dict[str, Case] = {
    "one": lines("echo.query", batch(wrap(1))),
    "two": lines("echo.query,echo.query", batch(wrap(1), wrap("two"))),
    "superjson": lines("echo.query", batch(wrap("2024-01-15T10:30:00.000Z", ["Date"]))),
    "superjson-members": lines(
        "echo.query", batch(wrap({"a": "1152921504606846976", "b": ["x"]}, {"a": ["bigint"], "b": ["set"]}))
    ),
    "undefined": lines("echo.query"),
    "null": lines("echo.query", batch(wrap(None))),
    "empty-list": lines("echo.query", batch(wrap([]))),
    "empty-object": lines("echo.query", batch(wrap({}))),
    "nested-list": lines("echo.query", batch(wrap([[[]], [1, [2]]]))),
    "false": lines("echo.query", batch(wrap(False))),
    "rows": lines("attachments.get,attachments.list", batch(GET_FIRST, wrap({"conversationId": "~talk~"}))),
    "mutation": lines_post("echo.mutation,echo.mutation", batch(wrap(1), wrap(2))),
    "queries-by-post": lines_post("echo.query,echo.query", batch(wrap(1), wrap(2))),
    "large": lines_post("echo.mutation", batch(wrap(["é" * 50] * 2000))),
    "ten": lines(",".join(["echo.nothing"] * 10)),
}

ERRORS: dict[str, Case] = {
    "unknown": lines("no.such"),
    "unknown-among-others": lines("echo.nothing,no.such,echo.nothing"),
    "anonymous": lines("attachments.get,echo.nothing", batch(GET_FIRST), who=None),
    "anonymous-stream": lines("stream.private", who=None),
    "bad-input": lines("attachments.get,attachments.get", batch(wrap({"id": "x"}), GET_FIRST)),
    "bad-input-of-a-stream": lines("stream.count", batch(BAD_TO)),
    "no-input-of-a-stream": lines("stream.count"),
    "malformed-inputs": lines("echo.query,echo.query", "{"),
    "inputs-are-an-array": lines("echo.query,echo.query", "[{},{}]"),
    "malformed-body": lines_post("echo.mutation", "{"),
    "forbidden": lines_post("attachments.delete", batch(wrap({"id": "~second~"}))),
    "not-found": lines("attachments.get", batch(wrap({"id": MISSING}))),
    "crash": lines("fail.crash,echo.nothing"),
    "each-with-its-code": lines("fail.CONFLICT,fail.TIMEOUT,fail.SERVICE_UNAVAILABLE"),
    "mutation-by-get": lines("echo.mutation,no.such"),
    "subscription-in-a-batch": lines("sub.empty"),
    "mixed-kinds": lines("echo.query,echo.mutation"),
    "mixed-kinds-with-subscription": lines("echo.query,sub.empty"),
    "too-many": lines(",".join(["echo.nothing"] * 101)),
    "bad-connection-params": lines("echo.nothing", query=f"{B}&connectionParams=%7B"),
    "not-batched": lines("echo.nothing", query="a=b"),
    "not-batched-stream": lines("stream.deferred", query=""),
    "not-batched-unknown": lines("no.such", query=""),
    "not-batched-post": lines_post("echo.mutation", wrap(1), query=""),
    "put": lines("echo.query")._replace(method="PUT"),
    "not-json": with_headers(post("echo.mutation", "x", query=B, content_type="text/plain"), trpc_accept=JSONL),
    "head": lines("echo.query")._replace(method="HEAD"),
}

# How a client says that it reads JSON lines, and what the others get.
ACCEPT: dict[str, Case] = {
    "accept": with_headers(get("echo.nothing", query=B), accept=JSONL),
    "accept-among-others": with_headers(get("echo.nothing", query=B), accept=f"text/html, {JSONL} ,*/*"),
    "accept-with-quality": with_headers(get("echo.nothing", query=B), accept=f"{JSONL};q=1"),
    "accept-upper-case": with_headers(get("echo.nothing", query=B), accept="application/JSONL"),
    "trpc-accept-wins": with_headers(get("echo.nothing", query=B), accept=JSONL, trpc_accept="application/json"),
    "trpc-accept-wins-for-lines": with_headers(get("echo.nothing", query=B), accept="application/json", trpc_accept=JSONL),
    "trpc-accept-empty": with_headers(get("echo.nothing", query=B), accept=JSONL, trpc_accept=""),
    "trpc-accept-list": with_headers(get("echo.nothing", query=B), trpc_accept=f"{JSONL}, a/b"),
    "accept-not-batched": with_headers(get("echo.nothing"), accept=JSONL),
    "deferred-without-lines": get("stream.deferred", query=B),
    "deferred-without-lines-or-batch": get("stream.deferred"),
    "rejected-without-lines": get("stream.rejected", query=B),
    "stream-without-lines": get("stream.count,echo.nothing", batch(TWO), query=B),
    "stream-without-lines-or-batch": get("stream.count", TWO),
    "stream-mutation-without-lines": post("stream.work", TWO),
}

LATER: dict[str, Case] = {
    "deferred": lines("stream.deferred"),
    "deferred-mutation": lines_post("stream.deferredMutation", batch(THREE)),
    "deferred-twice": lines("stream.deferred,stream.deferred"),
    "nested": lines("stream.nested"),
    "several": lines("stream.several"),
    "rejected": lines("stream.rejected"),
    "crashed": lines("stream.crashed"),
    "rich-later": lines("stream.rich"),
    "private": lines("stream.private"),
    "members": lines("stream.members", batch(THREE)),
    "members-none": lines("stream.members", batch(wrap({"to": 0}))),
    "both": lines("stream.both"),
    "promised-iterable": lines("stream.promised"),
    "iterable": lines("stream.count", batch(THREE)),
    "iterable-by-post": lines_post("stream.count", batch(THREE)),
    "iterable-empty": lines("stream.count", batch(wrap({"to": 0}))),
    "iterables-side-by-side": lines("stream.count,stream.count,stream.deferred", batch(ONE, TWO)),
    "iterable-mutation": lines_post("stream.work", batch(TWO)),
    "iterable-fails": lines("stream.fails"),
    "iterable-fails-first": lines("stream.failsFirst"),
    "iterable-crashes": lines("stream.crashes"),
    "iterable-of-values": lines("stream.values"),
    "iterable-of-deferred": lines("stream.numbered"),
    "everything": lines("stream.several,stream.fails,no.such,stream.promised,echo.nothing,fail.crash,stream.values"),
}

CASES: dict[str, Case] = {f"jsonl-{name}": case for part in (WHOLE, ERRORS, ACCEPT, LATER) for name, case in part.items()}
