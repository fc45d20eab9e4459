"""API D on a real server: the examples of its document as printed, every error, its limit from both sides, its public links."""

import json
import re
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest

from rest.chat import CHAT_ERRORS, folder_of
from schemas import Principal
from storage import MEBIBYTE
from tests.rest.live import eventually
from tests.rest.posts import HEIC, JPEG, PNG, api_key, client, procedure, raw_file, raw_form
from tests.running import ROOT, Attachd

UPLOAD = "/v1/chat/upload/"
CAPABILITY = r"[A-Za-z0-9_-]{43}"
ID = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"
DOCX = b"PK\x03\x04" + bytes(26) + b"[Content_Types].xml"
COMPOUND = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(64)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attachd]:
    """A server with a limit that is not the default."""
    with Attachd(tmp_path_factory.mktemp("chat"), ATTACHD_CHAT_MAX_FILE_SIZE_MB="1") as running:
        yield running


@pytest.fixture(scope="module")
def store(server: Attachd) -> str:
    """A store's token."""
    return api_key(server, "store")


@pytest.fixture(scope="module")
def api(server: Attachd, store: str) -> Iterator[httpx.Client]:
    """A client with the store's token."""
    with client(server, f"Token {store}") as found:
        yield found


@pytest.fixture(scope="module")
def anyone(server: Attachd) -> Iterator[httpx.Client]:
    """A client without any credential."""
    with client(server, None) as found:
        yield found


def uploaded(api: httpx.Client, name: str = "image.jpg", content: bytes = JPEG, **data: str) -> str:
    """The path of the public link of an upload that succeeds."""
    answer = api.post(UPLOAD, files={"file": (name, content)}, data=data)
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) == {"url", "type"}
    url: str = answer.json()["url"]
    assert url.startswith(f"{str(api.base_url).rstrip('/')}/chat/")
    return urlsplit(url).path


def id_of(path: str) -> str:
    """The id of the attachment in a public link."""
    return path.split("/")[3]


def assert_refused(answer: httpx.Response, status: int, text: str) -> None:
    """An error in the document's shape, with that text."""
    assert (answer.status_code, answer.json()) == (status, {"error": text})
    assert answer.headers["content-type"] == "application/json"


def key_id(server: Attachd, role: str, organization_id: str) -> str:
    """The id of the newest key of that role."""
    lines = [line.split("\t") for line in server.run("key", "list").splitlines()]
    return [line[0] for line in lines if role in line and organization_id in line][-1]


def test_takes_the_documents_curl_line(server: Attachd, store: str, tmp_path: Path) -> None:
    (tmp_path / "image.jpg").write_bytes(JPEG)
    script = f"""
    curl -X POST "{server.base_url}/v1/chat/upload/" \\
      -H "Authorization: Token {store}" \\
      -F "file=@{tmp_path}/image.jpg" \\
      -F "session_id=1"
    """
    assert shutil.which("curl")
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout)
    assert answer["type"] == "image/jpeg"
    assert re.fullmatch(rf"{re.escape(server.base_url)}/chat/session-1/{ID}/{CAPABILITY}/image\.jpg", answer["url"])


def test_takes_the_form_of_a_browser(api: httpx.Client) -> None:
    """What `new FormData()` with the file, then `session_id`, becomes in Chromium."""
    boundary = "----WebKitFormBoundary7MA4YWxkTrZu0gW"
    body = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="Foto %22ä%22.jpg"\r\n'.encode()
        + b"Content-Type: image/jpeg\r\n\r\n"
        + JPEG
        + f'\r\n--{boundary}\r\nContent-Disposition: form-data; name="session_id"\r\n\r\n1\r\n--{boundary}--\r\n'.encode()
    )
    answer = api.post(UPLOAD, content=body, headers={"Content-Type": f"multipart/form-data; boundary={boundary}"})
    assert answer.json()["type"] == "image/jpeg"
    assert urlsplit(answer.json()["url"]).path.endswith("/" + quote('Foto "ä".jpg'))


