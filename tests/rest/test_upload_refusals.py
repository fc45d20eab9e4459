"""Bad uploads: each answered with exactly this status and body, and nothing left in the folder."""

import logging
import re
import time

import pytest

from rest import exchanges
from rest.exchanges import LINGER_IDLE_S
from rest.multipart import DEFAULT_LIMITS
from storage import API_A
from tests.rest.live import (
    BOUNDARY,
    IDLE_TIMEOUT_S,
    PATIENT_S,
    PNG,
    Answer,
    Client,
    Server,
    error,
    eventually,
    form,
    part,
    read_answer,
)

BAD, TYPE, LARGE = (400, "BAD_REQUEST"), (415, "INVALID_ATTACHMENT_TYPE"), (413, "ATTACHMENT_TOO_LARGE")
MAX_BODY = API_A.max_bytes + DEFAULT_LIMITS.envelope_bytes
TOO_MUCH = f"the request exceeds {MAX_BODY} bytes, the largest file that is allowed and its form"
NO_NAME = "the file has no name: send one in the part's filename parameter"
CONTROLS = "the file name has control or text-direction characters: remove them"
SLASH = "the file name has a slash or backslash: send the name without its folders"
ALLOWED = ", ".join(API_A.types)
GRAMMAR = (
    "the body is malformed: a boundary is not followed by a line end, or a part's header is not `name: value` "
    "of at most 8192 bytes"
)
NOT_TEXT = '"a.txt" claims to be text, but holds bytes that no text has (save it as UTF-8)'
DISPOSITION = "a part lacks the header `Content-Disposition: form-data; name=…`"
EXECUTABLE = b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff" + bytes(200)

