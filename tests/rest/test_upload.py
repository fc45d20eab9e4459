"""Uploads that succeed, byte for byte and header for header, and what the digests that come with them do."""

import base64
import hashlib
import re
from typing import Any

import httpx
import pytest

from schemas import UUID_PATTERN
from storage import API_A
from tests.rest.live import PNG, Client, Server, form, part, read_answer

CONVERSATION = "0190A000-0000-7000-8000-00000000000C"
TICKET = "0190a000-0000-7000-8000-00000000000d"


def digest(content: bytes) -> str:
    """The digest field of the content."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"


def get(client: Client, id: str) -> Any:
    """The catalog's row, over the storage."""
    return client.server.run(lambda: client.server.store.attachments.get(client.principal(), id))


def test_answers_with_exactly_the_documented_members(client: Client) -> None:
    answer = client.upload(form(part(PNG, "a.png", headers=b"Content-Type: text/html\r\n")))
    assert answer.status == 200
    id = answer.json()["id"]
    assert re.fullmatch(UUID_PATTERN, id)
    path = f"/api/attachments/{id}/download"
    assert answer.json() == {"id": id, "filename": "a.png", "content_type": "image/png", "size": len(PNG), "url": path}
    assert answer.headers["location"] == path
    assert answer.headers["repr-digest"] == digest(PNG)
    assert client.get(path).body == PNG


@pytest.mark.parametrize("name", ["file", "files"])
def test_takes_either_field_name(client: Client, name: str) -> None:
    assert client.upload(form(part(PNG, "a.png", name=name))).status == 200


@pytest.mark.parametrize(
    ("sent", "filename"),
    [
        pytest.param("ä€𝄞 日本.png", "ä€𝄞 日本.png", id="UTF-8"),
        pytest.param(r"a \"b\".png", 'a "b".png', id="quotes from curl"),
        pytest.param("a %22b%22.png", 'a "b".png', id="quotes from a browser"),
        pytest.param("a;b=c.PNG", "a;b=c.PNG", id="semicolon"),
        pytest.param(".hidden.png", ".hidden.png", id="leading dot"),
        pytest.param("n" * 251 + ".png", "n" * 251 + ".png", id="255 bytes"),
    ],
)
def test_keeps_the_name(client: Client, sent: str, filename: str) -> None:
    stored = client.store(sent, PNG)
    assert stored["filename"] == filename


@pytest.mark.parametrize("is_before", [True, False], ids=["before", "after"])
def test_takes_fields_on_either_side_of_the_file(client: Client, is_before: bool) -> None:
    fields = [
        part(CONVERSATION.encode(), name="conversationId"),
        part(TICKET.encode(), name="ticketId"),
        part(b"x", name="other"),
    ]
    file = [part(PNG, "a.png")]
    answer = client.upload(form(*fields, *file) if is_before else form(*file, *fields))
    assert answer.status == 200
    assert get(client, answer.json()["id"]).conversation_id == CONVERSATION.lower()


def test_takes_one_byte_at_a_time(client: Client) -> None:
    body = form(part(PNG, "a.png"), part(TICKET.encode(), name="ticketId"))
    head = client.form_head(f"Content-Length: {len(body)}")
    with client.connect() as connection:
        for i in range(len(head + body)):
            connection.sendall((head + body)[i : i + 1])
        answer = read_answer(connection)
    assert answer.status == 200
    assert client.get(answer.json()["url"]).body == PNG


def test_takes_a_chunked_body(client: Client) -> None:
    content = PNG + bytes(range(256)) * 2000
    body = form(part(content, "a.png"))
    chunks = [body[i : i + 70_000] for i in range(0, len(body), 70_000)]
    data = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    head = client.form_head("Transfer-Encoding: chunked")
    answer = client.exchange(head + data)
    assert answer.status == 200
    assert client.get(answer.json()["url"]).body == content


def test_sends_for_the_body_that_waits(client: Client) -> None:
    body = form(part(PNG, "a.png"))
    with client.connect() as connection:
        connection.sendall(client.form_head(f"Content-Length: {len(body)}", "Expect: 100-continue"))
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert read_answer(connection).status == 200


def test_keeps_the_connection(client: Client) -> None:
    body = form(part(PNG, "a.png"))
    head = client.form_head(f"Content-Length: {len(body)}")
    with client.connect() as connection:
        for _ in range(3):
            connection.sendall(head + body)
            assert read_answer(connection).status == 200


