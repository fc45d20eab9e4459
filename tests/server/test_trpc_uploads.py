"""`attachments.upload` over real sockets: what it keeps, its limits from both sides, and clients that are slow or go away."""

import select
import time
import uuid
from pathlib import Path

import pytest

from rest.multipart import DEFAULT_LIMITS
from tests.rest.live import PNG, eventually, form, part, read_answer
from tests.server.uploads import (
    FORM,
    IDLE_TIMEOUT_S,
    MAX_FILE_BYTES,
    MAX_IMAGE_BYTES,
    OCTETS,
    ORIGIN,
    PATH,
    Site,
    assert_error,
    chunked,
    digest,
    name_header,
    send_steadily,
)

PDF = b"%PDF-1.7\n"
TOO_LARGE = "the file exceeds the limit of 2097152 bytes (2 MB) for .pdf files"


def test_gives_the_attachment(site: Site) -> None:
    conversation = str(uuid.uuid4())
    given = site.upload(PNG, "a.png", f"X-Attachd-Conversation-Id: {conversation.upper()}")
    assert given == {
        "id": given["id"],
        "conversation_id": conversation,
        "organization_id": site.attachd.organization_id,
        "filename": "a.png",
        "content_type": "image/png",
        "size": len(PNG),
        "storage_path": f"attachments/{site.attachd.organization_id}/{given['id']}",
        "created_at": given["created_at"],
    }
    assert site.download(given["id"]) == PNG


def test_a_file_and_a_form_and_rest_keep_the_same(site: Site) -> None:
    conversation, ticket, name, content = str(uuid.uuid4()), str(uuid.uuid4()), 'Übersicht "ä" 日本 𝄞.txt', "Grüße".encode()
    fields = [part(conversation.encode(), name="conversationId"), part(ticket.encode(), name="ticketId")]
    body = form(*fields, part(content, name.replace('"', "%22")))
    by_form = site.send(body, FORM).json()["result"]["data"]["json"]
    by_rest = site.send(body, FORM, path="/api/upload").json()
    ids = [f"X-Attachd-Conversation-Id: {conversation}", f"X-Attachd-Ticket-Id: {ticket}"]
    by_file = site.upload(content, name, *ids)
    rows = [site.row(given["id"]) for given in (by_form, by_rest, by_file)]
    assert rows[0] == rows[1] == rows[2]
    assert (rows[0]["filename"], rows[0]["conversation_id"], rows[0]["ticket_id"]) == (name, conversation, ticket)
    unlike = {"id", "storage_path", "created_at"}
    assert {key: by_form[key] for key in by_form.keys() - unlike} == {key: by_file[key] for key in by_file.keys() - unlike}
    for given in (by_form, by_rest, by_file):
        assert site.download(given["id"]) == content


@pytest.mark.parametrize(
    ("sent", "filename"),
    [
        pytest.param("a.png", "a.png", id="plain"),
        pytest.param("%C3%A4%E2%82%AC%F0%9D%84%9E.png", "ä€𝄞.png", id="unicode"),
        pytest.param("%e4%b8%ad.png", "中.png", id="lower-case-escapes"),
        pytest.param("100%25.png", "100%.png", id="percent"),
        pytest.param("a%2Cb.png", "a,b.png", id="comma"),
        pytest.param("a+b (1)'s!.png", "a+b (1)'s!.png", id="what-encodeURIComponent-leaves"),
        pytest.param("a%2520b.png", "a%20b.png", id="decoded-once"),
        pytest.param("a.pn%67", "a.png", id="needless-escape"),
        pytest.param("n" * 251 + ".png", "n" * 251 + ".png", id="255-bytes"),
    ],
)
def test_keeps_the_name(site: Site, sent: str, filename: str) -> None:
    answer = site.send(PNG, OCTETS, f"X-Attachd-Filename: {sent}")
    assert answer.status == 200, answer
    assert answer.json()["result"]["data"]["json"]["filename"] == filename


