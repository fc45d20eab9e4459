"""API B as its document prints it: uploads of media, what they are served to, and what is refused, on a real server."""

import json
import re
import socket
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from schemas import UUID_PATTERN
from tests.conformance.node import node_command
from tests.running import Attachd

PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
MEBIBYTE = 1024 * 1024
CROSS_SITE = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}


@pytest.fixture(scope="module")
def anybody(attachd: Attachd) -> Iterator[httpx.Client]:
    with attachd.client(None) as client:
        yield client


@pytest.fixture(scope="module")
def agent(attachd: Attachd) -> Iterator[httpx.Client]:
    with attachd.client() as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def error(error_type: str, message: str) -> dict[str, object]:
    """The body of an error, whole."""
    return {"status": "error", "message": message, "data": None, "error_type": error_type}


def assert_error(reply: httpx.Response, status: int, error_type: str, message: str) -> None:
    assert (reply.status_code, reply.json()) == (status, error(error_type, message))
    assert reply.headers["content-type"] == "application/json"


def upload(client: httpx.Client, content: bytes = PNG, name: str = "screenshot.png", **fields: str) -> Any:
    """The media of an upload that is taken."""
    reply = client.post("/api/v1/media", files={"file": (name, content)}, data=fields)
    assert reply.status_code == 200, reply.text
    return reply.json()["data"]


def test_an_upload_answers_with_exactly_what_is_documented(attachd: Attachd, agent: httpx.Client) -> None:
    reply = agent.post("/api/v1/media", files={"file": ("screenshot.png", PNG, "image/png")}, data={"inline": "true"})
    assert reply.status_code == 200
    data = reply.json()["data"]
    assert re.fullmatch(UUID_PATTERN, data["uuid"])
    assert reply.json() == {
        "data": {
            "uuid": data["uuid"],
            "filename": "screenshot.png",
            "content_type": "image/png",
            "size": len(PNG),
            "url": data["url"],
            "inline": True,
        }
    }
    assert data["url"].startswith(f"{attachd.base_url}/uploads/{data['uuid']}?sig=")
    query = parse_qs(urlsplit(data["url"]).query, strict_parsing=True)
    assert list(query) == ["sig", "exp", "kid"]
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", query["sig"][0])


def test_the_link_shows_the_file_to_anybody(agent: httpx.Client, anybody: httpx.Client) -> None:
    media = upload(agent)
    reply = anybody.get(media["url"])
    assert (reply.status_code, reply.content, reply.headers["content-type"]) == (200, PNG, "image/png")
    assert reply.headers["content-disposition"] == 'inline; filename="screenshot.png"'
    assert anybody.get(f"/uploads/{media['uuid']}?{'&'.join(urlsplit(media['url']).query.split('&')[:2])}").content == PNG
    saved = anybody.get(f"{media['url']}&download=1")
    assert saved.headers["content-disposition"] == 'attachment; filename="screenshot.png"'


def test_a_session_and_a_key_need_no_link(attachd: Attachd, agent: httpx.Client, anybody: httpx.Client) -> None:
    path = f"/uploads/{upload(agent)['uuid']}"
    assert agent.get(path).content == PNG
    assert anybody.get(path, headers=bearer(attachd.key)).content == PNG


@pytest.mark.parametrize(
    ("sent", "inline"),
    [("true", True), ("false", False), ("True", False), ("1", False), ("on", False), ("true ", False), ("", False)],
)
def test_inline_is_true_for_true_alone(agent: httpx.Client, sent: str, inline: bool) -> None:
    assert upload(agent, inline=sent)["inline"] is inline
    assert upload(agent)["inline"] is False


def test_the_session_of_a_widget_sees_one_conversation(attachd: Attachd, agent: httpx.Client, anybody: httpx.Client) -> None:
    conversation, other = str(uuid.uuid4()), str(uuid.uuid4())
    reply = agent.post("/api/v1/widget/sessions", json={"conversation_id": conversation})
    assert reply.status_code == 200
    assert list(reply.json()["data"]) == ["token", "expires_at"]
    widget = bearer(reply.json()["data"]["token"])
    taken = anybody.post("/api/v1/widget/media/upload", files={"file": ("a.png", PNG)}, headers=widget)
    assert taken.status_code == 200, taken.text
    id = taken.json()["data"]["uuid"]
    assert anybody.get(f"/uploads/{id}", headers=widget).content == PNG
    hidden = agent.post("/api/upload", files={"file": ("b.png", PNG)}, data={"conversationId": other}).json()["id"]
    assert_error(anybody.get(f"/uploads/{hidden}", headers=widget), 404, "NotFoundError", f'attachment "{hidden}" not found')
    refused = anybody.post("/api/v1/widget/media/upload", files={"file": ("a.png", PNG)}, headers=bearer(attachd.key))
    message = "authentication required: send the token of a widget session as `Authorization: Bearer …`"
    assert_error(refused, 401, "AuthError", message)


