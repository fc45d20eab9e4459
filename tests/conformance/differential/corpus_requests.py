"""Methods, content types, paths, query strings and headers: everything before the input is looked at."""

from tests.conformance.differential.cases import JSON, Case, get, post, with_headers, wrap

X = wrap("x")
ONE = wrap({"id": "~first~"})
MEBIBYTE = 1024 * 1024

METHODS: dict[str, Case] = {
    "get-query": get("echo.query", X),
    "post-query-by-override": post("echo.query", X),
    "post-mutation": post("echo.mutation", X),
    "get-mutation": get("echo.mutation", X),
    "get-mutation-with-auth": get("attachments.delete", ONE),
    "head-query": get("echo.query", X, method="HEAD"),
    "head-unknown": get("no.such", method="HEAD", who=None),
    "head-nothing": get("", method="HEAD"),
    **{f"{m.lower()}-json-query": post("echo.query", X, method=m) for m in ("PUT", "PATCH", "DELETE", "OPTIONS")},
    **{f"{m.lower()}-json-mutation": post("echo.mutation", X, method=m) for m in ("PUT", "PATCH", "DELETE", "OPTIONS")},
    **{f"{m.lower()}-bare": get("echo.query", X, method=m) for m in ("PUT", "PATCH", "DELETE", "OPTIONS")},
    "put-json-unknown": post("no.such", X, method="PUT"),
    "put-json-batch": post("echo.query,echo.query", '{"0":{"json":1}}', method="PUT", query="batch=1"),
    "trace": get("echo.query", method="TRACE"),
    "delete-empty-json": post("echo.query", "", method="DELETE"),
    "lower-case-method": get("echo.query", X, method="get"),
    "options-preflight": with_headers(
        get("echo.query", method="OPTIONS"), origin="https://example.org", access_control_request_method="POST"
    ),
}

CONTENT_TYPES: dict[str, Case] = {
    "type-charset": post("echo.mutation", X, content_type="application/json; charset=utf-8"),
    "type-latin1-is-utf8": post("echo.mutation", wrap("é"), content_type="application/json; charset=iso-8859-1"),
    "type-charset-without-space": post("echo.mutation", X, content_type="application/json;charset=UTF-8"),
    "type-upper-case": post("echo.mutation", X, content_type="Application/JSON"),
    "type-space-before-semicolon": post("echo.mutation", X, content_type="application/json ; a=b"),
    "type-semicolon-only": post("echo.mutation", X, content_type="application/json;"),
    "type-suffix": post("echo.mutation", X, content_type="application/ld+json"),
    "type-longer": post("echo.mutation", X, content_type="application/jsonp"),
    "type-text": post("echo.mutation", X, content_type="text/plain"),
    "type-text-json": post("echo.mutation", X, content_type="text/json"),
    "type-two-comma": post("echo.mutation", X, content_type="application/json, text/plain"),
    "type-missing": post("echo.mutation", X, content_type=None),
    "type-empty": post("echo.mutation", X, content_type=""),
    "type-form": post("echo.mutation", "a=1", content_type="application/x-www-form-urlencoded"),
    "type-missing-unknown-path": post("no.such", X, content_type=None),
    "type-missing-empty-body": post("echo.mutation", "", content_type=None),
    "type-missing-anonymous": post("attachments.delete", ONE, content_type=None, who=None),
    "type-on-get": with_headers(get("echo.query", X), content_type="text/plain"),
    "type-json-on-get": with_headers(get("echo.query", X), content_type=JSON),
    "type-multipart-on-get": with_headers(get("echo.query", X), content_type="multipart/form-data; boundary=x"),
    "type-octets-on-get": with_headers(get("echo.query", X), content_type="application/octet-stream"),
    "type-octets-on-put": post("echo.mutation", X, content_type="application/octet-stream", method="PUT"),
    "type-multipart": post("echo.mutation", "--x--\r\n", content_type="multipart/form-data; boundary=x"),
    "type-octets": post("echo.mutation", "abc", content_type="application/octet-stream"),
    "type-jsonl": post("echo.mutation", X, content_type="application/jsonl"),
}

