"""Reading tRPC requests: the pure core, fed tables and anything at all."""

from collections.abc import AsyncIterator, Callable, Mapping

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from procedures import Context, Procedure, Router
from schemas import Code, ServiceError
from server.trpc.requests import (
    Inputs,
    Request,
    Rules,
    check_call,
    parse_query,
    parse_request,
    query_inputs,
    refused_method,
    resumed,
    wants_jsonl,
)

RULES = Rules(max_batch_size=5)
JSON = {b"content-type": b"application/json"}


def find(path: str) -> Procedure | None:
    """The procedure of a small map: a query `q` and a mutation `m`."""
    return PROCEDURES.get(path)


def _procedures() -> Router:
    router = Router()

    @router.query(name="q")
    async def query(ctx: Context) -> None: ...

    @router.mutation(name="m")
    async def mutation(ctx: Context) -> None: ...

    @router.subscription(name="s")
    async def subscription(ctx: Context) -> AsyncIterator[None]:
        yield None

    return router


PROCEDURES = _procedures().freeze()


def parse(method: str, path: bytes, query: bytes = b"", headers: Mapping[bytes, bytes] | None = None) -> Request:
    """The request, with the rules of this module."""
    return parse_request(method, path, query, headers or {}, find, RULES)


def paths(request: Request) -> list[str]:
    """What it calls."""
    return [path for path, _ in request.calls]


@pytest.mark.parametrize(
    ("path", "query", "expected"),
    [
        pytest.param(b"q", b"", ["q"], id="single"),
        pytest.param(b"a,b", b"", ["a,b"], id="no-batch-is-one-path"),
        pytest.param(b"q,q", b"batch=1", ["q", "q"], id="batch"),
        pytest.param(b"q", b"batch=1", ["q"], id="batch-of-one"),
        pytest.param(b"q%2Cq", b"batch=1", ["q", "q"], id="decoded-then-split"),
        pytest.param(b"q,", b"batch=1", ["q", ""], id="trailing-comma"),
        pytest.param(b"q,q", b"batch=2", ["q,q"], id="only-1-is-batch"),
        pytest.param(b"q,q", b"batch=%31", ["q", "q"], id="encoded-1"),
        pytest.param(b"q,q", b"batch=0&batch=1", ["q,q"], id="first-wins"),
        pytest.param(b"q+r", b"", ["q+r"], id="plus-is-plus"),
        pytest.param(b"%71", b"", ["q"], id="escapes"),
        pytest.param(b"%25", b"", ["%"], id="percent"),
        pytest.param(b"%C3%A4", b"", ["ä"], id="utf-8"),
    ],
)
def test_paths(path: bytes, query: bytes, expected: list[str]) -> None:
    assert paths(parse("GET", path, query)) == expected


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "code", "message"),
    [
        pytest.param("GET", b"%", b"", {}, Code.BAD_REQUEST, 'Invalid URL-encoding in path "%"', id="stray-percent"),
        pytest.param("GET", b"%zz", b"", {}, Code.BAD_REQUEST, 'Invalid URL-encoding in path "%zz"', id="no-hex"),
        pytest.param("GET", b"%C3", b"", {}, Code.BAD_REQUEST, 'Invalid URL-encoding in path "%C3"', id="bad-utf-8"),
        pytest.param(
            "POST", b"%", b"", {}, Code.BAD_REQUEST, 'Invalid URL-encoding in path "%"', id="path-before-content-type"
        ),
        pytest.param("POST", b"q", b"", {}, Code.UNSUPPORTED_MEDIA_TYPE, "Missing content-type header", id="no-type"),
        pytest.param("PUT", b"q", b"", {}, Code.UNSUPPORTED_MEDIA_TYPE, "Missing content-type header", id="put"),
        pytest.param(
            *("POST", b"q", b"", {b"content-type": b"text/plain; a=b"}, Code.UNSUPPORTED_MEDIA_TYPE),
            'Unsupported content-type "text/plain; a=b',
            id="text",
        ),
        pytest.param(
            *("GET", b"q", b"", {b"content-type": b"multipart/form-data"}, Code.METHOD_NOT_SUPPORTED),
            "Only POST requests are supported for multipart/form-data requests",
            id="get-form",
        ),
        pytest.param(
            *("PUT", b"q", b"", {b"content-type": b"Application/Octet-Stream"}, Code.METHOD_NOT_SUPPORTED),
            "Only POST requests are supported for application/octet-stream requests",
            id="put-bytes",
        ),
        pytest.param(
            "GET", b"q,q,q,q,q,q", b"batch=1", {}, Code.BAD_REQUEST, "Batch call exceeds maximum size", id="batch-of-6"
        ),
        pytest.param(
            "GET", b"q,m", b"batch=1", {}, Code.BAD_REQUEST, "Cannot mix procedure types in call: query, mutation", id="mix"
        ),
        pytest.param(
            "GET", b"q", b"connectionParams=%7B", {}, Code.PARSE_ERROR, "Not JSON-parsable query params", id="params-json"
        ),
        pytest.param(
            "GET", b"q", b"connectionParams=[]", {}, Code.PARSE_ERROR, "Invalid connection params shape", id="params-shape"
        ),
        pytest.param(
            *("GET", b"q", b'connectionParams={"a":1}', {}, Code.PARSE_ERROR),
            "Invalid connection params shape",
            id="params-number",
        ),
        pytest.param(
            *("GET", b"q", b"", {b"trpc-accept": b"application/jsonl"}, Code.BAD_REQUEST),
            "Streaming requests must be batched (you can do a batch of 1)",
            id="jsonl",
        ),
    ],
)
def test_requests_that_fail_as_a_whole(
    method: str, path: bytes, query: bytes, headers: dict[bytes, bytes], code: Code, message: str
) -> None:
    with pytest.raises(ServiceError) as caught:
        parse(method, path, query, headers)
    assert (caught.value.code, caught.value.message) == (code, message)