MISSING = "01900000-0000-7000-8000-000000000000"
INVALID = "the link's signature is not valid: follow it as it was given, or ask for a new one"
ANONYMOUS = "authentication required: send the session cookie or an API key"
FORM = "multipart/form-data; boundary=b"
FILE = ("file", ("a.png", PNG))
BAD_FORMS: dict[str, tuple[dict[str, Any], str]] = {
    "no-file": ({"files": [("x", (None, "1"))]}, 'the form has no file: send it in the field "file" or "files"'),
    "a-text": ({"files": [("file", (None, "1"))]}, "the field file has no file name: send it as a file"),
    "another-field": (
        {"files": [("upload", ("a.png", PNG))]},
        'a file came in the field "upload": send it in "file" or "files"',
    ),
    "two-files": ({"files": [FILE, ("files", ("b.png", PNG))]}, "the form has more than one file: send one a request"),
    "empty": ({"files": [("file", ("a.png", b""))]}, "the file is empty"),
    "another-type": (
        {"files": [("file", ("a.png", b"<html>"))]},
        "the content does not agree with .png (image/png): it looks like text/html",
    ),
    "no-name": (
        {"files": [("file", (" ", b"x"))]},
        "the file has no name: send one in the part's filename parameter",
    ),
    "a-path": (
        {"files": [("file", ("../a.png", PNG))]},
        "the file name has a slash or backslash: send the name without its folders",
    ),
    "inline-twice": ({"files": [("inline", (None, "true")), ("inline", (None, "true")), FILE]}, "the form has inline twice"),
    "inline-not-text": ({"files": [("inline", (None, b"\xff")), FILE]}, "inline must be UTF-8"),
    "json": ({"json": {}}, "send the file as multipart/form-data; Content-Type is application/json"),
    "nothing": ({}, "send the file as multipart/form-data; Content-Type is nothing"),
    "cut-off": (
        {"content": b"--b\r\nxxx", "headers": {"Content-Type": FORM}},
        "the body ended before its closing boundary: it was cut off, send it again",
    ),
    "no-boundary": (
        {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}},
        "Content-Type has no boundary: let the client library set this header",
    ),
    "compressed": (
        {"content": b"x", "headers": {"Content-Type": FORM, "Content-Encoding": "gzip"}},
        "Content-Encoding is not supported: send the body as it is",
    ),
}


@pytest.mark.parametrize(("request_", "message"), BAD_FORMS.values(), ids=BAD_FORMS.keys())
def test_a_form_that_cannot_be_used(agent: httpx.Client, request_: dict[str, Any], message: str) -> None:
    assert_error(agent.post("/api/v1/media", **request_), 400, "InputError", message)


@pytest.mark.parametrize("field", ["file", "files"])
@pytest.mark.parametrize("name", ["page.html", "picture.svg", "program.exe", "without", "Grüße 日本.txt"])
def test_every_type_is_taken_and_served_without_running(
    agent: httpx.Client, anybody: httpx.Client, field: str, name: str
) -> None:
    reply = agent.post("/api/v1/media", files={field: (name, b"<script>alert(1)</script>")})
    assert (reply.status_code, reply.json()["data"]["filename"]) == (200, name)
    served = anybody.get(reply.json()["data"]["url"])
    assert served.content == b"<script>alert(1)</script>"
    assert served.headers["content-disposition"].startswith("attachment")
    assert served.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert served.headers["x-content-type-options"] == "nosniff"


def test_the_largest_file_and_one_byte_more(agent: httpx.Client) -> None:
    content = bytes(25 * MEBIBYTE)
    assert upload(agent, content, "a.bin")["size"] == len(content)
    assert upload(agent, PNG + bytes(25 * MEBIBYTE - len(PNG)), "a.png")["size"] == len(content), "images too"
    message = "the file exceeds the limit of 26214400 bytes (25 MB) for .bin files"
    more = agent.post("/api/v1/media", files={"file": ("a.bin", content + b"x")})
    assert_error(more, 413, "TooLargeError", message)
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'
    unannounced = iter([head, content, b"x", b"\r\n--b--\r\n"])
    assert_error(
        agent.post("/api/v1/media", content=unannounced, headers={"Content-Type": FORM}), 413, "TooLargeError", message
    )