@pytest.mark.parametrize("field", ["Content-Digest", "Repr-Digest"])
def test_takes_what_matches_its_digest(site: Site, field: str) -> None:
    given = site.upload(PNG, "a.png", f"{field}: {digest(PNG)}")
    assert site.row(given["id"])["sha256"] == site.row(site.upload(PNG, "a.png")["id"])["sha256"]
    body = form(part(PNG, "a.png"))
    for content in (PNG, body):
        assert site.send(body, FORM, f"{field}: {digest(content)}").status == 200


@pytest.mark.parametrize("kind", ["application/octet-stream", "Application/Octet-Stream; charset=x"])
def test_the_media_type_is_read_as_http_has_it(site: Site, kind: str) -> None:
    assert site.send(PNG, f"Content-Type: {kind}", name_header("a.png")).status == 200


def test_takes_a_chunked_body_byte_by_byte(site: Site) -> None:
    data = site.head(OCTETS, name_header("a.png"), "Transfer-Encoding: chunked")
    data += chunked([PNG[i : i + 1] for i in range(len(PNG))]) + b"0\r\n\r\n"
    with site.connect() as connection:
        for i in range(len(data)):
            connection.sendall(data[i : i + 1])
        answer = read_answer(connection)
    assert site.download(answer.json()["result"]["data"]["json"]["id"]) == PNG


def test_keeps_the_connection(site: Site) -> None:
    body = form(part(PNG, "a.png"))
    requests = [
        site.head(OCTETS, name_header("a.png"), f"Content-Length: {len(PNG)}") + PNG,
        site.head(FORM, f"Content-Length: {len(body)}") + body,
    ]
    with site.connect() as connection:
        for request in [*requests, *requests]:
            connection.sendall(request)
            assert read_answer(connection).status == 200


def test_sends_for_the_body_that_waits(site: Site) -> None:
    with site.connect() as connection:
        connection.sendall(site.head(OCTETS, name_header("a.png"), f"Content-Length: {len(PNG)}", "Expect: 100-continue"))
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(PNG)
        assert read_answer(connection).status == 200


# Limits


@pytest.mark.parametrize("as_form", [False, True], ids=["file", "form"])
@pytest.mark.parametrize(
    ("name", "start", "limit"), [("a.pdf", PDF, MAX_FILE_BYTES), ("a.png", PNG, MAX_IMAGE_BYTES)], ids=["pdf", "png"]
)
def test_the_limit_is_that_of_the_type(site: Site, name: str, start: bytes, limit: int, *, as_form: bool) -> None:
    before = site.state()
    for size in (limit, limit + 1):
        content = start.ljust(size, b"\0")
        answer = site.send(form(part(content, name)), FORM) if as_form else site.send(content, OCTETS, name_header(name))
        if size == limit:
            assert answer.json()["result"]["data"]["json"]["size"] == limit
            before = site.state()
        else:
            message = f"the file exceeds the limit of {limit} bytes ({limit >> 20} MB) for .{name[2:]} files"
            assert_error(answer, 413, "PAYLOAD_TOO_LARGE", message, reason="ATTACHMENT_TOO_LARGE")
            site.assert_unchanged(before)


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        pytest.param([OCTETS, name_header("a.pdf"), f"Content-Length: {MAX_FILE_BYTES + 1}"], TOO_LARGE, id="file"),
        pytest.param(
            [FORM, f"Content-Length: {MAX_FILE_BYTES + DEFAULT_LIMITS.envelope_bytes + 1}"],
            f"the request exceeds {MAX_FILE_BYTES + DEFAULT_LIMITS.envelope_bytes} bytes, the largest file that is allowed "
            "and its form",
            id="form",
        ),
    ],
)
def test_a_content_length_past_the_limit_is_refused_before_a_byte_is_read(site: Site, headers: list[str], message: str) -> None:
    with site.connect() as connection:
        connection.sendall(site.head(*headers, "Expect: 100-continue"))
        answer = read_answer(connection)  # no `100 Continue` before it
        assert_error(answer, 413, "PAYLOAD_TOO_LARGE", message, reason="ATTACHMENT_TOO_LARGE")
        assert answer.headers["connection"] == "close"
        assert connection.recv(1) == b""