FORMS = [
    # What the form holds
    pytest.param(form(), BAD, 'the form has no file: send it in the field "file" or "files"', id="no part"),
    pytest.param(
        form(part(b"x", name="other")), BAD, 'the form has no file: send it in the field "file" or "files"', id="no file"
    ),
    pytest.param(form(part(PNG, name="file")), BAD, "the field file has no file name: send it as a file", id="file as text"),
    pytest.param(
        form(part(PNG, "a.png"), part(PNG, "b.png")), BAD, "the form has more than one file: send one a request", id="two"
    ),
    pytest.param(
        form(part(PNG, "a.png"), part(PNG, "b.png", name="files")),
        BAD,
        "the form has more than one file: send one a request",
        id="file and files",
    ),
    pytest.param(
        form(part(PNG, "a.png", name="avatar")),
        BAD,
        'a file came in the field "avatar": send it in "file" or "files"',
        id="another field",
    ),
    pytest.param(form(part(b"", "a.png")), BAD, "the file is empty", id="empty file"),
    pytest.param(form(part(b"", "")), BAD, NO_NAME, id="empty input of a browser"),
    pytest.param(form(part(PNG, "a.png"), part(b"1", name="ticketId")), BAD, "ticketId must be a UUID", id="field is no UUID"),
    pytest.param(
        form(part(b"", name="conversationId"), part(PNG, "a.png")), BAD, "conversationId must be a UUID", id="field is empty"
    ),
    pytest.param(
        form(part(b"", name="ticketId"), part(b"", name="ticketId")), BAD, "the form has ticketId twice", id="field twice"
    ),
    pytest.param(
        form(part(b"eA==", "a.txt", headers=b"Content-Transfer-Encoding: base64\r\n")),
        BAD,
        "Content-Transfer-Encoding is not supported: send the file's bytes as they are",
        id="encoded part",
    ),
    # Names
    pytest.param(form(part(PNG, "   ")), BAD, NO_NAME, id="blank name"),
    pytest.param(form(part(PNG, "..")), BAD, NO_NAME, id="dots"),
    pytest.param(
        form(part(PNG, "n" * 996 + ".png")), BAD, "the file name exceeds 255 bytes: shorten it", id="1,000 characters"
    ),
    pytest.param(form(part(PNG, "ä" * 126 + ".png")), BAD, "the file name exceeds 255 bytes: shorten it", id="256 bytes"),
    pytest.param(form(part(PNG, "../../x.png")), BAD, SLASH, id="path"),
    pytest.param(form(part(PNG, "/etc/x.png")), BAD, SLASH, id="absolute path"),
    pytest.param(form(part(PNG, r"a\b.png")), BAD, SLASH, id="backslash"),
    pytest.param(form(part(PNG, r"C:\fakepath\x.png")), BAD, SLASH, id="Windows path"),
    pytest.param(form(part(PNG, "a\0.png")), BAD, CONTROLS, id="NUL"),
    pytest.param(form(part(PNG, "a%0D%0Ab.png")), BAD, CONTROLS, id="line end"),
    pytest.param(form(part(PNG, "a\u202egnp.exe")), BAD, CONTROLS, id="RTL override"),
    pytest.param(
        form(part(PNG, "a.png")).replace(b"a.png", b"\xff.png"), BAD, "field and file names must be UTF-8", id="not UTF-8"
    ),
    # Types
    pytest.param(form(part(b"x", "a.exe")), TYPE, f'extension ".exe" is not allowed; allowed are {ALLOWED}', id="extension"),
    pytest.param(form(part(b"x", "a.png.svg")), TYPE, f'extension ".svg" is not allowed; allowed are {ALLOWED}', id="SVG"),
    pytest.param(
        form(part(b"x", "png")), TYPE, f"a file name without extension is not allowed; allowed are {ALLOWED}", id="none"
    ),
    pytest.param(
        form(part(b"<!DOCTYPE html><script>alert(1)</script>", "a.png")),
        TYPE,
        "the content does not agree with .png (image/png): it looks like text/html",
        id="png that is HTML",
    ),
    pytest.param(
        form(part(EXECUTABLE, "a.png")),
        TYPE,
        "the content does not agree with .png (image/png): it looks like application/octet-stream",
        id="png that is an executable",
    ),
    pytest.param(
        form(part(b"a\0b", "a.txt")),
        TYPE,
        NOT_TEXT,
        id="NUL in text",
    ),
    # Envelope
    pytest.param(b"", BAD, f'the body does not begin with the boundary that Content-Type names, "{BOUNDARY}"', id="empty body"),
    pytest.param(
        form(part(PNG, "a.png")).replace(BOUNDARY.encode(), b"another"),
        BAD,
        f'the body does not begin with the boundary that Content-Type names, "{BOUNDARY}"',
        id="wrong boundary",
    ),
    pytest.param(
        part(PNG, "a.png"), BAD, "the body ended before its closing boundary: it was cut off, send it again", id="never closed"
    ),
    pytest.param(
        form(part(PNG, "a.png"))[:-4],
        BAD,
        "the body ended before its closing boundary: it was cut off, send it again",
        id="cut",
    ),
    pytest.param(b"--%b\r\n\r\nx\r\n" % BOUNDARY.encode(), BAD, DISPOSITION, id="part without headers"),
    pytest.param(b"--%bx\r\n" % BOUNDARY.encode(), BAD, GRAMMAR, id="longer boundary"),
    pytest.param(form(part(PNG, "a.png", headers=b"X Y: z\r\n")), BAD, GRAMMAR, id="malformed header"),
    pytest.param(form(part(PNG, "a.png", headers=b"X: y\r\n" * 8)), BAD, "a part has more than 8 headers", id="headers"),
    pytest.param(form(part(PNG, "a.png", headers=b"X: %b\r\n" % (b"y" * 9000))), BAD, GRAMMAR, id="one large header"),
    pytest.param(
        form(part(PNG, "a.png", headers=b"X: %b\r\n" % (b"y" * 3000) * 3)),
        BAD,
        "the header section of a part exceeds 8192 bytes",
        id="large headers",
    ),
    pytest.param(form(*[part(b"", name="x")] * 21), BAD, "the form has more than 20 parts", id="parts"),
    pytest.param(form(part(b"x" * 4097, name="x")), BAD, "the value of a form field exceeds 4096 bytes", id="field size"),
    pytest.param(form(part(b"x", name="x" * 257)), BAD, "a field name exceeds 256 bytes", id="field name"),
    pytest.param(
        b"x" * 2000 + b"\r\n" + form(part(PNG, "a.png")),
        BAD,
        f'the body does not begin with the boundary that Content-Type names, "{BOUNDARY}"',
        id="preamble",
    ),
]


@pytest.mark.parametrize(("body", "expected", "message"), FORMS)
def test_refuses_the_form(client: Client, body: bytes, expected: tuple[int, str], message: str) -> None:
    before = client.server.files()
    answer = client.upload(body)
    assert (answer.status, answer.json()) == (expected[0], error(expected[1], message))
    client.server.assert_only(before)


UNSUPPORTED = "UNSUPPORTED_MEDIA_TYPE"


