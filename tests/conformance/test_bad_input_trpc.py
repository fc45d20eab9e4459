"""Bad input to /api/trpc over a raw socket: the exact status and JSON of each, and a server that goes on.

Differences from @trpc/server on Node that are meant: JSON nested past Python's recursion limit is BAD_REQUEST, and a request
head past 64 KiB is 431 before any routing (Node: 16 KiB, without a body).
"""

import contextlib
import json
import socket
from collections.abc import Iterator, Mapping
from typing import Any
from unittest.mock import ANY
from urllib.parse import quote

import httpx
import pytest

from tests.conformance.answers import Answer
from tests.running import Attachd

ID = "01900000-0000-7000-8000-000000000000"
GET, LIST, DELETE = "attachments.get", "attachments.list", "attachments.delete"
LEVELS = 10_000
MAX_BODY_BYTES = 1_048_576
TIMEOUT_S = 20.0
CODES = {
    "BAD_REQUEST": (-32600, 400),
    "UNAUTHORIZED": (-32001, 401),
    "NOT_FOUND": (-32004, 404),
    "METHOD_NOT_SUPPORTED": (-32005, 405),
    "PAYLOAD_TOO_LARGE": (-32013, 413),
}
DEEP = "the JSON is nested too deeply"
TOO_LARGE = f"the body exceeds {MAX_BODY_BYTES} bytes (server.max_body_bytes)"
NOT_HTTP = b"Invalid HTTP request received."
HEAD_TOO_LARGE = {"error": {"code": "BAD_REQUEST", "message": "request line and headers exceed 65536 bytes"}}


Headers = Mapping[str, str | None]
NONE: Headers = {}
KEEP: Headers = {"connection": None}


class Wire:
    """A fresh connection to the server for each exchange."""

    def __init__(self, site: Attachd) -> None:
        self.address = ("127.0.0.1", httpx.URL(site.base_url).port)
        self.cookie = f"session={site.tokens['member']}"

    def request(self, target: str, body: bytes | None = None, headers: Headers = NONE) -> bytes:
        """The bytes of a request: a POST if it has a body. A header of None is left out."""
        given: dict[str, str | None] = {"host": "localhost", "cookie": self.cookie, "connection": "close"}
        if body is not None:
            given |= {"content-type": "application/json", "content-length": str(len(body))}
        given |= headers
        lines = [f"{'GET' if body is None else 'POST'} {target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in given.items() if value is not None]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")

    def exchange(self, *pieces: bytes, half_close: bool = False) -> list[Answer]:
        """All answers until the server closes the connection; each piece is sent when something answered the one before."""
        received = b""
        with socket.create_connection(self.address, TIMEOUT_S) as connection:
            for number, piece in enumerate(pieces):
                received += connection.recv(65_536) if number else b""
                # The server may answer and close before it has read everything.
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    connection.sendall(piece)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                while piece := connection.recv(65_536):
                    received += piece
        return list(answers(received))

    def ask(self, target: str, body: bytes | None = None, headers: Headers = NONE) -> Answer:
        """The one answer to one request."""
        (answer,) = self.exchange(self.request(target, body, headers))
        return answer


def answers(received: bytes) -> Iterator[Answer]:
    """The responses that the bytes hold, each with the length that it declares."""
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", len(rest)))
        assert len(rest) >= length, "the answer is cut short"
        yield Answer(int(first.split()[1]), headers, rest[:length])
        received = rest[length:]


def failure(code: str, path: str | None, message: Any = ANY) -> dict[str, Any]:
    """The error of a call; of the request as a whole when `path` is None."""
    number, status = CODES[code]
    data = {"code": code, "httpStatus": status} | ({} if path is None else {"path": path})
    return {"error": {"json": {"message": message, "code": number, "data": data}}}


def assert_failure(answer: Answer, code: str, path: str | None, message: Any = ANY) -> None:
    assert (answer.status, answer.json) == (CODES[code][1], failure(code, path, message))