@pytest.mark.parametrize(
    ("name", "content", "type_"),
    [
        ("a.JPG", JPEG, "image/jpeg"),
        ("a.jpeg", JPEG, "image/jpeg"),
        ("a.png", PNG, "image/png"),
        ("a.gif", b"GIF89a" + bytes(20), "image/gif"),
        ("IMG_0001.HEIC", HEIC, "image/heic"),
        ("a.heif", HEIC.replace(b"ftypheic", b"ftypmif1"), "image/heif"),
        ("a.pdf", b"%PDF-1.7\n", "application/pdf"),
        ("a.doc", COMPOUND, "application/msword"),
        ("a.docx", DOCX, "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        ("a.xls", COMPOUND, "application/vnd.ms-excel"),
        ("a.xlsx", DOCX, "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ],
)
def test_types_come_from_the_extension(api: httpx.Client, anyone: httpx.Client, name: str, content: bytes, type_: str) -> None:
    answer = api.post(UPLOAD, files={"file": (name, content, "text/html")})
    assert (answer.status_code, answer.json()["type"]) == (200, type_)
    got = anyone.get(answer.json()["url"])
    assert (got.content, got.headers["content-type"]) == (content, type_)
    is_shown = name.lower().endswith((".jpg", ".jpeg", ".png", ".gif", ".pdf"))
    assert got.headers["content-disposition"].startswith("inline" if is_shown else "attachment")


def test_keys_are_by_session_store_and_admin(server: Attachd, api: httpx.Client) -> None:
    store_id = key_id(server, "store", server.organization_id)
    assert uploaded(api).startswith(f"/chat/store-{store_id}/")
    assert uploaded(api, session_id="s_1-A").startswith("/chat/session-s_1-A/")
    key = api_key(server, "admin")
    with client(server, f"token {key}") as admin:
        admin_id = key_id(server, "admin", server.organization_id)
        assert uploaded(admin).startswith(f"/chat/admin-{admin_id}/")
        assert uploaded(admin, session_id="9").startswith("/chat/session-9/")
    member = Principal(kind="key", user_id="u", organization_id="o", role="member")
    assert folder_of(member, None) == "chat/general"


def test_the_link_is_of_the_base_url_whatever_host_is_named(api: httpx.Client, server: Attachd) -> None:
    answer = api.post(UPLOAD, files={"file": ("a.png", PNG)}, headers={"Host": "evil.example"})
    assert answer.json()["url"].startswith(f"{server.base_url}/chat/")


def test_the_link_is_public_whole_and_its_own(api: httpx.Client, anyone: httpx.Client) -> None:
    one, other = (uploaded(api, session_id="1") for _ in range(2))
    assert one.split("/")[4] != other.split("/")[4]
    got = anyone.get(one)
    assert (got.status_code, got.content) == (200, JPEG)
    assert got.headers["cross-origin-resource-policy"] == "cross-origin", "pages of other sites show it"
    assert got.headers["x-content-type-options"] == "nosniff"
    assert got.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert got.headers["cache-control"] == "private, no-cache", "it dies with the file"
    head = anyone.head(one)
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(JPEG)), b"")
    assert anyone.get(one, headers={"If-None-Match": got.headers["etag"]}).status_code == 304
    part = anyone.get(one, headers={"Range": "bytes=0-1"})
    assert (part.status_code, part.content) == (206, b"\xff\xd8")
    saved = anyone.get(one, params={"download": "1"})
    assert saved.headers["content-disposition"] == 'attachment; filename="image.jpg"'


def test_only_the_right_secret_opens_the_file(api: httpx.Client, anyone: httpx.Client) -> None:
    one, other = uploaded(api), uploaded(api)
    _, chat, folder, id, capability, name = one.split("/")
    for wrong in (
        f"/{chat}/{folder}/{id}/{capability[:-1]}{'A' if capability[-1] != 'A' else 'E'}/{name}",
        f"/{chat}/{folder}/{id}/{other.split('/')[4]}/{name}",
        f"/{chat}/{folder}/{id_of(other)}/{capability}/{name}",
        f"/{chat}/{folder}/{id}/{'A' * 43}/{name}",
        f"/{chat}/{folder}/{id}/{capability}x/{name}",
        f"/{chat}/{folder}/{id}/%00/{name}",
        f"/{chat}/{folder}/{id}/{name}",
        f"/{chat}/{folder}/{id}/{capability}/",
        "/chat/",
        "/v1/chat/",
    ):
        assert_refused(anyone.get(wrong), 404, "Not found")
    assert anyone.get(one.replace(id, id.upper())).status_code == 200
    assert anyone.get(f"/{chat}/general/{id}/{capability}/other").content == JPEG, "for people only"


def test_the_link_dies_with_the_file_and_comes_back_with_it(server: Attachd, api: httpx.Client, anyone: httpx.Client) -> None:
    path = uploaded(api)
    with server.client("admin") as admin:
        for name, status in (("delete", 404), ("restore", 200)):
            assert admin.post(f"/api/trpc/attachments.{name}", json={"id": id_of(path)}).status_code == 200
            assert anyone.get(path).status_code == status
            assert anyone.head(path).status_code == status


def test_the_link_outlives_a_new_name(server: Attachd, api: httpx.Client, anyone: httpx.Client) -> None:
    path = uploaded(api)
    with server.client("admin") as admin:
        renamed = {"id": id_of(path), "filename": "new.jpeg"}
        assert admin.post("/api/trpc/attachments.rename", json=renamed).status_code == 200
    assert anyone.get(path).headers["content-disposition"] == 'inline; filename="new.jpeg"'


def test_the_secret_is_neither_logged_nor_kept(server: Attachd, api: httpx.Client, anyone: httpx.Client) -> None:
    path = uploaded(api)
    assert anyone.get(path).status_code == 200
    server.backing.lose_bytes(id_of(path))
    lost = anyone.get(path)
    assert (lost.status_code, set(lost.json())) == (503, {"error"})
    assert int(lost.headers["retry-after"]) > 0
    capability = path.split("/")[4].encode()
    assert eventually(lambda: b"/chat/{folder}/{id}/{capability}/{name} failed" in server.log.read_bytes())
    assert not any(capability in kept for kept in (*server.backing.database.dump(), server.log.read_bytes()))


def test_the_other_apis_see_it(server: Attachd, api: httpx.Client) -> None:
    path = uploaded(api, "seen-by-all.jpg", session_id="1")
    got = procedure(server, "attachments.get", id=id_of(path))
    assert (got["filename"], got["content_type"], got["conversation_id"]) == ("seen-by-all.jpg", "image/jpeg", None)
    page = procedure(server, "attachments.page", filename="seen-by-all")
    assert [item["id"] for item in page["items"]] == [id_of(path)]
    with server.client() as member, server.client("stranger") as stranger, client(server, f"Bearer {server.key}") as key:
        assert member.get(f"/api/attachments/{id_of(path)}/download").content == JPEG
        assert key.get(f"/files/{id_of(path)}/preview").content == JPEG
        assert stranger.get(f"/api/attachments/{id_of(path)}/download").status_code == 404
    with client(server, None) as nobody:
        assert nobody.get(f"/api/attachments/{id_of(path)}/download").status_code == 401, "the link is the one way in"
    conversation = str(uuid.uuid4())
    attached = {"ids": [id_of(path)], "conversationId": conversation}
    with client(server, api.headers["authorization"].replace("Token", "Bearer")) as owner:
        assert owner.post("/api/trpc/attachments.attach", json=attached).status_code == 200
    assert [item["id"] for item in procedure(server, "attachments.list", conversationId=conversation)] == [id_of(path)]


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"json": {"file": "x"}}, id="json"),
        pytest.param({"data": {"session_id": "1"}}, id="no-multipart"),
        pytest.param(raw_form(raw_file(b"; name=session_id", b"1")), id="form-without-file"),
        pytest.param(raw_form(raw_file(b"; name=file")), id="text-field"),
        pytest.param(raw_form(raw_file(b'; name="file"; filename=""', b"")), id="no-name"),
        pytest.param({"files": {"other": ("a.png", PNG)}}, id="field"),
    ],
)
def test_a_missing_file(api: httpx.Client, request_: dict[str, Any]) -> None:
    assert_refused(api.post(UPLOAD, **request_), 400, "file is required")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.webp", b"RIFF\x24\0\0\0WEBP"),
        ("a.txt", b"hello"),
        ("a.svg", b"<svg/>"),
        ("a.html", b"<html>"),
        ("a.exe", b"MZ"),
        ("a", PNG),
        ("a.png", JPEG),
        ("a.jpg", b"<script>alert(1)</script>"),
        ("a.heic", JPEG),
        ("a.pdf", b"MZ"),
    ],
)
def test_types_that_are_not_taken(server: Attachd, api: httpx.Client, name: str, content: bytes) -> None:
    count = procedure(server, "attachments.usage")["count"]
    assert_refused(api.post(UPLOAD, files={"file": (name, content)}), 400, "Unsupported file type")
    assert procedure(server, "attachments.usage")["count"] == count


