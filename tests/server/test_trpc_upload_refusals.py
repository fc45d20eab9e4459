"""Uploads to `attachments.upload` that are refused, each with exactly this error and nothing left; and files out of place."""

import pytest

from tests.rest.live import PNG, form, part
from tests.rest.test_upload_refusals import FORMS
from tests.server.uploads import FORM, OCTETS, PATH, Site, assert_error, digest, name_header

ENCODE = "percent-encode the name's UTF-8, as encodeURIComponent does"
NO_NAME = f"the file has no name: send it in the header x-attachd-filename ({ENCODE})"
MALFORMED = f"the header x-attachd-filename is malformed: {ENCODE}"
CONTROLS = "the file name has control or text-direction characters: remove them"
SLASH = "the file name has a slash or backslash: send the name without its folders"
DIGEST = "the bytes do not match their digest: they changed on the way, send them again"
NO_FILE = "this procedure takes no file: send its input as application/json"
A_FILE = "this procedure takes a file: send it as application/octet-stream or multipart/form-data"
UNAUTHORIZED = "authentication required: send the session cookie or an API key"
A_PNG = name_header("a.png")


def named(value: str) -> list[str]:
    """The header of the name as it stands."""
    return [f"X-Attachd-Filename: {value}"]


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        pytest.param([], NO_NAME, id="no name"),
        pytest.param(named(""), NO_NAME, id="empty name"),
        pytest.param(named("a%.png"), MALFORMED, id="stray percent"),
        pytest.param(named("a%zz.png"), MALFORMED, id="no hexadecimal"),
        pytest.param(named("%ff.png"), MALFORMED, id="escapes that are not UTF-8"),
        pytest.param(named("%ed%a0%80.png"), MALFORMED, id="surrogate"),
        pytest.param(named("ä.png"), MALFORMED, id="Latin-1"),
        pytest.param(named("ä.png".encode().decode("latin-1")), MALFORMED, id="bare UTF-8"),
        pytest.param([*named("a.png"), *named("b.png")], MALFORMED, id="twice"),
        pytest.param(named("a%2Fb.png"), SLASH, id="slash"),
        pytest.param(named("..%5Cb.png"), SLASH, id="backslash"),
        pytest.param(named("a%00.png"), CONTROLS, id="NUL"),
        pytest.param(named("a%E2%80%AEgnp.exe"), CONTROLS, id="RTL override"),
        pytest.param(named("n" * 252 + ".png"), "the file name exceeds 255 bytes: shorten it", id="256 bytes"),
        pytest.param([A_PNG, "X-Attachd-Conversation-Id: 1"], "x-attachd-conversation-id must be a UUID", id="conversation"),
        pytest.param([A_PNG, "X-Attachd-Conversation-Id:"], "x-attachd-conversation-id must be a UUID", id="no conversation"),
        pytest.param([A_PNG, "X-Attachd-Ticket-Id: {x}"], "x-attachd-ticket-id must be a UUID", id="ticket"),
        pytest.param([A_PNG, f"Content-Digest: {digest(b'other')}"], DIGEST, id="digest of other bytes"),
        pytest.param([A_PNG, f"Repr-Digest: {digest(b'other')}"], DIGEST, id="Repr-Digest of other bytes"),
        pytest.param(
            [A_PNG, f"Content-Digest: {digest(PNG)}", f"Repr-Digest: {digest(b'other')}"],
            "the digests that came with the file contradict each other",
            id="two digests",
        ),
        pytest.param(
            [A_PNG, "Content-Digest: sha-256=1"],
            "Content-Digest is malformed: it must read `sha-256=:<base64 of 32 bytes>:`",
            id="malformed digest",
        ),
    ],
)
def test_refuses_the_headers_of_a_file(site: Site, headers: list[str], message: str) -> None:
    before = site.state()
    assert_error(site.send(PNG, OCTETS, *headers), 400, "BAD_REQUEST", message)
    site.assert_unchanged(before)


def test_refuses_an_empty_file(site: Site) -> None:
    assert_error(site.send(b"", OCTETS, A_PNG), 400, "BAD_REQUEST", "the file is empty")


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        pytest.param(b"x", "a.exe", 'extension ".exe" is not allowed; allowed are ', id="extension"),
        pytest.param(b"x", "png", "a file name without extension is not allowed; allowed are ", id="no extension"),
        pytest.param(b"<html>", "a.png", "the content does not agree with .png (image/png): it looks like", id="HTML"),
        pytest.param(b"a\0b", "a.txt", '"a.txt" claims to be text, but holds bytes that no text has', id="NUL in text"),
    ],
)
def test_refuses_the_type(site: Site, content: bytes, name: str, message: str) -> None:
    before = site.state()
    answer = site.send(content, OCTETS, name_header(name))
    said = answer.json()["error"]["json"]["message"]
    assert said.startswith(message)
    assert_error(answer, 415, "UNSUPPORTED_MEDIA_TYPE", said, reason="INVALID_ATTACHMENT_TYPE")
    site.assert_unchanged(before)


@pytest.mark.parametrize("kind", [OCTETS, FORM], ids=["file", "form"])
def test_refuses_a_compressed_body(site: Site, kind: str) -> None:
    answer = site.send(PNG, kind, A_PNG, "Content-Encoding: gzip")
    message = "Content-Encoding is not supported: send the body as it is"
    assert_error(answer, 415, "UNSUPPORTED_MEDIA_TYPE", message)