@pytest.mark.parametrize("size", [API_A.max_bytes - 1, API_A.max_bytes], ids=["a byte below", "exactly"])
def test_takes_the_largest_file(client: Client, size: int) -> None:
    content = b"%PDF-1.7\n" + bytes(size - 9)
    answer = client.upload(form(part(content, "a.pdf")))
    assert answer.status == 200
    assert answer.json()["size"] == size
    assert answer.headers["repr-digest"] == digest(content)


def test_takes_what_httpx_sends(client: Client, server: Server) -> None:
    with httpx.Client(
        base_url=f"http://127.0.0.1:{server.port}", headers={"Authorization": f"Bearer {server.token()}"}
    ) as other:
        answer = other.post("/api/upload", files={"file": ('a "ä".txt', "text ä".encode())}, data={"ticketId": TICKET})
        assert answer.status_code == 200, answer.text
        assert answer.json()["filename"] == 'a "ä".txt'
        assert other.get(answer.json()["url"]).text == "text ä"


WHOLE = form(part(PNG, "a.png"))
OTHER = digest(b"other")


@pytest.mark.parametrize(
    ("headers", "on_part"),
    [
        pytest.param([f"Content-Digest: {digest(WHOLE)}"], "", id="of the content"),
        pytest.param([f"Content-Digest: {digest(PNG)}"], "", id="of the file"),
        pytest.param([f"Repr-Digest: {digest(PNG)}"], "", id="as Repr-Digest"),
        pytest.param([f"Content-Digest: {digest(PNG)}", f"Repr-Digest: {digest(WHOLE)}"], "", id="one of each"),
        pytest.param([f"Content-Digest: sha-512=:AAAA:, {digest(PNG)}"], "", id="beside another algorithm"),
        pytest.param(["Content-Digest: sha-512=:AAAA:"], "", id="another algorithm only"),
        pytest.param([], digest(PNG), id="on the part"),
        pytest.param([f"Content-Digest: {digest(PNG)}"], digest(PNG), id="of the file, and on the part"),
    ],
)
def test_takes_what_matches_its_digest(client: Client, headers: list[str], on_part: str) -> None:
    on_file = f"Content-Digest: {on_part}\r\n".encode() if on_part else b""
    assert client.upload(form(part(PNG, "a.png", headers=on_file)), *headers).status == 200


def test_takes_the_digest_of_the_content_and_that_of_the_part(client: Client) -> None:
    body = form(part(PNG, "a.png", headers=f"Content-Digest: {digest(PNG)}\r\n".encode()))
    assert client.upload(body, f"Content-Digest: {digest(body)}").status == 200


@pytest.mark.parametrize(
    ("headers", "on_part", "message"),
    [
        pytest.param([f"Content-Digest: {OTHER}"], "", "do not match their digest", id="of neither"),
        pytest.param([f"Repr-Digest: {OTHER}"], "", "do not match their digest", id="Repr-Digest of neither"),
        pytest.param([], OTHER, "do not match their digest", id="on the part"),
        pytest.param([f"Content-Digest: {digest(PNG)}"], OTHER, "contradict each other", id="contradiction"),
        pytest.param([f"Content-Digest: {digest(WHOLE)}", f"Repr-Digest: {OTHER}"], "", "do not match", id="one of two"),
        pytest.param(["Content-Digest: sha-256=:AAAA:"], "", "Content-Digest is malformed", id="malformed"),
        pytest.param(["Repr-Digest: sha-256=1"], "", "Repr-Digest is malformed", id="malformed Repr-Digest"),
        pytest.param([], "sha-256=1", "Content-Digest of the file is malformed", id="malformed on the part"),
    ],
)
def test_refuses_what_does_not_match(client: Client, headers: list[str], on_part: str, message: str) -> None:
    before = client.server.files()
    on_file = f"Content-Digest: {on_part}\r\n".encode() if on_part else b""
    answer = client.upload(form(part(PNG, "a.png", headers=on_file)), *headers)
    assert answer.status == 400
    assert answer.json()["error"]["code"] == "BAD_REQUEST"
    assert message in answer.json()["error"]["message"]
    client.server.assert_only(before)