@pytest.mark.parametrize(
    ("method", "path", "query", "headers"),
    [
        pytest.param("GET", b"q,q,q,q,q", b"batch=1", {}, id="batch-of-5"),
        pytest.param("GET", b"q,x,q", b"batch=1", {}, id="unknown-mixes-with-all"),
        pytest.param("GET", b"q", b"", {b"content-type": b"text/html"}, id="get-ignores-foreign-types"),
        pytest.param("POST", b"q", b"", {b"content-type": b"APPLICATION/json ;charset=latin-1"}, id="parameters-and-case"),
        pytest.param("GET", b"q", b"connectionParams=null", {}, id="null-params"),
        pytest.param("GET", b"q", b'connectionParams={"a":"1"}', {}, id="params"),
        pytest.param("GET", b"q", b"batch=1", {b"trpc-accept": b"application/jsonl"}, id="batched-jsonl"),
        pytest.param("GET", b"q", b"", {b"accept": b"application/jsonl;q=1"}, id="a-weighted-token-is-no-match"),
        pytest.param("PUT", b"q", b"", JSON, id="a-wrong-method-is-the-call's-failure"),
    ],
)
def test_requests_that_are_taken(method: str, path: bytes, query: bytes, headers: dict[bytes, bytes]) -> None:
    assert parse(method, path, query, headers).method == method


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        pytest.param({}, False, id="none"),
        pytest.param({b"accept": b"text/html, application/jsonl"}, True, id="token"),
        pytest.param({b"accept": b"application/jsonlines"}, False, id="prefix"),
        pytest.param({b"trpc-accept": b"application/json", b"accept": b"application/jsonl"}, False, id="trpc-accept-wins"),
    ],
)
def test_who_wants_json_lines(headers: dict[bytes, bytes], expected: bool) -> None:
    assert wants_jsonl(headers) is expected


@pytest.mark.parametrize(
    ("method", "path", "override", "expected"),
    [
        pytest.param("GET", "q", True, None, id="get-query"),
        pytest.param("POST", "q", True, None, id="post-query-overridden"),
        pytest.param("POST", "q", False, Code.METHOD_NOT_SUPPORTED, id="post-query"),
        pytest.param("POST", "m", False, None, id="post-mutation"),
        pytest.param("GET", "m", True, Code.METHOD_NOT_SUPPORTED, id="get-mutation"),
        pytest.param("PUT", "m", True, Code.METHOD_NOT_SUPPORTED, id="put"),
        pytest.param("PUT", "x", True, Code.NOT_FOUND, id="unknown-before-method"),
        pytest.param("GET", "", True, Code.NOT_FOUND, id="empty"),
    ],
)
def test_which_method_calls_what(method: str, path: str, override: bool, expected: Code | None) -> None:
    rules = Rules(method_override=override)
    if expected is None:
        assert check_call(method, path, find(path), rules).path == path
        return
    with pytest.raises(ServiceError) as caught:
        check_call(method, path, find(path), rules)
    assert caught.value.code is expected