@pytest.mark.parametrize(("body", "expected", "message"), FORMS)
def test_refuses_a_form_as_rest_does(site: Site, body: bytes, expected: tuple[int, str], message: str) -> None:
    before = site.state()
    by_rest = site.send(body, FORM, path="/api/upload")
    answer = site.send(body, FORM)
    assert (by_rest.status, by_rest.json()["error"]) == (expected[0], {"code": expected[1], "message": message})
    code, reason = ("BAD_REQUEST", None) if expected[0] == 400 else ("UNSUPPORTED_MEDIA_TYPE", expected[1])
    assert_error(answer, expected[0], code, message, reason=reason)
    site.assert_unchanged(before)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        pytest.param("multipart/form-data", "Content-Type has no boundary: let the client library set this header", id="none"),
        pytest.param(
            "multipart/form-data; boundary=<>",
            "the boundary in Content-Type has characters that RFC 2046 does not allow",
            id="characters",
        ),
    ],
)
def test_refuses_a_form_without_a_boundary(site: Site, kind: str, message: str) -> None:
    assert_error(site.send(form(part(PNG, "a.png")), f"Content-Type: {kind}"), 400, "BAD_REQUEST", message)


# The order of the checks: procedure, method, caller, then the body.

A_FORM = form(part(PNG, "a.png"))
TYPES = [pytest.param(OCTETS, PNG, id="file"), pytest.param(FORM, A_FORM, id="form")]


@pytest.mark.parametrize(("kind", "body"), TYPES)
def test_an_unknown_procedure_is_said_before_anything(site: Site, kind: str, body: bytes) -> None:
    answer = site.send(body, kind, path="/api/trpc/attachments.uplaod", who=None)
    message = 'No procedure found on path "attachments.uplaod"'
    assert_error(answer, 404, "NOT_FOUND", message, path="attachments.uplaod")


@pytest.mark.parametrize(("kind", "body"), [*TYPES, pytest.param("Content-Type: application/json", b"{", id="json")])
def test_an_unknown_caller_is_told_before_the_body_is_read(site: Site, kind: str, body: bytes) -> None:
    before = site.state()
    assert_error(site.send(body, kind, who=None), 401, "UNAUTHORIZED", UNAUTHORIZED)
    site.assert_unchanged(before)


def test_a_page_of_another_site_is_refused(site: Site) -> None:
    answer = site.send(PNG, OCTETS, A_PNG, "Origin: https://evil.example", "Sec-Fetch-Site: cross-site")
    message = "cross-site request refused: its origin is neither this server's nor in server.allowed_origins"
    assert_error(answer, 403, "FORBIDDEN", message)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"json":{"file":"x"}}', b'"x"'])
def test_json_is_no_file(site: Site, body: bytes) -> None:
    assert_error(site.send(body, "Content-Type: application/json"), 400, "BAD_REQUEST", A_FILE)


@pytest.mark.parametrize(("kind", "body"), TYPES)
@pytest.mark.parametrize("path", ["attachments.get", "attachments.delete"])
def test_a_file_is_no_json(site: Site, path: str, kind: str, body: bytes) -> None:
    answer = site.send(body, kind, A_PNG, path=f"/api/trpc/{path}")
    assert_error(answer, 400, "BAD_REQUEST", NO_FILE, path=path)
    anonymous = site.send(body, kind, A_PNG, path=f"/api/trpc/{path}", who=None)
    assert_error(anonymous, 401, "UNAUTHORIZED", UNAUTHORIZED, path=path)


@pytest.mark.parametrize(("kind", "body"), TYPES)
@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_other_methods_are_refused_as_trpc_does(site: Site, method: str, kind: str, body: bytes) -> None:
    answer = site.send(body, kind, A_PNG, method=method)
    media_type = kind.partition(": ")[2].partition(";")[0]
    message = f"Only POST requests are supported for {media_type} requests"
    assert_error(answer, 405, "METHOD_NOT_SUPPORTED", message, path=None)


@pytest.mark.parametrize(("kind", "body"), TYPES)
def test_files_come_in_no_batch(site: Site, kind: str, body: bytes) -> None:
    """`batch=1` splits no path, and wraps no answer (contentType.ts of @trpc/server)."""
    two = site.send(body, kind, A_PNG, path=f"{PATH},attachments.upload?batch=1")
    path = "attachments.upload,attachments.upload"
    assert_error(two, 404, "NOT_FOUND", f'No procedure found on path "{path}"', path=path)
    assert site.send(body, kind, A_PNG, path=f"{PATH}?batch=1").json()["result"]["data"]["json"]["size"] == len(PNG)


@pytest.mark.parametrize(("kind", "body"), TYPES)
def test_files_come_in_no_stream(site: Site, kind: str, body: bytes) -> None:
    answer = site.send(body, kind, A_PNG, "trpc-accept: application/jsonl", path=f"{PATH}?batch=1")
    message = "Streaming requests must be batched (you can do a batch of 1)"
    assert_error(answer, 400, "BAD_REQUEST", message, path=None)