@pytest.mark.parametrize("session_id", ["", "a/b", "..", "a b", "ä", "x" * 65, "1\n", "a%2Fb", "a.b"])
@pytest.mark.parametrize("is_before", [True, False], ids=["before", "after"])
def test_sessions_that_are_no_path_segment(api: httpx.Client, session_id: str, is_before: bool) -> None:
    session = raw_file(b"; name=session_id", session_id.encode())
    file = raw_file(b'; name="file"; filename="a.png"', PNG)
    answer = api.post(UPLOAD, **raw_form(*((session, file) if is_before else (file, session))))
    assert_refused(answer, 400, "session_id must have 1 to 64 letters, digits, - and _")


def test_the_longest_session(api: httpx.Client) -> None:
    assert uploaded(api, session_id="x" * 64).startswith(f"/chat/session-{'x' * 64}/")


@pytest.mark.parametrize(
    ("request_", "status", "words"),
    [
        pytest.param({"files": [("file", ("a.png", PNG))] * 2}, 400, "more than one file", id="two-files"),
        pytest.param({"files": {"file": ("a.png", b"")}}, 400, "empty", id="empty"),
        pytest.param({"files": {"file": ("a/b.png", PNG)}}, 400, "slash", id="slash"),
        pytest.param({"files": {"file": ("n" * 252 + ".png", PNG)}}, 400, "255 bytes", id="long-name"),
        pytest.param(
            {"files": {"file": ("a.png", PNG)}, "headers": {"Content-Digest": "sha-256=:AAAA:"}}, 400, "Digest", id="digest"
        ),
        pytest.param(
            {"files": {"file": ("a.png", PNG)}, "headers": {"Content-Encoding": "br"}}, 415, "Content-Encoding", id="compressed"
        ),
    ],
)
def test_other_refusals_say_what_to_mend(api: httpx.Client, request_: dict[str, Any], status: int, words: str) -> None:
    answer = api.post(UPLOAD, **request_)
    assert (answer.status_code, set(answer.json())) == (status, {"error"})
    assert words in answer.json()["error"]


