"""API C on a real server: the examples of its document as printed, every error, every limit from both sides."""

import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from rest import Refused
from rest.files import DEFAULT_USER, FILES_ERRORS, RANGE_NOT_SATISFIABLE
from storage import MEBIBYTE
from tests.rest.live import read_answer
from tests.rest.posts import JPEG, MP4, PNG, api_key, client, procedure, raw_file, raw_form
from tests.running import ROOT, Attachd

UPLOAD = "/files/upload"
# The document's answer, member by member, with the types of its values.
MEMBERS = {
    "id": str,
    "name": str,
    "size": int,
    "extension": str,
    "mime_type": str,
    "created_by": str,
    "created_at": int,
    "preview_url": type(None),
    "source_url": type(None),
    "original_url": type(None),
    "user_id": str,
    "tenant_id": str,
    "conversation_id": type(None),
    "file_key": str,
}
REQUESTS_PER_MINUTE = 3


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attachd]:
    """A server with small limits, none of them the default, so that each is seen to be its own."""
    with Attachd(
        tmp_path_factory.mktemp("files"),
        ATTACHD_FILES_MAX_IMAGE_SIZE_MB="1",
        ATTACHD_FILES_MAX_AUDIO_SIZE_MB="3",
        ATTACHD_FILES_MAX_VIDEO_SIZE_MB="4",
        ATTACHD_FILES_MAX_OTHER_SIZE_MB="2",
        ATTACHD_FILES_MAX_USER_CHARACTERS="20",
        ATTACHD_AUTH_SESSION_CACHE_SECONDS="1",  # a key that is revoked is refused soon
    ) as running:
        yield running


@pytest.fixture(scope="module")
def api(server: Attachd) -> Iterator[httpx.Client]:
    """A client with the member's API key."""
    with client(server, f"Bearer {server.key}") as found:
        yield found


def stored(api: httpx.Client, name: str = "product-photo.png", content: bytes = PNG, path: str = UPLOAD, **data: str) -> Any:
    """The answer of an upload that succeeds."""
    answer = api.post(path, files={"file": (name, content)}, data=data)
    assert answer.status_code == 201, answer.text
    return answer.json()