@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer("attachd_unknown"),
        bearer("attachd_widget_unknown"),
        {"Cookie": "session=unknown"},
        {"Authorization": "Basic eDp4"},
    ],
    ids=["none", "key", "widget", "session", "scheme"],
)
def test_who_is_nobody_is_refused(agent: httpx.Client, anybody: httpx.Client, headers: dict[str, str]) -> None:
    refused = anybody.post("/api/v1/media", files={"file": ("a.png", PNG)}, headers=headers)
    assert_error(refused, 401, "AuthError", ANONYMOUS)
    assert refused.headers["www-authenticate"] == 'Bearer realm="api"'
    path = f"/uploads/{upload(agent)['uuid']}"
    for asked in (path, f"/uploads/{MISSING}", "/uploads/x"):
        assert_error(anybody.get(asked, headers=headers), 401, "AuthError", ANONYMOUS)
    assert anybody.head(path, headers=headers).status_code == 401
    assert_error(anybody.post("/api/v1/widget/sessions", json={}, headers=headers), 401, "AuthError", ANONYMOUS)


def test_a_key_uploads_and_a_page_of_another_site_does_not(
    attachd: Attachd, agent: httpx.Client, anybody: httpx.Client
) -> None:
    reply = anybody.post("/api/v1/media", files={"file": ("a.png", PNG)}, headers=bearer(attachd.key) | CROSS_SITE)
    assert reply.status_code == 200
    message = "cross-site request refused: its origin is neither this server's nor in server.allowed_origins"
    for path, body in (("/api/v1/media", {"files": {"file": ("a.png", PNG)}}), ("/api/v1/widget/sessions", {"json": {}})):
        assert_error(agent.post(path, headers=CROSS_SITE, **body), 403, "PermissionError", message)


def test_what_is_not_there(attachd: Attachd, agent: httpx.Client) -> None:
    assert_error(agent.get("/api/v1/nothing"), 404, "NotFoundError", "there is nothing at /api/v1/nothing")
    assert_error(agent.get("/uploads/"), 404, "NotFoundError", "there is nothing at /uploads/")
    for id in (MISSING, "x"):
        assert_error(agent.get(f"/uploads/{id}"), 404, "NotFoundError", f'attachment "{id}" not found')
    media = upload(agent)
    id = media["uuid"]
    with attachd.client("stranger") as stranger:
        assert_error(stranger.get(f"/uploads/{id}"), 404, "NotFoundError", f'attachment "{id}" not found')
        assert stranger.get(media["url"]).content == PNG, "who has the link gets the file, logged in elsewhere or not"


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/api/v1/media", "POST"),
        ("PUT", "/api/v1/media", "POST"),
        ("DELETE", f"/uploads/{MISSING}", "GET, HEAD"),
        ("GET", "/api/v1/widget/sessions", "POST"),
        ("GET", "/api/v1/widget/media/upload", "POST"),
    ],
)
def test_methods(agent: httpx.Client, method: str, path: str, allow: str) -> None:
    reply = agent.request(method, path)
    assert_error(reply, 405, "InputError", f"{method} is not supported here, only {allow}")
    assert reply.headers["allow"] == allow


def test_ranges_and_conditions(agent: httpx.Client, anybody: httpx.Client) -> None:
    url = upload(agent)["url"]
    whole = anybody.head(url)
    assert (whole.status_code, whole.content, whole.headers["content-length"]) == (200, b"", str(len(PNG)))
    part = anybody.get(url, headers={"Range": "bytes=1-3"})
    assert (part.status_code, part.content) == (206, b"PNG")
    assert part.headers["content-range"] == f"bytes 1-3/{len(PNG)}"
    assert anybody.get(url, headers={"If-None-Match": whole.headers["etag"]}).status_code == 304
    beyond = anybody.get(url, headers={"Range": "bytes=1000-"})
    assert_error(beyond, 416, "InputError", f"the range lies outside the file of {len(PNG)} bytes")
    assert beyond.headers["content-range"] == f"bytes */{len(PNG)}"
    changed = f"the file is not the one that was asked for; its ETag is {whole.headers['etag']}"
    assert_error(anybody.get(url, headers={"If-Match": '"x"'}), 412, "InputError", changed)