@pytest.mark.parametrize("scheme", ["", "Token", "Token attachd_unknown", "Bearer {store}", "{store}", "Token {member}"])
def test_only_tokens_of_stores_and_admins_upload(server: Attachd, store: str, scheme: str) -> None:
    with client(server, scheme.format(store=store, member=server.key) or None) as caller:
        caller.cookies.set("session", server.tokens["admin"])
        answer = caller.post(UPLOAD, files={"file": ("a.png", PNG)})
    assert_refused(answer, 401, "Unauthorized")
    assert answer.headers["www-authenticate"] == 'Token realm="api"'


@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunked"])
def test_the_limit_from_both_sides(api: httpx.Client, is_chunked: bool) -> None:
    for size in (MEBIBYTE, MEBIBYTE + 1):
        request = api.build_request("POST", UPLOAD, files={"file": ("a.jpg", JPEG.ljust(size, b"\0"))})
        if is_chunked:
            body, headers = request.read(), {"Content-Type": request.headers["content-type"]}
            pieces = (body[place : place + 65_536] for place in range(0, len(body), 65_536))
            request = api.build_request("POST", UPLOAD, content=pieces, headers=headers)
        answer = api.send(request)
        if size == MEBIBYTE:
            assert answer.status_code == 200
        else:
            assert_refused(answer, 413, "File too large")


def test_a_body_far_over_the_limit(api: httpx.Client) -> None:
    answer = api.post(UPLOAD, files={"file": ("a.jpg", JPEG.ljust(3 * MEBIBYTE, b"\0"))})
    assert_refused(answer, 413, "File too large")


def test_without_the_last_slash_it_redirects(api: httpx.Client) -> None:
    answer = api.post("/v1/chat/upload?a=b", files={"file": ("a.png", PNG)})
    assert (answer.status_code, answer.headers["location"], answer.content) == (307, "/v1/chat/upload/?a=b", b"")
    followed = api.post("/v1/chat/upload", files={"file": ("a.png", PNG)}, follow_redirects=True)
    assert (followed.status_code, followed.json()["type"]) == (200, "image/png")


@pytest.mark.parametrize(
    ("path", "allow"),
    [(UPLOAD, "POST"), ("/v1/chat/upload", "POST"), ("/chat/general/x/y/z", "GET, HEAD")],
)
def test_other_methods(api: httpx.Client, path: str, allow: str) -> None:
    answer = api.put(path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allow)
    assert set(answer.json()) == {"error"}


def test_conditions_and_ranges_are_refused_in_the_documents_shape(api: httpx.Client, anyone: httpx.Client) -> None:
    path = uploaded(api)
    beyond = anyone.get(path, headers={"Range": "bytes=9999-"})
    assert (beyond.status_code, set(beyond.json())) == (416, {"error"})
    assert beyond.headers["content-range"] == f"bytes */{len(JPEG)}"
    changed = anyone.get(path, headers={"If-Match": '"x"'})
    assert (changed.status_code, set(changed.json())) == (412, {"error"})


def test_the_errors_are_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for status, text in CHAT_ERRORS.values():
        assert f"| `{text}` | {status} |" in readme