PATHS: dict[str, Case] = {
    "path-unknown": get("no.such"),
    "path-unknown-post": post("no.such", X),
    "path-unknown-anonymous-malformed": post("no.such", "{", who=None),
    "path-empty": get(""),
    "path-router": get("attachments"),
    "path-final-dot": get("attachments."),
    "path-final-slash": get("echo.nothing/"),
    "path-two-final-slashes": get("echo.nothing//"),
    "path-first-slash": get("/echo.nothing"),
    "path-slash-inside": get("echo/nothing"),
    "path-case": get("Echo.Nothing"),
    "path-escaped": get("%65cho%2Enothing"),
    "path-escaped-slash": get("echo%2Fnothing"),
    "path-escaped-twice": get("%2565cho.nothing"),
    "path-escaped-comma-single": get("echo.nothing%2Cecho.nothing"),
    "path-comma-single": get("echo.nothing,echo.nothing"),
    "path-plus": get("echo+nothing"),
    "path-space": get("echo%20nothing"),
    "path-unicode": get("%C3%A9cho"),
    "path-bad-escape": get("echo.nothing%"),
    "path-bad-escape-digits": get("echo%zz"),
    "path-bad-utf8": get("%ff"),
    "path-overlong-utf8": get("%c0%80"),
    "path-encoded-surrogate": get("%ed%a0%80"),
    "path-nul": get("%00"),
    "path-bad-escape-anonymous": post("%", "{", who=None),
    "path-bad-escape-batch": get("echo.nothing,%", query="batch=1"),
    **{
        f"path-{name}": get(name)
        for name in ("__proto__", "constructor", "toString", "hasOwnProperty", "echo.__proto__", "echo.constructor", "_def")
    },
    "path-prototype-of-router": post("__proto__.toString", X),
    "path-call": get("echo.query.call"),
    "path-long": get("a" * 4000),
    "path-html": get("%3Cscript%3E"),
}

QUERIES: dict[str, Case] = {
    "query-plus-is-space": get("echo.query", query="input=%7B%22json%22:%22a+b%22%7D"),
    "query-escaped-plus": get("echo.query", query="input=%7B%22json%22:%22a%2Bb%22%7D"),
    "query-plus-in-name": get("echo.query", query="in+put=1&input=%7B%22json%22:1%7D"),
    "query-escaped-name": get("echo.query", query="%69nput=%7B%22json%22:1%7D"),
    "query-first-wins": get("echo.query", query="input=%7B%22json%22:1%7D&input=%7B%22json%22:2%7D"),
    "query-first-empty-wins": get("echo.query", query="input=&input=%7B%22json%22:2%7D"),
    "query-semicolon": get("echo.query", query="a=1;input=%7B%22json%22:1%7D"),
    "query-stray-percent": get("echo.query", query="input=%7B%22json%22:%22100%%22%7D"),
    "query-percent-letters": get("echo.query", query="input=%7B%22json%22:%22%zz%22%7D"),
    "query-decoded-once": get("echo.query", query="input=%7B%22json%22:%22%252C%22%7D"),
    "query-bad-utf8": get("echo.query", query="input=%7B%22json%22:%22%ff%22%7D"),
    "query-raw-braces": get("echo.query", query='input={"json":1}'),
    "query-raw-utf8": get("echo.query", query="input=%7B%22json%22:%22Ã©%22%7D"),
    "query-empty-parts": get("echo.query", query="&&input=%7B%22json%22:1%7D&"),
    "query-name-only": get("echo.query", query="input"),
    "query-equals-in-value": get("echo.query", query="input=%7B%22json%22:%22a=b%22%7D"),
    "query-other-case": get("echo.query", query="Input=%7B%22json%22:1%7D"),
    "query-question-mark-inside": get("echo.query", query="?input=%7B%22json%22:1%7D"),
    "query-input-on-mutation-ignored": post("echo.mutation", wrap("body"), query="input=%7B%22json%22:%22query%22%7D"),
    "query-input-on-post-query-ignored": post("echo.query", wrap("body"), query="input=%7B%22json%22:%22query%22%7D"),
    "query-bad-input-on-mutation-ignored": post("echo.mutation", wrap("body"), query="input=%7B"),
    "query-fragment": get("echo.query", query="input=%7B%22json%22:1%7D#fragment"),
    "query-connection-params": get("echo.nothing", query="connectionParams=%7B%22a%22:%22b%22%7D"),
    "query-connection-params-null": get("echo.nothing", query="connectionParams=null"),
    "query-connection-params-malformed": get("echo.nothing", query="connectionParams=%7B"),
    "query-connection-params-empty": get("echo.nothing", query="connectionParams="),
    "query-connection-params-numbers": get("echo.nothing", query="connectionParams=%7B%22a%22:1%7D"),
    "query-connection-params-array": get("echo.nothing", query="connectionParams=%5B%5D"),
    "query-connection-params-unknown-path": get("no.such", query="connectionParams=%7B"),
}

