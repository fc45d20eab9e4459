"""Batches: how a path is split, where the inputs are, how outcomes and statuses are joined."""

from tests.conformance.differential.cases import Case, batch, get, post, with_headers, wrap

ONE, TWO = wrap(1), wrap(2)
E, M, N = "echo.query", "echo.mutation", "echo.nothing"
B = "batch=1"
MISSING = "01900000-0000-7000-8000-000000000000"
ITEM = wrap({"id": "~first~"})


def batched(paths: str, text: str | None = None, *, who: str | None = "member") -> Case:
    return get(paths, text, query=B, who=who)


CASES: dict[str, Case] = {
    "batch-of-one": batched(E, batch(ONE)),
    "batch-of-two": batched(f"{E},{E}", batch(ONE, TWO)),
    "batch-post": post(f"{M},{M}", batch(ONE, TWO), query=B),
    "batch-post-queries": post(f"{E},{E}", batch(ONE, TWO), query=B),
    "batch-escaped-comma": batched("echo.query%2Cecho.query", batch(ONE, TWO)),
    "batch-both-commas": batched("echo.nothing%2cecho.nothing,echo.nothing"),
    "batch-trailing-comma": batched(f"{N},"),
    "batch-leading-comma": batched(f",{N}"),
    "batch-only-comma": batched(","),
    "batch-empty-path": batched(""),
    "batch-final-slash": batched(f"{N},{N}/"),
    "batch-escaped-plus": batched(f"{N}%2B,{N}"),
    "batch-2-is-no-batch": get(f"{N},{N}", query="batch=2"),
    "batch-0-is-no-batch": get(N, query="batch=0"),
    "batch-true-is-no-batch": get(N, query="batch=true"),
    "batch-01-is-no-batch": get(N, query="batch=01"),
    "batch-empty-is-no-batch": get(N, query="batch="),
    "batch-name-only": get(N, query="batch"),
    "batch-first-wins": get(N, query="batch=2&batch=1"),
    "batch-escaped-value": get(N, query="batch=%31"),
    "batch-escaped-name": get(N, query="%62atch=1"),
    "batch-value-with-space": get(N, query="batch=1+"),
    "batch-missing-inputs": batched(f"{E},{E}"),
    "batch-sparse": batched(f"{E},{E},{E}", batch(None, TWO, None)),
    "batch-empty-object": batched(f"{E},{E}", "{}"),
    "batch-empty-body": post(f"{M},{M}", "", query=B),
    "batch-no-body": post(f"{M},{M}", None, query=B),
    "batch-null-entry": batched(f"{E},{E}", batch("null", TWO)),
    "batch-key-00": batched(E, '{"00":{"json":1}}'),
    "batch-key-plus": batched(E, '{"+0":{"json":1},"0.0":{"json":1}}'),
    "batch-key-beyond": batched(E, '{"0":{"json":1},"7":{"json":2}}'),
    "batch-key-beyond-bad": batched(E, '{"0":{"json":1},"7":{"json":"x","meta":{"values":["nothing"]}}}'),
    "batch-key-proto": batched(E, '{"__proto__":{"0":{"json":1}},"constructor":1}'),
    "batch-duplicate-key": batched(E, '{"0":{"json":1},"0":{"json":2}}'),
    "batch-array": batched(f"{E},{E}", "[{},{}]"),
    "batch-array-post": post(f"{M},{M}", '[{"json":1},{"json":2}]', query=B),
    "batch-string": batched(E, '"x"'),
    "batch-number": batched(f"{E},{E}", "5"),
    "batch-null": batched(E, "null"),
    "batch-true": batched(E, "true"),
    "batch-malformed": batched(f"{E},{E}", "{"),
    "batch-malformed-post": post(f"{M},{M}", "{", query=B),
    "batch-wrapped-as-whole": batched(E, wrap({"0": 1})),
    "batch-bad-entry-fails-all": batched(f"{E},{E}", batch(ONE, wrap("x", ["nothing"]))),
    "batch-bad-entry-and-no-input": batched(f"{E},{N}", batch(wrap("x", ["nothing"]))),
    "batch-mixed-statuses": batched(f"{E},no.such", batch(ONE)),
    "batch-mixed-errors": batched("fail.CONFLICT,no.such"),
    "batch-same-error-twice": batched("no.such,no.other"),
    "batch-same-status-other-code": batched("fail.PARSE_ERROR,fail.BAD_REQUEST"),
    "batch-of-one-error": batched("fail.CONFLICT"),
    "batch-results-and-crash": batched(f"{N},fail.crash,{N}"),
    "batch-mixed-kinds": batched(f"{E},{M}", batch(ONE, TWO)),
    "batch-mixed-kinds-post": post(f"{M},{E}", batch(ONE, TWO), query=B),
    "batch-mixed-kinds-with-unknown": batched(f"no.such,{E},{M}"),
    "batch-mixed-kinds-anonymous": batched("attachments.get,attachments.delete", who=None),
    "batch-of-mutations-by-get": batched(f"{M},{M}", batch(ONE, TWO)),
    "batch-of-mutation-and-unknown-by-get": batched(f"{M},no.such"),
    "batch-duplicates": batched(",".join([N] * 10)),
    "batch-of-100": batched(",".join([N] * 100)),
    "batch-of-101": batched(",".join([N] * 101)),
    "batch-of-101-unknown-anonymous": batched(",".join(["a"] * 101), who=None),
    "batch-of-101-mixed-kinds": batched(",".join([N, M] + [N] * 99)),
    "batch-of-101-post-malformed": post(",".join([M] * 101), "{", query=B),
    "batch-of-101-escaped": batched("%2C" * 100),
    "batch-attachments": batched("attachments.get,attachments.list", batch(ITEM, wrap({"conversationId": "~talk~"}))),
    "batch-attachments-mixed": batched("attachments.get,attachments.get", batch(ITEM, wrap({"id": MISSING}))),
    "batch-attachments-invalid": batched("attachments.get,attachments.get", batch(ITEM, wrap({"id": "x"}))),
    "batch-attachments-anonymous": batched("attachments.get,echo.query", batch(ITEM, TWO), who=None),
    "batch-anonymous-malformed": batched("attachments.get,attachments.get", "{", who=None),
    "batch-anonymous-unknown-malformed": batched("attachments.get,no.such,echo.query", "{", who=None),
    "batch-deletes": post(
        "attachments.delete,attachments.delete", batch(wrap({"id": "~spare-0~"}), wrap({"id": "~spare-9~"})), query=B
    ),
    "batch-connection-params-malformed": get(N, query=f"{B}&connectionParams=x"),
    "batch-mixed-kinds-before-connection-params": get(f"{E},{M}", query=f"{B}&connectionParams=x"),
    "batch-multipart": post(f"{M},{M}", "--x--\r\n", query=B, content_type="multipart/form-data; boundary=x"),
    "batch-put": post(f"{M},no.such", batch(ONE), query=B, method="PUT"),
    "batch-charset": post(M, batch(ONE), query=B, content_type="application/json; charset=utf-8"),
    "batch-bad-type": post(f"{M},{M}", batch(ONE), query=B, content_type="text/plain"),
    "batch-trpc-accept-json": with_headers(batched(N), trpc_accept="application/json"),
}