def test_a_chunked_body_past_the_limit_stops(site: Site) -> None:
    before = site.state()
    with site.connect() as connection:
        connection.sendall(site.head(OCTETS, name_header("a.pdf"), "Transfer-Encoding: chunked") + chunked([PDF]))
        for _ in range(MAX_FILE_BYTES // 2**18):
            connection.sendall(chunked([bytes(2**18)]))
        answer = read_answer(connection)
    assert_error(answer, 413, "PAYLOAD_TOO_LARGE", TOO_LARGE, reason="ATTACHMENT_TOO_LARGE")
    site.assert_unchanged(before)


@pytest.mark.parametrize("path", [PATH, "/api/trpc/nope", "/api/trpc/attachments.delete"])
def test_a_client_that_sends_on_still_reads_why(site: Site, path: str) -> None:
    """Regression of the REST upload: closing with unread bytes makes the kernel send a reset, and the answer is lost."""
    with site.connect() as connection:
        connection.sendall(site.head(OCTETS, name_header("a.exe"), "Content-Length: 100000000", path=path) + bytes(100_000))
        assert select.select([connection], [], [], 60)[0]  # it is answered, and not read yet
        for _ in range(20):
            connection.sendall(bytes(100_000))
        answer = read_answer(connection)
    assert answer.status == {PATH: 415, "/api/trpc/nope": 404}.get(path, 400)
    assert answer.headers["connection"] == "close"


# Time


@pytest.mark.parametrize("kind", [OCTETS, FORM], ids=["file", "form"])
def test_silence_is_given_up(impatient_site: Site, kind: str) -> None:
    before = impatient_site.state()
    body = part(PDF, "a.pdf") if kind == FORM else PDF
    with impatient_site.connect() as connection:
        connection.sendall(impatient_site.head(kind, name_header("a.pdf"), f"Content-Length: {len(body) + 10}") + body)
        answer = read_answer(connection)
    message = f"nothing came for {IDLE_TIMEOUT_S:g} seconds, the request is given up"
    assert_error(answer, 408, "TIMEOUT", message)
    assert answer.headers["connection"] == "close"
    impatient_site.assert_unchanged(before)


def test_a_client_that_is_slow_but_steady_is_served(tmp_path: Path) -> None:
    pieces = [PNG[i : i + 9] for i in range(0, len(PNG), 9)]
    assert send_steadily(tmp_path, pieces, OCTETS, name_header("a.png")) == 200


@pytest.mark.parametrize("sent", [0, 10, 1_000_000], ids=["head only", "a few bytes", "a megabyte"])
@pytest.mark.parametrize("kind", [OCTETS, FORM], ids=["file", "form"])
def test_a_client_that_goes_away_leaves_nothing(site: Site, kind: str, sent: int) -> None:
    before, logged = site.state(), len(site.logged(499))
    content = PDF + bytes(1_500_000)
    body = form(part(content, "a.pdf")) if kind == FORM else content
    with site.connect() as connection:
        connection.sendall(site.head(kind, name_header("a.pdf"), f"Content-Length: {len(body)}") + body[:sent])
        time.sleep(0.1)
    assert eventually(lambda: len(site.logged(499)) == logged + 1)
    assert site.logged(499)[-1]["level"] == "info"
    assert not [line for line in site.attachd.lines() if line["level"] not in {"info", "warning"}]
    site.assert_unchanged(before)


# Pages of other origins


def test_a_page_of_an_allowed_origin_may_send_the_headers(site: Site) -> None:
    wanted = ["content-type", "x-attachd-filename", "x-attachd-conversation-id", "x-attachd-ticket-id", "content-digest"]
    asked = ["Access-Control-Request-Method: POST", f"Access-Control-Request-Headers: {','.join(wanted)}"]
    preflight = site.send(b"", f"Origin: {ORIGIN}", *asked, method="OPTIONS", who=None)
    assert preflight.status == 200
    allowed = {name.strip() for name in preflight.headers["access-control-allow-headers"].lower().split(",")}
    assert set(wanted) <= allowed
    answer = site.send(PNG, OCTETS, name_header("a.png"), f"Origin: {ORIGIN}", "Sec-Fetch-Site: cross-site")
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, ORIGIN)