def test_links_that_are_no_good(attachd: Attachd, agent: httpx.Client, anybody: httpx.Client) -> None:
    media, other = upload(agent), upload(agent)
    url = media["url"]
    query = parse_qs(urlsplit(url).query)
    (signature,), (expires_at,), (kid,) = query["sig"], query["exp"], query["kid"]
    wrong = {
        "truncated": url.replace(signature, signature[:-1]),
        "padded": url.replace(signature, f"{signature}="),
        "of another file": url.replace(media["uuid"], other["uuid"]),
        "other key": url.replace(kid, "other"),
        "expiry": url.replace(expires_at, str(int(expires_at) + 1)),
        "expired": url.replace(expires_at, "1"),
        "no number": url.replace(expires_at, "never"),
        "no expiry": url.replace(f"&exp={expires_at}", ""),
        "of API A": agent.get("/api/trpc/attachments.url", params={"input": f'{{"id":"{media["uuid"]}"}}'})
        .json()["result"]["data"]["json"]["url"]
        .replace("/api/attachments/", "/uploads/")
        .replace("/download", ""),
    }
    for name, link in wrong.items():
        assert_error(anybody.get(link), 401, "AuthError", INVALID)
        assert anybody.head(link).status_code == 401, name
        assert agent.get(link).content == PNG, "who needs no link gets the file"
    twice = "the link has a parameter twice: follow it as it was given"
    for link in (f"{url}&sig={signature}", f"{url}&exp={expires_at}", f"{url}&kid={kid}"):
        assert_error(anybody.get(link), 401, "AuthError", twice)
    assert anybody.get(url).content == PNG


def test_a_deleted_file_is_gone_at_once(agent: httpx.Client, anybody: httpx.Client) -> None:
    media = upload(agent)
    id = media["uuid"]
    assert agent.post("/api/trpc/attachments.delete", json={"id": id}).status_code == 200
    for client in (agent, anybody):
        assert_error(client.get(media["url"]), 404, "NotFoundError", f'attachment "{id}" not found')
    assert_error(anybody.get(f"/uploads/{id}"), 401, "AuthError", ANONYMOUS)


BROWSER = """
const [base, cookie] = process.argv.slice(1);
const form = new FormData();
const png = new Uint8Array([0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10, 1]);
form.append("file", new File([png], 'Größe "1".png', { type: "text/html" }));
form.append("inline", String(true));
const answer = await fetch(`${base}/api/v1/media`, { method: "POST", body: form, headers: { cookie } });
const { data } = await answer.json();
const image = await fetch(data.url);
const bytes = new Uint8Array(await image.arrayBuffer());
console.log(JSON.stringify({ status: answer.status, ...data, shown: image.headers.get("content-type"), bytes: bytes.length }));
"""


def test_a_form_as_browsers_send_it(attachd: Attachd) -> None:
    arguments = [attachd.base_url, f"session={attachd.tokens['member']}"]
    done = subprocess.run(
        [*node_command(), "--input-type=module", "--eval", BROWSER, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["status"], said["filename"], said["content_type"], said["inline"]) == (200, 'Größe "1".png', "image/png", True)
    assert (said["shown"], said["bytes"], said["size"]) == ("image/png", 9, 9)


def test_media_are_attachments(agent: httpx.Client) -> None:
    media = upload(agent)
    listed = agent.get("/api/trpc/attachments.get", params={"input": f'{{"id":"{media["uuid"]}"}}'}).json()
    seen = listed["result"]["data"]["json"]
    assert (seen["id"], seen["filename"], seen["conversation_id"]) == (media["uuid"], media["filename"], None)


def test_a_client_that_stops_sending_and_a_file_that_is_lost(tmp_path: Path) -> None:
    with Attachd(tmp_path, ATTACHD_UPLOAD_IDLE_TIMEOUT_SECONDS="0.5") as site, site.client() as client:
        media = upload(client)
        host, port = site.base_url.removeprefix("http://").split(":")
        head = f"POST /api/v1/media HTTP/1.1\r\nHost: x\r\nCookie: session={site.tokens['member']}\r\n"
        with socket.create_connection((host, int(port)), 60) as connection:
            connection.sendall(f"{head}Content-Type: {FORM}\r\nContent-Length: 9\r\n\r\n--b".encode())
            answer = connection.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 408 ")
        message = "nothing came for 0.5 seconds, the request is given up"
        assert json.loads(answer.partition(b"\r\n\r\n")[2]) == error("InputError", message)
        site.backing.lose_bytes(media["uuid"])
        lost = client.get(media["url"])
        assert (lost.status_code, lost.json()["error_type"]) == (503, "GeneralError")
        assert lost.json() == error("GeneralError", lost.json()["message"])
        assert lost.headers["retry-after"] == "5"