def assert_refused(answer: httpx.Response, status: int, code: str, *words: str) -> None:
    """An error in the document's shape; its message has the words."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert (set(body), body["code"], body["status"]) == ({"code", "message", "status"}, code, status)
    assert answer.headers["content-type"] == "application/json"
    for word in words:
        assert word in body["message"], body["message"]


@pytest.mark.parametrize("path", [UPLOAD, f"/v1{UPLOAD}"])
def test_answers_with_every_documented_member(server: Attachd, api: httpx.Client, path: str) -> None:
    before = int(time.time())
    answer = api.post(path, files={"file": ("Product-Photo.PNG", PNG, "text/html")}, data={"user": "abc-123"})
    assert answer.status_code == 201
    body = answer.json()
    assert {name: type(value) for name, value in body.items()} == MEMBERS
    assert list(body) == list(MEMBERS), "in the document's order"
    for name in ("id", "created_by", "user_id", "tenant_id"):
        assert str(uuid.UUID(body[name])) == body[name]
    assert (body["name"], body["extension"], body["mime_type"]) == ("Product-Photo.PNG", "png", "image/png")
    assert (body["size"], body["tenant_id"]) == (len(PNG), server.organization_id)
    assert body["created_by"] == body["user_id"]
    assert before <= body["created_at"] <= time.time()
    assert body["file_key"] == f"uploads/{body['id']}/Product-Photo.PNG"
    assert api.get(answer.headers["location"], params={"user": "abc-123"}).content == PNG


def test_takes_what_curl_sends(server: Attachd, tmp_path: Any) -> None:
    (tmp_path / "product-photo.png").write_bytes(PNG)
    curl = shutil.which("curl")
    assert curl is not None
    arguments = ["--silent", "--show-error", "-X", "POST", "-H", f"Authorization: Bearer {server.key}"]
    form = ["-F", "file=@product-photo.png;type=image/png", "-F", "user=abc-123"]
    done = subprocess.run(
        [curl, *arguments, *form, server.base_url + UPLOAD], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert httpx.Response(201, text=done.stdout).json()["name"] == "product-photo.png"


@pytest.mark.parametrize(
    ("name", "extension", "mime_type"),
    [
        ("README", None, "application/octet-stream"),
        (".profile", None, "application/octet-stream"),
        ("a.tar.GZ", "gz", "application/gzip"),
        ("a.unheard-of", "unheard-of", "application/octet-stream"),
        ("Seite.html", "html", "text/html"),
        ("日本語.md", "md", "text/markdown"),
    ],
)
def test_takes_any_extension(api: httpx.Client, name: str, extension: str | None, mime_type: str) -> None:
    content = b"\x1f\x8b\x08" if extension == "gz" else b"<script>alert(1)</script>"
    body = stored(api, name, content)
    assert (body["name"], body["extension"], body["mime_type"]) == (name, extension, mime_type)
    preview = api.get(f"/files/{body['id']}/preview")
    assert preview.headers["content-type"] == mime_type
    assert preview.headers["content-disposition"].startswith("attachment;")
    assert preview.headers["x-content-type-options"] == "nosniff"
    assert preview.headers["content-security-policy"] == "sandbox; default-src 'none'"


def test_a_user_has_the_same_uuid_each_time_and_another_one_another(api: httpx.Client) -> None:
    ids = [stored(api, user=user)["user_id"] for user in ("a", "a", "b", "", DEFAULT_USER)]
    assert ids[0] == ids[1]
    assert ids[3] == ids[4]
    assert len(set(ids)) == 3
    assert stored(api)["user_id"] == ids[3]


def test_a_file_is_given_to_its_user_only(api: httpx.Client) -> None:
    path = f"/files/{stored(api, user='alice')['id']}/preview"
    assert api.get(path, params={"user": "alice"}).content == PNG
    assert api.head(f"/v1{path}", params={"user": "alice"}).headers["content-length"] == str(len(PNG))
    for params in ({"user": "bob"}, {}, {"user": ""}):
        assert_refused(api.get(path, params=params), 404, "not_found")
    shared = f"/files/{stored(api)['id']}/preview"
    assert [api.get(shared, params=params).status_code for params in ({}, {"user": ""}, {"user": "alice"})] == [200, 200, 404]


def test_a_preview_is_shown_or_saved_ranged_and_cached(api: httpx.Client) -> None:
    path = f"/files/{stored(api)['id']}/preview"
    shown = api.get(path)
    assert shown.headers["content-disposition"] == 'inline; filename="product-photo.png"'
    assert shown.headers["content-type"] == "image/png"
    saved = api.get(path, params={"as_attachment": "true"})
    assert saved.headers["content-disposition"] == 'attachment; filename="product-photo.png"'
    part = api.get(path, headers={"Range": "bytes=1-3"})
    assert (part.status_code, part.content) == (206, b"PNG")
    assert api.get(path, headers={"If-None-Match": shown.headers["etag"]}).status_code == 304
    beyond = api.get(path, headers={"Range": "bytes=9999-"})
    assert_refused(beyond, 416, "range_not_satisfiable")
    assert beyond.headers["content-range"] == f"bytes */{len(PNG)}"
    assert_refused(api.get(path, headers={"If-Match": '"x"'}), 412, "precondition_failed")


def test_the_other_apis_see_it_and_delete_it(server: Attachd, api: httpx.Client) -> None:
    body = stored(api, "seen.png", user="alice")
    got = procedure(server, "attachments.get", id=body["id"])
    assert (got["filename"], got["content_type"], got["size"], got["conversation_id"]) == (
        "seen.png",
        "image/png",
        len(PNG),
        None,
    )
    page = procedure(server, "attachments.page", filename="seen.png")
    assert body["id"] in [item["id"] for item in page["items"]]
    with server.client("colleague") as colleague, server.client("admin") as admin, server.client("stranger") as stranger:
        download = f"/api/attachments/{body['id']}/download"
        assert colleague.get(download).content == PNG
        assert stranger.get(download).status_code == 404
        deleted = admin.post("/api/trpc/attachments.delete", json={"id": body["id"]})
        assert deleted.json()["result"]["data"]["json"] == {"success": True}
    assert_refused(api.get(f"/files/{body['id']}/preview", params={"user": "alice"}), 404, "not_found")


def test_what_api_a_took_is_previewed_for_every_user(server: Attachd, api: httpx.Client) -> None:
    conversation = str(uuid.uuid4())
    with server.client() as member:
        id = member.post("/api/upload", files={"file": ("a.txt", b"hello")}, data={"conversationId": conversation}).json()["id"]
    assert procedure(server, "attachments.list", conversationId=conversation)[0]["id"] == id
    assert [api.get(f"/files/{id}/preview", params={"user": user}).text for user in ("", "alice")] == ["hello", "hello"]
    with client(server, f"Bearer {api_key(server, 'admin', server.other_organization_id)}") as other:
        assert_refused(other.get(f"/files/{id}/preview"), 404, "not_found")


def test_the_file_of_a_key_can_be_attached_by_it(server: Attachd, api: httpx.Client) -> None:
    id, conversation = stored(api)["id"], str(uuid.uuid4())
    answer = api.post("/api/trpc/attachments.attach", json={"ids": [id], "conversationId": conversation})
    assert answer.status_code == 200
    assert [item["id"] for item in procedure(server, "attachments.list", conversationId=conversation)] == [id]


@pytest.mark.parametrize(
    ("request_", "status", "code", "words"),
    [
        pytest.param({}, 400, "no_file_uploaded", ["multipart/form-data"], id="nothing"),
        pytest.param({"json": {"file": "x"}}, 400, "no_file_uploaded", ["application/json"], id="json"),
        pytest.param({"data": {"user": "a"}}, 400, "no_file_uploaded", ["x-www-form-urlencoded"], id="no-multipart"),
        pytest.param(raw_form(raw_file(b"; name=user")), 400, "no_file_uploaded", ['"file"'], id="form-without-file"),
        pytest.param(raw_form(raw_file(b"; name=file")), 400, "no_file_uploaded", ["file name"], id="text-field"),
        pytest.param({"files": {"other": ("a.png", PNG)}}, 400, "no_file_uploaded", ['"other"', '"file"'], id="field"),
        pytest.param(
            {"files": [("file", ("a.png", PNG)), ("file", ("b.png", PNG))]}, 400, "too_many_files", ["one"], id="two-files"
        ),
        pytest.param(
            {"files": [("file", ("a.png", PNG)), ("more", ("b.png", PNG))]}, 400, "too_many_files", ["one"], id="two-fields"
        ),
        pytest.param(
            raw_form(raw_file(b'; name="file"; filename=""', b"")), 400, "filename_not_exists_error", ["no name"], id="no-name"
        ),
        pytest.param(
            raw_form(raw_file(b'; name="file"; filename=".."')), 400, "filename_not_exists_error", ["no name"], id="dots"
        ),
        pytest.param({"files": {"file": ("a/b.png", PNG)}}, 400, "invalid_param", ["slash"], id="slash"),
        pytest.param({"files": {"file": ("a\\b.png", PNG)}}, 400, "invalid_param", ["slash"], id="backslash"),
        pytest.param({"files": {"file": ("a\u202eb.png", PNG)}}, 400, "invalid_param", ["text-direction"], id="direction"),
        pytest.param({"files": {"file": ("a.exe", b"MZ")}}, 400, "invalid_param", [".exe"], id="blocked"),
        pytest.param({"files": {"file": ("a.PS1", b"x")}}, 400, "invalid_param", [".ps1"], id="blocked-upper-case"),
        pytest.param({"files": {"file": ("a.sh.", b"x")}}, 400, "invalid_param", [".sh"], id="blocked-behind-dot"),
        pytest.param({"files": {"file": ("a.png", b"")}}, 400, "invalid_param", ["empty"], id="empty-file"),
        pytest.param(
            {"files": {"file": ("a.png", PNG)}, "data": {"user": "u" * 21}}, 400, "invalid_param", ["20 characters"], id="user"
        ),
        pytest.param(
            {"files": {"file": ("a.png", PNG)}, "data": {"user": "a\tb"}}, 400, "invalid_param", ["control"], id="user-control"
        ),
        pytest.param(
            raw_form(raw_file(b"; name=user", b"\xff"), raw_file(b"; name=file; filename=a.txt")),
            *(400, "invalid_param", ["user must be UTF-8"]),
            id="user-bytes",
        ),
        pytest.param(
            raw_form(raw_file(b"; name=user", b"a"), raw_file(b"; name=user", b"b"), raw_file(b"; name=file; filename=a.txt")),
            *(400, "invalid_param", ["user twice"]),
            id="user-twice",
        ),
        pytest.param(
            {"files": {"file": ("a.png", PNG)}, "headers": {"Repr-Digest": "sha-256=:AAAA:"}},
            *(400, "invalid_param", ["Repr-Digest"]),
            id="digest",
        ),
        pytest.param({"files": {"file": ("a.png", JPEG)}}, 415, "unsupported_file_type", [".png", "image/jpeg"], id="content"),
        pytest.param({"files": {"file": ("a.mp4", PNG)}}, 415, "unsupported_file_type", [".mp4"], id="content-of-video"),
        pytest.param({"files": {"file": ("a.txt", b"a\0")}}, 415, "unsupported_file_type", ["text"], id="no-text"),
        pytest.param(
            {"files": {"file": ("a.png", PNG)}, "headers": {"Content-Encoding": "gzip"}},
            *(415, "unsupported_file_type", ["Content-Encoding"]),
            id="compressed",
        ),
    ],
)
@pytest.mark.parametrize("path", [UPLOAD, f"/v1{UPLOAD}"], ids=["", "v1"])
def test_refusals(
    server: Attachd, api: httpx.Client, path: str, request_: dict[str, Any], status: int, code: str, words: list[str]
) -> None:
    count = procedure(server, "attachments.usage")["count"]
    assert_refused(api.post(path, **request_), status, code, *words)
    assert procedure(server, "attachments.usage")["count"] == count


@pytest.mark.parametrize("authorization", [None, "Bearer", "Bearer attachd_unknown", "Basic eDp5", "Token {key}", "{key}"])
@pytest.mark.parametrize("path", [UPLOAD, f"/v1{UPLOAD}", "/files/0191c2b0-0000-7000-8000-000000000003/preview"])
def test_only_an_api_key_lets_in(server: Attachd, authorization: str | None, path: str) -> None:
    sent = None if authorization is None else authorization.replace("{key}", server.key)
    with client(server, sent) as caller:
        caller.cookies.set("session", server.tokens["member"])
        answer = caller.get(path) if path.endswith("preview") else caller.post(path, files={"file": ("a.png", PNG)})
    assert_refused(answer, 401, "unauthorized", "Authorization: Bearer")
    assert answer.headers["www-authenticate"] == 'Bearer realm="api"'


def test_a_revoked_key_is_refused(server: Attachd) -> None:
    organization = ("--organization", server.organization_id)
    key = server.run("key", "create", *organization, "--role", "member", "--name", "revoked").strip()
    (line,) = [line for line in server.run("key", "list").splitlines() if "revoked" in line]
    with client(server, f"bearer {key}") as caller:
        stored(caller)
        server.run("key", "revoke", line.split("\t")[0])
        deadline = time.monotonic() + 60
        while (answer := caller.post(UPLOAD)).status_code != 401:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    assert_refused(answer, 401, "unauthorized")


@pytest.mark.parametrize(
    ("path", "method", "allow"),
    [
        (UPLOAD, "GET", "POST"),
        (f"/v1{UPLOAD}", "PUT", "POST"),
        ("/files/x/preview", "DELETE", "GET, HEAD"),
        ("/v1/files/x/preview", "POST", "GET, HEAD"),
    ],
)
def test_other_methods(api: httpx.Client, path: str, method: str, allow: str) -> None:
    answer = api.request(method, path)
    assert_refused(answer, 405, "method_not_allowed", method)
    assert answer.headers["allow"] == allow


@pytest.mark.parametrize("path", ["/files/", "/files/x", "/v1/files/upload/", "/v1/files/x/y/z"])
def test_paths_that_are_none(api: httpx.Client, path: str) -> None:
    assert_refused(api.get(path), 404, "not_found", path)


@pytest.mark.parametrize("id", ["x", "0191c2b0-0000-7000-8000-000000000003", "%00", "ä"])
def test_files_that_are_none(api: httpx.Client, id: str) -> None:
    assert_refused(api.get(f"/files/{id}/preview"), 404, "not_found")


@pytest.mark.parametrize("query", ["user=%FF", "user=a%09b", "user=" + "u" * 21, "&".join(["a=b"] * 40)])
def test_queries_that_cannot_be_used(api: httpx.Client, query: str) -> None:
    assert_refused(api.get(f"/files/{stored(api)['id']}/preview?{query}"), 400, "invalid_param")


@pytest.mark.parametrize(
    ("name", "start", "megabytes"),
    [
        pytest.param("a.png", PNG, 1, id="image"),
        pytest.param("a.mp3", b"ID3\x04", 3, id="audio"),
        pytest.param("a.mp4", MP4, 4, id="video"),
        pytest.param("a.pdf", b"%PDF-1.7\n", 2, id="document"),
        pytest.param("a.unheard-of", b"x", 2, id="other"),
    ],
)
@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunked"])
def test_limits_from_both_sides(api: httpx.Client, name: str, start: bytes, megabytes: int, is_chunked: bool) -> None:
    limit = megabytes * MEBIBYTE
    for size in (limit, limit + 1):
        request = api.build_request("POST", UPLOAD, files={"file": (name, start.ljust(size, b"\0"))})
        if is_chunked:
            body = request.read()
            pieces = (body[place : place + 65_536] for place in range(0, len(body), 65_536))
            request = api.build_request(
                "POST", UPLOAD, content=pieces, headers={"Content-Type": request.headers["content-type"]}
            )
        answer = api.send(request)
        if size == limit:
            assert (answer.status_code, answer.json()["size"]) == (201, limit)
        else:
            assert_refused(answer, 413, "file_too_large", f"{limit} bytes ({megabytes} MB)")


def test_a_body_over_every_limit_is_refused(api: httpx.Client) -> None:
    answer = api.post(UPLOAD, files={"file": ("a.mp4", MP4.ljust(6 * MEBIBYTE, b"\0"))})
    assert_refused(answer, 413, "file_too_large", "the request exceeds")


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("n" * 196 + ".png", "n" * 196 + ".png"),
        ("n" * 197 + ".png", "n" * 196 + ".png"),
        ("日" * 300 + ".png", "日" * 83 + ".png"),
    ],
)
def test_long_names_are_cut(api: httpx.Client, name: str, kept: str) -> None:
    body = stored(api, name)
    assert (body["name"], body["extension"]) == (kept, "png")
    assert body["file_key"] == f"uploads/{body['id']}/{kept}"


def test_the_longest_user_is_taken(api: httpx.Client) -> None:
    id = stored(api, user="ü" * 20)["id"]
    assert api.get(f"/files/{id}/preview", params={"user": "ü" * 20}).status_code == 200


def test_a_client_that_falls_silent_is_refused(tmp_path: Any) -> None:
    with Attachd(tmp_path, ATTACHD_UPLOAD_IDLE_TIMEOUT_SECONDS="0.2") as server:
        head = [f"POST {UPLOAD} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {server.key}", "Content-Length: 1000"]
        head += ["Content-Type: multipart/form-data; boundary=b", "", ""]
        begin = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
        url = httpx.URL(server.base_url)
        with socket.create_connection((url.host, url.port or 0), timeout=30) as connection:
            connection.sendall("\r\n".join(head).encode() + begin)
            answer = read_answer(connection)
        assert_refused(
            httpx.Response(answer.status, headers=answer.headers, content=answer.body), 408, "request_timeout", "0.2 s"
        )


def test_lost_bytes_are_a_503(tmp_path: Any) -> None:
    with Attachd(tmp_path) as server, client(server, f"Bearer {server.key}") as api:
        id = stored(api)["id"]
        server.backing.lose_bytes(id)
        answer = api.get(f"/files/{id}/preview")
        assert_refused(answer, 503, "service_unavailable")
        assert int(answer.headers["retry-after"]) > 0


def test_the_rate_of_a_key_is_limited(tmp_path: Any) -> None:
    limited = Attachd(tmp_path, ATTACHD_FILES_RATE_LIMIT=f"{REQUESTS_PER_MINUTE}/minute")
    with limited as server, client(server, f"Bearer {server.key}") as api:
        id = stored(api)["id"]
        statuses = [api.get(f"/files/{id}/preview").status_code for _ in range(REQUESTS_PER_MINUTE)]
        assert statuses == [200] * (REQUESTS_PER_MINUTE - 1) + [429]
        answer = api.post(UPLOAD, files={"file": ("a.png", PNG)})
        assert_refused(answer, 429, "too_many_requests", "try again in")
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        with client(server, None) as nobody:
            assert_refused(nobody.post(UPLOAD), 401, "unauthorized")
        with client(server, f"Bearer {api_key(server, 'member')}") as other:
            stored(other)
        with server.client() as member:
            assert member.get(f"/api/attachments/{id}/download").status_code == 200


def test_what_is_blocked_can_be_set(tmp_path: Any) -> None:
    with Attachd(tmp_path, ATTACHD_FILES_BLOCKED_EXTENSIONS="png") as server, client(server, f"Bearer {server.key}") as api:
        assert stored(api, "a.exe", b"MZ")["mime_type"] == "application/octet-stream"
        assert_refused(api.post(UPLOAD, files={"file": ("a.png", PNG)}), 400, "invalid_param", ".png")


def test_the_errors_are_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for refused in (*FILES_ERRORS.values(), Refused(RANGE_NOT_SATISFIABLE, 416)):
        assert f"| `{refused.name}` | {refused.status} |" in readme