@pytest.fixture
def wire(attachd: Attachd) -> Iterator[Wire]:
    """The wire; after the test the server must answer others as before."""
    wire = Wire(attachd)
    yield wire
    assert wire.ask("/healthz").status == 200
    assert_failure(wire.ask(f"/api/trpc/{GET}?input={quote(json.dumps({'id': ID}))}"), "NOT_FOUND", GET)


NESTED = "[" * LEVELS + "]" * LEVELS
DEEP_INPUTS = {
    "array": NESTED,
    "unclosed": "[" * LEVELS,
    "objects": '{"a":' * LEVELS + "1" + "}" * LEVELS,
    "id": f'{{"id":{NESTED}}}',
    "wrapped": f'{{"json":{NESTED}}}',
    "ignored-member": f'{{"id":"{ID}","ignored":{NESTED}}}',
    "annotations": f'{{"json":{{"id":"{ID}"}},"meta":{{"values":{NESTED}}}}}',
}


@pytest.mark.parametrize("text", DEEP_INPUTS.values(), ids=DEEP_INPUTS.keys())
def test_json_nested_10000_levels(wire: Wire, text: str) -> None:
    assert_failure(wire.ask(f"/api/trpc/{DELETE}", text.encode()), "BAD_REQUEST", DELETE, DEEP)
    assert_failure(wire.ask(f"/api/trpc/{GET}?input={text}"), "BAD_REQUEST", GET, DEEP)
    batch = wire.ask(f"/api/trpc/{GET},{GET}?batch=1", f'{{"0":{{"id":"{ID}"}},"1":{text}}}'.encode())
    assert (batch.status, batch.json) == (400, [failure("BAD_REQUEST", GET, DEEP)] * 2)


def test_query_of_5_mib(wire: Wire) -> None:
    answer = wire.ask(f"/api/trpc/{GET}?input=" + "a" * 5 * 1024 * 1024)
    assert (answer.status, answer.json) == (431, HEAD_TOO_LARGE)


def test_query_just_below_the_limit_of_a_head(wire: Wire) -> None:
    assert_failure(wire.ask(f"/api/trpc/{GET}?input=" + "a" * 60_000), "BAD_REQUEST", GET)


def test_headers_past_their_limit(wire: Wire) -> None:
    many: Headers = {f"x-{number}": "y" for number in range(10_000)}
    for headers in (many, {"x": "y" * 100_000}, {"cookie": "session=" + "y" * 100_000}):
        answer = wire.ask(f"/api/trpc/{GET}", None, headers)
        assert (answer.status, answer.json) == (431, HEAD_TOO_LARGE)


@pytest.mark.parametrize("path", ["a", "", "attachments", "."])
@pytest.mark.parametrize("body", [None, b"{}"], ids=["GET", "POST"])
def test_batch_of_10000(wire: Wire, path: str, body: bytes | None) -> None:
    paths = ",".join([path] * (5000 if path == "attachments" else 10_000))
    assert_failure(wire.ask(f"/api/trpc/{paths}?batch=1", body), "BAD_REQUEST", None, "Batch call exceeds maximum size")
    assert_failure(wire.ask(f"/api/trpc/{paths}", body), "NOT_FOUND", paths, f'No procedure found on path "{paths}"')


def test_batch_of_10000_gets_exceeds_the_head(wire: Wire) -> None:
    answer = wire.ask(f"/api/trpc/{','.join([GET] * 10_000)}?batch=1")
    assert (answer.status, answer.json) == (431, HEAD_TOO_LARGE)


def test_10000_inputs_for_one_call(wire: Wire) -> None:
    inputs = json.dumps({str(number): {"id": ID} for number in range(10_000)}).encode()
    answer = wire.ask(f"/api/trpc/{GET}?batch=1", inputs)
    assert (answer.status, answer.json) == (404, [failure("NOT_FOUND", GET, f'attachment "{ID}" not found')])