HEADERS: dict[str, Case] = {
    "accept-jsonl-not-batched": with_headers(get("echo.nothing"), accept="application/jsonl"),
    "accept-jsonl-with-others": with_headers(get("echo.nothing"), accept="text/html, application/jsonl , */*"),
    "accept-jsonl-quality": with_headers(get("echo.nothing"), accept="application/jsonl;q=1"),
    "accept-anything": with_headers(get("echo.nothing"), accept="*/*"),
    "accept-none-of-ours": with_headers(get("echo.nothing"), accept="image/png"),
    "trpc-accept-jsonl": with_headers(get("echo.nothing"), trpc_accept="application/jsonl"),
    "trpc-accept-other": with_headers(get("echo.nothing"), trpc_accept="text/html"),
    "trpc-accept-overrules-accept": with_headers(
        get("echo.nothing"), trpc_accept="application/json", accept="application/jsonl"
    ),
    "trpc-accept-upper-case": with_headers(get("echo.nothing"), trpc_accept="Application/JSONL"),
    "trpc-accept-jsonl-unknown-path": with_headers(get("no.such"), trpc_accept="application/jsonl"),
    "last-event-id": with_headers(get("echo.query", X), last_event_id="7"),
    "accept-encoding": with_headers(get("echo.query", X), accept_encoding="gzip, br"),
    "expect-continue": with_headers(post("echo.mutation", X), expect="100-continue"),
    "chunked-body": with_headers(
        post("echo.mutation", "6\r\n" + '{"json' + "\r\n4\r\n" + '":1}' + "\r\n0\r\n\r\n"), transfer_encoding="chunked"
    ),
    "chunked-empty-body": with_headers(post("echo.mutation", "0\r\n\r\n"), transfer_encoding="chunked"),
    "length-zero": with_headers(post("echo.mutation", ""), content_length="0"),
    "no-length": post("echo.mutation", None),
    "get-with-body": post("echo.query", wrap("body"), method="GET", query="input=%7B%22json%22:%22query%22%7D"),
    "get-with-malformed-body": post("echo.query", "{", method="GET"),
    "body-at-limit": post("echo.mutation", '{"json":"' + "a" * (MEBIBYTE - 11) + '"}'),
    "body-over-limit": post("echo.mutation", '{"json":"' + "a" * (MEBIBYTE - 10) + '"}'),
    "body-over-limit-query": post("echo.query", '{"json":"' + "a" * MEBIBYTE + '"}'),
    "body-over-limit-batch": post("echo.mutation,echo.mutation", '{"0":"' + "a" * MEBIBYTE + '"}', query="batch=1"),
    "body-over-limit-anonymous": post("attachments.delete", '{"json":"' + "a" * MEBIBYTE + '"}', who=None),
    "body-over-limit-unknown-path": post("no.such", '{"json":"' + "a" * MEBIBYTE + '"}'),
    "body-over-limit-no-input": post("echo.nothing", '{"json":"' + "a" * MEBIBYTE + '"}'),
}

CASES = {**METHODS, **CONTENT_TYPES, **PATHS, **QUERIES, **HEADERS}