def test_the_words_of_a_wrong_method() -> None:
    with pytest.raises(ServiceError, match=r'^Unsupported GET-request to mutation procedure at path "m"$'):
        check_call("GET", "m", find("m"), RULES)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param(b"", {}, id="empty"),
        pytest.param(b"a=1&b=2", {b"a": b"1", b"b": b"2"}, id="two"),
        pytest.param(b"a=1&a=2", {b"a": b"1"}, id="first-wins"),
        pytest.param(b"a=1;b=2", {b"a": b"1;b=2"}, id="semicolon"),
        pytest.param(b"&&a&=x&", {b"a": b"", b"": b"x"}, id="empty-parts"),
        pytest.param(b"%61+b=c%2B+", {b"a b": b"c%2B+"}, id="names-are-decoded-values-not-yet"),
        pytest.param(b"a=b=c", {b"a": b"b=c"}, id="equals-in-value"),
    ],
)
def test_query_parameters(query: bytes, expected: dict[bytes, bytes]) -> None:
    assert parse_query(query) == expected


UNDEFINED = msgspec.UNSET


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param(b"", UNDEFINED, id="none"),
        pytest.param(b"input=", UNDEFINED, id="empty"),
        pytest.param(b"input=%7B%22a%22%3A1%7D", {"a": 1}, id="bare"),
        pytest.param(b"input=%7B%22json%22%3A%7B%22a%22%3A1%7D%7D", {"a": 1}, id="wrapped"),
        pytest.param(b'input={"a":"b+c"}', {"a": "b c"}, id="plus-is-space"),
        pytest.param(b'input={"a":"%252C"}', {"a": "%2C"}, id="decoded-once"),
        pytest.param(b'input={"a":"100%"}', {"a": "100%"}, id="stray-percent"),
        pytest.param(b"input=1&input=2", 1, id="first-wins"),
        pytest.param(b"input=null", None, id="null"),
        pytest.param(b"input=\xef\xbb\xbf1", 1, id="byte-order-mark"),
        pytest.param(b'input="\xff"', "\ufffd", id="invalid-utf-8-is-replaced"),
        pytest.param(b"input=" + b"9" * 5000, float("inf"), id="thousands-of-digits"),
    ],
)
def test_input_of_a_query(query: bytes, expected: object) -> None:
    assert query_inputs(parse("GET", b"q", query)).of(0) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(b"", [UNDEFINED, UNDEFINED], id="empty"),
        pytest.param(b"{}", [UNDEFINED, UNDEFINED], id="sparse"),
        pytest.param(b'{"1":{"json":2},"0":1}', [1, 2], id="by-index"),
        pytest.param(b'{"00":1,"1 ":2,"2":3,"-0":4}', [UNDEFINED, UNDEFINED], id="keys-are-exact"),
        pytest.param(b'{"0":null}', [None, UNDEFINED], id="null-is-not-missing"),
        pytest.param(b'{"0":1,"__proto__":{"1":2}}', [1, UNDEFINED], id="prototype-is-a-name"),
    ],
)
def test_inputs_of_a_batch(text: bytes, expected: list[object]) -> None:
    inputs = Inputs(text, is_batch=True, count=2)
    assert [inputs.of(0), inputs.of(1)] == expected


@pytest.mark.parametrize("text", [b"[1,2]", b"1", b"null", b'"a"', b"{", b"{}x", b"[NaN]", b"Infinity", b"-Infinity", b"\0"])
def test_a_batch_needs_an_object(text: bytes) -> None:
    inputs = Inputs(text, is_batch=True, count=2)
    for index in range(2):
        with pytest.raises(ServiceError) as caught:
            inputs.of(index)
        assert caught.value.code is Code.BAD_REQUEST


def test_one_entry_that_cannot_be_read_fails_the_whole_batch() -> None:
    inputs = Inputs(b'{"0":{"json":1},"1":{"json":1,"meta":{"values":["nonsense"]}}}', is_batch=True, count=2)
    with pytest.raises(ServiceError):
        inputs.of(0)