PROTOTYPES = [
    *("__proto__", "constructor", "prototype", "toString", "hasOwnProperty", "__proto__.__proto__", "__class__", "__init__"),
    *(
        "attachments",
        "attachments.",
        "attachments.__proto__",
        "attachments.constructor",
        "attachments.get.call",
        "_def",
        "then",
    ),
]


@pytest.mark.parametrize("path", PROTOTYPES)
def test_prototype_as_path(wire: Wire, path: str) -> None:
    message = f'No procedure found on path "{path}"'
    for body in (None, b"{}"):
        assert_failure(wire.ask(f"/api/trpc/{path}", body), "NOT_FOUND", path, message)
    batch = wire.ask(f"/api/trpc/{path},{GET}?batch=1", json.dumps({"1": {"id": ID}}).encode())
    assert (batch.status, batch.json) == (404, [failure("NOT_FOUND", path, message), failure("NOT_FOUND", GET)])


ANNOTATED = f'{{"json":{{"id":"{ID}","a":"1"}},"meta":{{%s}}}}'
MALFORMED, FOUND = "BAD_REQUEST", "NOT_FOUND"  # the second: the input was understood, there is only no such attachment


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param(f'{{"__proto__":{{"id":"{ID}"}}}}', MALFORMED, id="proto-instead-of-id"),
        pytest.param(f'{{"constructor":{{"prototype":{{"id":"{ID}"}}}}}}', MALFORMED, id="constructor-instead-of-id"),
        pytest.param(f'{{"id":"{ID}","__proto__":{{"role":"admin"}},"constructor":{{"prototype":{{}}}}}}', FOUND, id="ignored"),
        pytest.param(f'{{"json":{{"id":"{ID}","__proto__":{{"role":"admin"}}}}}}', FOUND, id="wrapped-ignored"),
        pytest.param('{"id":"__proto__"}', MALFORMED, id="as-id"),
        pytest.param('{"json":"__proto__"}', MALFORMED, id="as-input"),
        *(
            pytest.param(ANNOTATED % f'"values":{{"{path}":["Date"]}}', MALFORMED, id=f"annotate-{path}")
            for path in ("__proto__", "__proto__.id", "constructor.prototype", "a.__proto__", "prototype")
        ),
        pytest.param(ANNOTATED % '"referentialEqualities":{"id":["__proto__.id"]}', MALFORMED, id="equal-to-proto"),
    ],
)  # fmt: skip
def test_prototype_as_key(wire: Wire, text: str, code: str) -> None:
    message = f'attachment "{ID}" not found' if code == FOUND else ANY
    assert_failure(wire.ask(f"/api/trpc/{DELETE}", text.encode()), code, DELETE, message)
    assert_failure(wire.ask(f"/api/trpc/{GET}?input={quote(text)}"), code, GET, message)
    batch = wire.ask(f"/api/trpc/{GET}?batch=1", f'{{"__proto__":{text},"0":{text}}}'.encode())
    assert (batch.status, batch.json) == (CODES[code][1], [failure(code, GET, message)])


def test_prototype_as_query_parameter(wire: Wire) -> None:
    answer = wire.ask(f"/api/trpc/{GET}?__proto__=1&constructor=2&batch%5B%5D=1&input={quote(json.dumps({'id': ID}))}")
    assert_failure(answer, "NOT_FOUND", GET)


@pytest.mark.parametrize("path", ["%FF", "%C3%28", "%E0%80%80", "%ED%A0%80", "%", "a%2", "%zz", f"{GET}%FF"])
def test_invalid_escapes_in_the_path(wire: Wire, path: str) -> None:
    for query in ("", "?batch=1"):
        assert_failure(wire.ask(f"/api/trpc/{path}{query}"), "BAD_REQUEST", None, f'Invalid URL-encoding in path "{path}"')


