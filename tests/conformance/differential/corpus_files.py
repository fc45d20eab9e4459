"""Bodies that are a file or a form: which checks come before them, and that they know no batch, no stream and no GET.

What a procedure makes of a file is its own affair: there are no such procedures here, but those that refuse it.
"""

from tests.conformance.differential.cases import Case, get, post, with_headers

FORM = '--x\r\ncontent-disposition: form-data; name="id"\r\n\r\n1\r\n--x--\r\n'
KINDS = {"octets": ("application/octet-stream", "abc"), "form": ("multipart/form-data; boundary=x", FORM)}


def _cases(kind: str, content_type: str, body: str) -> dict[str, Case]:
    def send(path: str, query: str = "", *, who: str | None = "member", method: str = "POST") -> Case:
        return post(path, body, query=query, content_type=content_type, who=who, method=method)

    cases = {
        "unknown": send("no.such"),
        "unknown-anonymous": send("no.such", who=None),
        "bad-path": send("%"),
        "no-input": send("echo.nothing"),
        "no-input-with-query": send("echo.nothing", "input=%7B"),
        "anonymous": send("attachments.delete", who=None),
        "anonymous-query": send("attachments.get", who=None),
        "refused": send("attachments.delete"),
        "refused-by-query": send("attachments.get"),
        "batch-of-one": send("echo.nothing", "batch=1"),
        "batch-of-two": send("echo.nothing,echo.nothing", "batch=1"),
        "batch-too-large": send(",".join(["echo.nothing"] * 101), "batch=1"),
        "connection-params-ignored": send("echo.nothing", "connectionParams=%7B"),
        "connection-params-do-not-authenticate": send(
            "attachments.delete", "connectionParams=%7B%22authorization%22:%22Bearer%20~key~%22%7D", who=None
        ),
        "jsonl": with_headers(send("echo.nothing"), trpc_accept="application/jsonl"),
        "jsonl-batch": with_headers(send("echo.nothing", "batch=1"), trpc_accept="application/jsonl"),
        "jsonl-bad-path": with_headers(send("%"), trpc_accept="application/jsonl"),
        "jsonl-overruled": with_headers(send("echo.nothing"), trpc_accept="application/json", accept="application/jsonl"),
        "get": with_headers(get("echo.nothing"), content_type=content_type),
        "head": with_headers(get("echo.nothing", method="HEAD"), content_type=content_type),
        **{method.lower(): send("echo.nothing", method=method) for method in ("PUT", "PATCH", "DELETE", "OPTIONS")},
        "put-unknown-batch": send("no.such,no.such", "batch=1", method="PUT"),
        "empty-body": send("echo.nothing")._replace(body=b""),
        "no-body": send("echo.nothing")._replace(body=None),
        "subscription": send("sub.empty"),
        "subscription-anonymous": send("sub.private", who=None),
        "stream": send("stream.private"),
    }
    return {f"{kind}-{name}": case for name, case in cases.items()}


CASES = {
    **_cases("octets", *KINDS["octets"]),
    **_cases("form", *KINDS["form"]),
    "octets-upper-case": post("echo.nothing", "abc", content_type="Application/OCTET-Stream;a=b"),
    "octets-longer": post("echo.nothing", "abc", content_type="application/octet-streams"),
    "form-without-boundary": post("echo.nothing", FORM, content_type="multipart/form-data"),
    "form-mixed": post("echo.nothing", FORM, content_type="multipart/mixed; boundary=x"),
}