def test_deep_nesting_is_a_clear_error() -> None:
    with pytest.raises(ServiceError) as caught:
        Inputs(b"[" * 10_000 + b"]" * 10_000, is_batch=False, count=1).of(0)
    assert (caught.value.code, caught.value.message) == (Code.BAD_REQUEST, "the JSON is nested too deeply")


def test_a_body_that_could_not_be_read_fails_each_call_that_asks() -> None:
    error = ServiceError(Code.PAYLOAD_TOO_LARGE, "too large")
    with pytest.raises(ServiceError) as caught:
        Inputs(error, is_batch=False, count=1).of(0)
    assert caught.value is error


@pytest.mark.parametrize(
    ("path", "query", "headers", "answer"),
    [
        pytest.param(b"q", b"", {}, "json", id="query"),
        pytest.param(b"s", b"", {}, "sse", id="subscription"),
        pytest.param(b"s", b"", {b"accept": b"application/json"}, "sse", id="whatever-is-accepted"),
        pytest.param(b"s,s", b"batch=1", {}, "json", id="batch-of-subscriptions"),
        pytest.param(b"s", b"batch=1", {}, "json", id="batch-of-one-subscription"),
        pytest.param(b"q,q", b"batch=1", {b"trpc-accept": b"application/jsonl"}, "jsonl", id="json-lines"),
        pytest.param(b"s", b"batch=1", {b"trpc-accept": b"application/jsonl"}, "jsonl", id="json-lines-of-subscriptions"),
        pytest.param(b"nope", b"", {}, "json", id="unknown"),
    ],
)
def test_the_form_of_the_answer(path: bytes, query: bytes, headers: dict[bytes, bytes], answer: str) -> None:
    assert parse("GET", path, query, headers).answer == answer


@pytest.mark.parametrize(
    ("method", "path", "query", "allow"),
    [
        pytest.param("GET", b"q", b"batch=1", b"", id="right"),
        pytest.param("GET", b"m,m", b"batch=1", b"POST", id="mutation-by-get"),
        pytest.param("GET", b"nope,m", b"batch=1", b"POST", id="behind-an-unknown-one"),
        pytest.param("PUT", b"q", b"batch=1", b"GET, POST", id="query-by-put"),
        pytest.param("PUT", b"nope", b"batch=1", b"", id="unknown"),
        pytest.param("POST", b"s,s", b"batch=1", b"", id="refused-for-another-reason"),
    ],
)
def test_what_a_stream_says_of_the_method(method: str, path: bytes, query: bytes, allow: bytes) -> None:
    assert refused_method(parse(method, path, query, JSON), RULES) == allow


@given(
    st.one_of(st.none(), st.binary()), st.binary(), st.one_of(st.none(), st.integers(), st.dictionaries(st.text(), st.none()))
)
def test_any_bytes_are_a_last_event_id(header: bytes | None, query: bytes, input: object) -> None:
    headers = {} if header is None else {b"last-event-id": header}
    id = parse("GET", b"s", b"lastEventId=" + query, headers).last_event_id
    assert id is None or (id and (header is None or id == header.strip(b" \t").decode("utf-8", "replace")))
    merged = resumed(input, id)
    assert merged == input if id is None or isinstance(input, int) else merged["lastEventId"] == id


METHODS = st.sampled_from(["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
TYPES = st.one_of(st.none(), st.just(b"application/json"), st.binary(max_size=30))
QUERIES = st.one_of(st.binary(), st.builds(lambda value: b"batch=1&input=" + value, st.binary()))


def code_of(read: Callable[[], object]) -> Code | None:
    """The code of the error, None if there is none; whatever else is raised fails the test."""
    try:
        read()
    except ServiceError as error:
        return error.code
    return None


@given(METHODS, st.binary(), QUERIES, TYPES)
def test_any_bytes_give_a_request_or_an_error(method: str, path: bytes, query: bytes, content_type: bytes | None) -> None:
    headers = {} if content_type is None else {b"content-type": content_type}
    code = code_of(lambda: query_inputs(parse(method, path, query, headers)).of(0))
    assert code is None or code.http_status < 500


@given(st.binary(), st.booleans())
def test_any_bytes_are_an_input_or_an_error(text: bytes, is_batch: bool) -> None:
    assert code_of(lambda: Inputs(text, is_batch, 3).of(1)) in {None, Code.BAD_REQUEST}