@pytest.mark.parametrize(
    ("headers", "status", "code", "message"),
    [
        pytest.param([], 415, UNSUPPORTED, "send the file as multipart/form-data; Content-Type is nothing", id="no type"),
        pytest.param(
            ["Content-Type: application/x-www-form-urlencoded"],
            415,
            UNSUPPORTED,
            "send the file as multipart/form-data; Content-Type is application/x-www-form-urlencoded",
            id="urlencoded",
        ),
        pytest.param(
            ["Content-Type: image/png"],
            415,
            UNSUPPORTED,
            "send the file as multipart/form-data; Content-Type is image/png",
            id="bare file",
        ),
        pytest.param(
            ["Content-Type: multipart/form-data"],
            400,
            "BAD_REQUEST",
            "Content-Type has no boundary: let the client library set this header",
            id="no boundary",
        ),
        pytest.param(
            ["Content-Type: multipart/form-data; boundary=" + "x" * 71],
            400,
            "BAD_REQUEST",
            "the boundary in Content-Type exceeds 70 characters",
            id="long boundary",
        ),
        pytest.param(
            [f"Content-Type: multipart/form-data; boundary={BOUNDARY}", "Content-Encoding: gzip"],
            415,
            UNSUPPORTED,
            "Content-Encoding is not supported: send the body as it is",
            id="compressed",
        ),
    ],
)
def test_refuses_the_request(client: Client, headers: list[str], status: int, code: str, message: str) -> None:
    answer = client.request("POST", "/api/upload", headers, form(part(PNG, "a.png")))
    assert (answer.status, answer.json()) == (status, error(code, message))
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_other_methods_are_405(client: Client, method: str) -> None:
    answer = client.request(method, "/api/upload")
    assert answer.status == 405
    assert answer.headers["allow"] == "POST"
    if method != "HEAD":
        assert answer.json() == error("METHOD_NOT_SUPPORTED", f"{method} is not supported here, only POST")


def test_the_unknown_and_the_cross_site_are_refused_before_a_byte_is_read(server: Server, client: Client) -> None:
    stranger = Client(server, None).exchange(client.form_head("Content-Length: 1000").replace(b"Bearer", b"Basic"))
    assert (stranger.status, stranger.json()) == (401, error("UNAUTHORIZED", "authentication required"))
    assert stranger.headers["www-authenticate"] == 'Bearer realm="api"'
    crossed = client.exchange(client.form_head("Content-Length: 1000", "Sec-Fetch-Site: cross-site"))
    assert (crossed.status, crossed.json()) == (403, error("FORBIDDEN", "cross-site request refused"))
    assert stranger.headers["connection"] == crossed.headers["connection"] == "close"


# Lengths


def test_a_content_length_past_the_limit_is_refused_before_a_byte_is_read(client: Client) -> None:
    with client.connect() as connection:
        connection.sendall(client.form_head(f"Content-Length: {MAX_BODY + 1}", "Expect: 100-continue"))
        answer = read_answer(connection)
        assert (answer.status, answer.json()) == (413, error("ATTACHMENT_TOO_LARGE", TOO_MUCH))
        assert answer.headers["connection"] == "close"
        connection.settimeout(LINGER_IDLE_S + 20)
        assert connection.recv(1) == b""