@pytest.mark.parametrize("path", ["%00", "%F0%9F%92%A5", "a%0D%0Ab", "%22%5C", "%E2%80%AE"])
def test_strange_but_valid_paths(wire: Wire, path: str) -> None:
    decoded = httpx.URL(f"http://x/?p={path}").params["p"]
    assert_failure(wire.ask(f"/api/trpc/{path}"), "NOT_FOUND", decoded, f'No procedure found on path "{decoded}"')


INVALID_UTF8 = {
    "id": b'{"id":"\xff\xfe"}',
    "key": b'{"\xff":1}',
    "bare": b"\xff\xfe",
    "truncated": b'{"id":"\xf0\x9f',
    "surrogate": b'{"id":"\xed\xa0\x80"}',
    "escaped-surrogate": b'{"id":"\\ud800"}',
    "utf-16": '{"id":"x"}'.encode("utf-16"),
    "nul": b'{"id":"\0"}',
    "nul-only": b"\0",
}


@pytest.mark.parametrize("text", INVALID_UTF8.values(), ids=INVALID_UTF8.keys())
def test_invalid_utf8(wire: Wire, text: bytes) -> None:
    assert_failure(wire.ask(f"/api/trpc/{DELETE}", text), "BAD_REQUEST", DELETE)
    assert_failure(wire.ask(f"/api/trpc/{GET}?input={quote(text)}"), "BAD_REQUEST", GET)
    batch = wire.ask(f"/api/trpc/{GET}?batch=1", b'{"0":' + text + b"}")
    assert (batch.status, batch.json) == (400, [failure("BAD_REQUEST", GET)])


def test_bytes_outside_ascii_in_the_cookie(wire: Wire) -> None:
    assert_failure(wire.ask(f"/api/trpc/{GET}", None, {"cookie": "session=\xff\xfe"}), "UNAUTHORIZED", GET)


def chunked(body: bytes, size: int = 65_536) -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def padded(size: int) -> bytes:
    return json.dumps({"id": ID}).encode().ljust(size)


CHUNKED: Headers = {"content-length": None, "transfer-encoding": "chunked"}


@pytest.mark.parametrize(("encode", "headers"), [(bytes, {}), (chunked, CHUNKED)], ids=["sized", "chunked"])
def test_body_limit(wire: Wire, encode: Any, headers: Headers) -> None:
    def ask(path: str, size: int, more: Headers = NONE) -> Answer:
        request = wire.request(f"/api/trpc/{path}", b"", {"content-length": str(size), **headers, **more})
        (answer,) = wire.exchange(request + encode(padded(size)))
        return answer

    assert_failure(ask(DELETE, MAX_BODY_BYTES), "NOT_FOUND", DELETE, f'attachment "{ID}" not found')
    assert_failure(ask(DELETE, MAX_BODY_BYTES + 1), "PAYLOAD_TOO_LARGE", DELETE, TOO_LARGE)
    assert_failure(ask(DELETE, 8 * MAX_BODY_BYTES), "PAYLOAD_TOO_LARGE", DELETE, TOO_LARGE)
    assert_failure(ask(DELETE, MAX_BODY_BYTES + 1, {"cookie": None}), "UNAUTHORIZED", DELETE)
    assert_failure(ask("nope", MAX_BODY_BYTES + 1), "NOT_FOUND", "nope", 'No procedure found on path "nope"')
    batch = ask(f"{GET},nope,{GET}?batch=1", MAX_BODY_BYTES + 1)
    too_large = failure("PAYLOAD_TOO_LARGE", GET, TOO_LARGE)
    assert (batch.status, batch.json) == (207, [too_large, failure("NOT_FOUND", "nope"), too_large])


@pytest.mark.parametrize("length", ["1048577", "10737418240", "9223372036854775807"])
def test_declared_length_past_the_limit_is_refused_unread(wire: Wire, length: str) -> None:
    assert_failure(wire.ask(f"/api/trpc/{DELETE}", b"", {"content-length": length}), "PAYLOAD_TOO_LARGE", DELETE, TOO_LARGE)


def test_length_shorter_than_the_body(wire: Wire) -> None:
    """What is left over would be the next request, and is none: the connection is refused as a whole."""
    (answer,) = wire.exchange(wire.request(f"/api/trpc/{DELETE}", padded(100), {"content-length": "5", "connection": None}))
    assert (answer.status, answer.body) == (400, NOT_HTTP)


def test_length_longer_than_the_body(wire: Wire) -> None:
    """The client goes away in the midst of its request: nobody is left to answer."""
    assert wire.exchange(wire.request(f"/api/trpc/{DELETE}", padded(100), {"content-length": "200"}), half_close=True) == []


@pytest.mark.parametrize(
    "headers",
    [
        {"content-length": "-1"},
        {"content-length": "abc"},
        {"content-length": "0x10"},
        {"content-length": "1, 2"},
        {"content-length": "99999999999999999999999999"},
        {"content-length": "5\r\ncontent-length: 6"},
        {"content-length": "5", "transfer-encoding": "chunked"},
        {"content-length": None, "transfer-encoding": "chunked, identity"},
    ],
    ids=str,
)
def test_lengths_that_are_none(wire: Wire, headers: Headers) -> None:
    (answer,) = wire.exchange(wire.request(f"/api/trpc/{DELETE}", b"", headers) + b"{}   ")
    assert (answer.status, answer.body) == (400, NOT_HTTP)


@pytest.mark.parametrize(
    "body", [b"zz\r\n{}\r\n0\r\n\r\n", b"-2\r\n{}\r\n0\r\n\r\n", b"2\r\n{}{}\r\n0\r\n\r\n", b"fffffffffffffffff\r\n"]
)
def test_broken_chunks(wire: Wire, body: bytes) -> None:
    (answer,) = wire.exchange(wire.request(f"/api/trpc/{DELETE}", b"", CHUNKED) + body)
    assert (answer.status, answer.body) == (400, NOT_HTTP)


def test_pipelined_requests_are_answered_in_order(wire: Wire) -> None:
    paths = [f"nope{number}" for number in range(50)]
    requests = [wire.request(f"/api/trpc/{path}", headers=NONE if path == paths[-1] else KEEP) for path in paths]
    assert [answer.json for answer in wire.exchange(b"".join(requests))] == [failure("NOT_FOUND", path) for path in paths]


JUNK = {
    "zeros": bytes(200),
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200)),
    "line": b"junk junk junk\r\n\r\n",
    "version": b"GET / HTTP/9.9\r\n\r\n",
    "no-version": b"GET /api/trpc/x y z\r\n\r\n",
    "header": b"GET / HTTP/1.1\r\nhost localhost\r\n\r\n",
    "nul-header": b"GET / HTTP/1.1\r\nhost: a\0b\r\n\r\n",
    "method": b"G\xc3\xa9T / HTTP/1.1\r\nhost: x\r\n\r\n",
}


@pytest.mark.parametrize("junk", JUNK.values(), ids=JUNK.keys())
def test_junk(wire: Wire, junk: bytes) -> None:
    (answer,) = wire.exchange(junk)
    assert (answer.status, answer.body) == (400, NOT_HTTP)


@pytest.mark.parametrize("junk", JUNK.values(), ids=JUNK.keys())
def test_junk_behind_a_request(wire: Wire, junk: bytes) -> None:
    """In one piece with the request it spoils both; once the request is answered, the answer stands."""
    request = wire.request("/api/trpc/nope", headers=KEEP)
    (answer,) = wire.exchange(request + junk)
    assert (answer.status, answer.body) == (400, NOT_HTTP)
    first, second = wire.exchange(request, junk)
    assert_failure(first, "NOT_FOUND", "nope")
    assert (second.status, second.body) == (400, NOT_HTTP)