@pytest.fixture
def is_read_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of a refused body is read as long as it may take to send it."""
    monkeypatch.setattr(exchanges, "LINGER_S", PATIENT_S)
    monkeypatch.setattr(exchanges, "LINGER_IDLE_S", PATIENT_S)


@pytest.mark.usefixtures("is_read_on")
def test_a_client_that_sends_on_still_reads_why(client: Client) -> None:
    """Regression: closing with unread bytes makes the kernel send a reset, and the answer is lost."""
    with client.connect() as connection:
        connection.sendall(client.form_head(f"Content-Length: {MAX_BODY + 1}"))
        for _ in range(20):
            connection.sendall(bytes(100_000))
            time.sleep(0.005)
        assert read_answer(connection).status == 413


def test_a_declared_image_past_its_own_limit_is_refused_before_it_comes(client: Client) -> None:
    before = client.server.files()
    limit = API_A.types["png"].max_bytes
    with client.connect() as connection:
        connection.sendall(
            client.form_head(f"Content-Length: {limit + DEFAULT_LIMITS.envelope_bytes + 1}") + part(PNG, "a.png")
        )
        answer = read_answer(connection)
    message = f"the file exceeds the limit of {limit} bytes (10 MB) for .png files"
    assert (answer.status, answer.json()) == (413, error("ATTACHMENT_TOO_LARGE", message))
    client.server.assert_only(before)


@pytest.mark.usefixtures("is_read_on")
@pytest.mark.parametrize("filename", ["a.png", "a.pdf"])
def test_a_byte_past_the_limit_of_the_type_is_refused(client: Client, filename: str) -> None:
    before = client.server.files()
    limit = API_A.type_of(filename).max_bytes
    content = (PNG if filename == "a.png" else b"%PDF-1.7\n").ljust(limit + 1, b"\0")
    answer = client.upload(form(part(content, filename)))
    message = f"the file exceeds the limit of {limit} bytes ({limit >> 20} MB) for .{filename[2:]} files"
    assert (answer.status, answer.json()) == (413, error("ATTACHMENT_TOO_LARGE", message))
    client.server.assert_only(before)


@pytest.mark.usefixtures("is_read_on")
def test_a_chunked_body_past_the_limit_stops(client: Client) -> None:
    before = client.server.files()
    chunk = b"%x\r\n%b\r\n" % (1 << 20, bytes(1 << 20))
    head = part(b"%PDF-1.7\n", "a.pdf")[:-2]
    with client.connect() as connection:
        connection.sendall(client.form_head("Transfer-Encoding: chunked") + b"%x\r\n%b\r\n" % (len(head), head))
        for _ in range(26):
            connection.sendall(chunk)
        answer = read_answer(connection)
    message = "the file exceeds the limit of 26214400 bytes (25 MB) for .pdf files"
    assert (answer.status, answer.json()) == (413, error("ATTACHMENT_TOO_LARGE", message))
    client.server.assert_only(before)


@pytest.mark.usefixtures("is_read_on")
def test_a_chunked_body_that_is_no_file_stops_too(client: Client) -> None:
    before = client.server.files()
    whole = form(part(PNG, "a.png"))
    with client.connect() as connection:
        connection.sendall(client.form_head("Transfer-Encoding: chunked") + b"%x\r\n%b\r\n" % (len(whole), whole))
        time.sleep(0.1)
        connection.sendall(b"2000\r\n%b\r\n" % bytes(0x2000))
        answer = read_answer(connection)
    assert (answer.status, answer.json()) == (400, error("BAD_REQUEST", "the text after the last boundary exceeds 4096 bytes"))
    client.server.assert_only(before)


def test_a_content_length_below_the_body_cuts_it(client: Client) -> None:
    before = client.server.files()
    body = form(part(PNG, "a.png"))
    answer = client.exchange(client.form_head(f"Content-Length: {len(body) - 10}") + body[:-10])
    assert answer.status == 400
    assert answer.json() == error("BAD_REQUEST", "the body ended before its closing boundary: it was cut off, send it again")
    # With the rest in the same packet, uvicorn takes it for a second request and refuses both.
    assert client.exchange(client.form_head(f"Content-Length: {len(body) - 10}") + body).status == 400
    client.server.assert_only(before)


def test_a_content_length_above_the_body_times_out(unheard: Client) -> None:
    before = unheard.server.files()
    body = form(part(PNG, "a.png"))
    answer = unheard.exchange(unheard.form_head(f"Content-Length: {len(body) + 10}") + body)
    message = f"nothing came for {IDLE_TIMEOUT_S:g} seconds, the request is given up"
    assert (answer.status, answer.json()) == (408, error("TIMEOUT", message))
    assert answer.headers["connection"] == "close"
    unheard.server.assert_only(before)


@pytest.mark.parametrize("length", ["-1", "+5", "5, 6", "0x10", "1e3", "", "5\r\nContent-Length: 6", "9" * 30])
def test_a_content_length_that_is_none_is_400_or_413(client: Client, length: str) -> None:
    answer = client.exchange(client.form_head(f"Content-Length: {length}") + form(part(PNG, "a.png")))
    assert answer.status in {400, 413}


# Clients that go away


@pytest.mark.parametrize(
    "sent", [0, 10, 200, 1_000_000], ids=["head only", "in the boundary", "in the file", "after a megabyte"]
)
def test_a_client_that_goes_away_leaves_nothing(client: Client, caplog: pytest.LogCaptureFixture, sent: int) -> None:
    before = client.server.files()
    body = form(part(b"%PDF-1.7\n" + bytes(3_000_000), "a.pdf"))
    with caplog.at_level(logging.INFO, "attachd.rest"):
        with client.connect() as connection:
            connection.sendall(client.form_head(f"Content-Length: {len(body)}") + body[:sent])
            time.sleep(0.1)
        assert eventually(lambda: bool(caplog.records))
    (record,) = caplog.records
    assert record.levelname == "INFO"
    # What was still in uvicorn's buffer when the connection ended was never read.
    match = re.fullmatch(r"POST /api/upload: the client went away after (\d+) bytes", record.getMessage())
    assert match is not None
    assert int(match[1]) <= sent
    client.server.assert_only(before)


def test_what_was_refused_is_answered_once(client: Client) -> None:
    """A refused body is dropped, not taken for the next request."""
    body = form(part(b"x", "a.exe"), part(b"GET /healthz HTTP/1.1\r\n\r\n", name="x"))
    with client.connect() as connection:
        connection.sendall(client.form_head(f"Content-Length: {len(body)}") + body)
        answers: list[Answer] = [read_answer(connection)]
        connection.settimeout(LINGER_IDLE_S + 20)
        if answers[0].headers.get("connection") == "close":
            assert connection.recv(1) == b""
    assert answers[0].status == 415
