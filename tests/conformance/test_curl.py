"""The curl commands of API A as its document prints them, run by bash, and what they answer when something is wrong.

Only the host, the ids, the cookie and the paths of files are put in the place of the document's examples.
"""

import base64
import hashlib
import os
import re
import shlex
import subprocess
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.answers import Answer
from tests.running import Attachd

LIST = """\
curl -X GET "https://your-domain.com/api/trpc/attachments.list?input=%7B%22conversationId%22:%22conversation-uuid%22%7D" \\
  -H "Cookie: your-session-cookie"
"""
GET = """\
curl -X GET "https://your-domain.com/api/trpc/attachments.get?input=%7B%22id%22:%22attachment-uuid%22%7D" \\
  -H "Cookie: your-session-cookie"
"""
DELETE = """\
curl -X POST "https://your-domain.com/api/trpc/attachments.delete" \\
  -H "Content-Type: application/json" \\
  -H "Cookie: your-session-cookie" \\
  -d '{"json":{"id":"attachment-uuid"}}'
"""
UPLOAD = """\
curl -X POST "https://your-domain.com/api/upload" \\
  -H "Cookie: your-session-cookie" \\
  -F "file=@/path/to/file.pdf"
"""
DOWNLOAD = """\
curl -X GET "https://your-domain.com/api/attachments/attachment-uuid/download" \\
  -H "Cookie: your-session-cookie" \\
  -o downloaded-file.pdf
"""
BY_GET_DELETE = DELETE.replace("-X POST", "-X GET")
COMMANDS = {"list": LIST, "get": GET, "delete": DELETE, "upload": UPLOAD, "download": DOWNLOAD}

PDF = b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF\n"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
MEBIBYTE = 1024 * 1024
MISSING = "01900000-0000-7000-8000-000000000000"
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
EVIL, ALLOWED = "https://evil.example", "https://app.example"


class Shell:
    """bash with curl in an empty folder. What the tests need beyond the document's commands stands in `.curlrc`."""

    def __init__(self, folder: Path, site: Attachd) -> None:
        self.folder, self.site = folder, site
        (folder / ".curlrc").write_text('silent\nshow-error\nnoproxy = "*"\nmax-time = 30\ndump-header = "headers"\n')

    def run(self, command: str, *, who: str | None = "member", **values: str) -> Answer:
        """Run the command with its examples replaced: `who` None drops the cookie, `cookie` sets another."""
        cookie = values.pop("cookie", f"session={self.site.tokens[who]}" if who else "")
        command = command.replace("https://your-domain.com", self.site.base_url)
        command = (
            command.replace("your-session-cookie", cookie)
            if cookie
            else command.replace('-H "Cookie: your-session-cookie"', "")
        )
        for example, value in values.items():
            command = command.replace(EXAMPLES[example], value)
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "CURL_HOME": str(self.folder)},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return self._answer(done.stdout)

    def _answer(self, body: bytes) -> Answer:
        # One block a response; those before the last are `100 Continue`.
        first, *lines = (self.folder / "headers").read_text("latin-1").strip().split("\n\n")[-1].splitlines()
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return Answer(int(first.split()[1]), headers, body)

    def upload(self, name: str = "file.pdf", content: bytes = PDF, *, fields: Iterable[str] = (), who: str = "member") -> Any:
        """The answer to the document's upload command, with more form fields if given."""
        (self.folder / name).write_bytes(content)
        command = UPLOAD.rstrip("\n") + "".join(f" -F {shlex.quote(field)}" for field in fields)
        answer = self.run(command, who=who, path=name)
        assert answer.status == 200, answer.body
        return answer.json


EXAMPLES = {
    "conversation": "conversation-uuid",
    "id": "attachment-uuid",
    "path": "/path/to/file.pdf",
    "target": "downloaded-file.pdf",
}


@pytest.fixture
def shell(tmp_path: Path, attachd: Attachd) -> Shell:
    return Shell(tmp_path, attachd)


@pytest.fixture(scope="module")
def site_with_allowed_origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attachd]:
    with Attachd(tmp_path_factory.mktemp("site"), ATTACHD_SERVER_ALLOWED_ORIGINS=ALLOWED) as site:
        yield site


@pytest.fixture
def browser(tmp_path: Path, site_with_allowed_origin: Attachd) -> Shell:
    """As `shell`, for requests with the headers that a browser sends."""
    return Shell(tmp_path, site_with_allowed_origin)


def assert_trpc_error(answer: Answer, code: str, number: int, path: str) -> None:
    """The documented tRPC error, every member."""
    error = answer.json["error"]["json"]
    status = answer.status
    assert answer.json == {"error": {"json": error}}
    assert error == {"message": error["message"], "code": number, "data": {"code": code, "httpStatus": status, "path": path}}
    assert error["message"]


def assert_rest_error(answer: Answer, status: int, code: str, *words: str) -> None:
    """The REST error shape; the message has the words that let a user mend the request."""
    assert answer.status == status
    assert answer.json == {"error": {"code": code, "message": answer.json["error"]["message"]}}
    assert all(word in answer.json["error"]["message"] for word in words), answer.json


def test_upload(shell: Shell) -> None:
    uploaded = shell.upload()
    assert uploaded == {
        "id": uploaded["id"],
        "filename": "file.pdf",
        "content_type": "application/pdf",
        "size": len(PDF),
        "url": f"/api/attachments/{uploaded['id']}/download",
    }
    assert uuid.UUID(uploaded["id"]).version == 7


def test_list(shell: Shell) -> None:
    conversation = str(uuid.uuid4())
    fields = [f"conversationId={conversation}"]
    uploads = [shell.upload("screenshot.png", PNG, fields=fields), shell.upload("document.pdf", PDF, fields=fields)]
    answer = shell.run(LIST, conversation=conversation)
    assert answer.status == 200
    items = answer.json["result"]["data"]["json"]
    assert answer.json == {"result": {"data": {"json": items}}}
    assert items == [
        {
            "id": uploaded["id"],
            "conversation_id": conversation,
            "filename": uploaded["filename"],
            "content_type": uploaded["content_type"],
            "size": uploaded["size"],
            "created_at": item["created_at"],
        }
        for uploaded, item in zip(uploads, items, strict=True)
    ]
    assert [list(item) for item in items] == [["id", "conversation_id", "filename", "content_type", "size", "created_at"]] * 2
    assert [item["content_type"] for item in items] == ["image/png", "application/pdf"]
    assert all(TIMESTAMP.fullmatch(item["created_at"]) for item in items)


def test_get(shell: Shell) -> None:
    conversation = str(uuid.uuid4())
    uploaded = shell.upload(fields=[f"conversationId={conversation}"])
    answer = shell.run(GET, id=uploaded["id"])
    assert answer.status == 200
    attachment = answer.json["result"]["data"]["json"]
    assert answer.json == {"result": {"data": {"json": attachment}}}
    assert attachment == {
        "id": uploaded["id"],
        "conversation_id": conversation,
        "organization_id": shell.site.organization_id,
        "filename": "file.pdf",
        "content_type": "application/pdf",
        "size": len(PDF),
        "storage_path": f"attachments/{shell.site.organization_id}/{uploaded['id']}",
        "created_at": attachment["created_at"],
    }
    assert TIMESTAMP.fullmatch(attachment["created_at"])


def test_delete(shell: Shell) -> None:
    uploaded = shell.upload()
    answer = shell.run(DELETE, id=uploaded["id"])
    assert (answer.status, answer.json) == (200, {"result": {"data": {"json": {"success": True}}}})
    for command, path in ((GET, "attachments.get"), (DELETE, "attachments.delete")):
        answer = shell.run(command, id=uploaded["id"])
        assert answer.status == 404
        assert_trpc_error(answer, "NOT_FOUND", -32004, path)
    assert_rest_error(shell.run(DOWNLOAD.replace("-o downloaded-file.pdf", ""), id=uploaded["id"]), 404, "NOT_FOUND")


def test_download(shell: Shell) -> None:
    content = PDF + os.urandom(MEBIBYTE)
    uploaded = shell.upload(content=content)
    answer = shell.run(DOWNLOAD, id=uploaded["id"])
    assert answer.status == 200
    assert (shell.folder / "downloaded-file.pdf").read_bytes() == content
    assert answer.headers["content-type"] == "application/pdf"
    assert 'filename="file.pdf"' in answer.headers["content-disposition"]
    assert int(answer.headers["content-length"]) == len(content)


def test_download_as_json_gives_the_url(shell: Shell) -> None:
    uploaded = shell.upload()
    command = DOWNLOAD.replace("-o downloaded-file.pdf", '-H "Accept: application/json"')
    answer = shell.run(command, id=uploaded["id"])
    assert (answer.status, list(answer.json)) == (200, ["url"])
    url = answer.json["url"]
    fetched = shell.run(f'curl "{url if "://" in url else shell.site.base_url + url}" -H "Cookie: your-session-cookie"')
    assert (fetched.status, fetched.body) == (200, PDF)


@pytest.mark.parametrize("cookie", ["", "session=wrong", "session=", "other=1", "session=%00"])
@pytest.mark.parametrize("name", COMMANDS)
def test_without_a_session(shell: Shell, name: str, cookie: str) -> None:
    (shell.folder / "file.pdf").write_bytes(PDF)
    command = COMMANDS[name].replace("-o downloaded-file.pdf", "")
    answer = shell.run(command, who=None, cookie=cookie, conversation=MISSING, id=MISSING, path="file.pdf")
    assert answer.status == 401
    if name in {"upload", "download"}:
        assert_rest_error(answer, 401, "UNAUTHORIZED")
    else:
        assert_trpc_error(answer, "UNAUTHORIZED", -32001, f"attachments.{name}")


@pytest.mark.parametrize(
    ("command", "values", "status", "code", "number", "path"),
    [
        pytest.param(GET, {"id": MISSING}, 404, "NOT_FOUND", -32004, "attachments.get", id="get-missing"),
        pytest.param(GET, {"id": "x"}, 400, "BAD_REQUEST", -32600, "attachments.get", id="get-malformed"),
        pytest.param(LIST, {"conversation": "x"}, 400, "BAD_REQUEST", -32600, "attachments.list", id="list-malformed"),
        pytest.param(DELETE, {"id": MISSING}, 404, "NOT_FOUND", -32004, "attachments.delete", id="delete-missing"),
        pytest.param(DELETE, {"id": ""}, 400, "BAD_REQUEST", -32600, "attachments.delete", id="delete-empty"),
        pytest.param(BY_GET_DELETE, {}, 405, "METHOD_NOT_SUPPORTED", -32005, "attachments.delete", id="delete-by-get"),
        pytest.param(GET.replace("get?", "take?"), {}, 404, "NOT_FOUND", -32004, "attachments.take", id="unknown"),
    ],
)  # fmt: skip
def test_trpc_error(shell: Shell, command: str, values: dict[str, str], status: int, code: str, number: int, path: str) -> None:
    answer = shell.run(command, **values)
    assert answer.status == status
    assert_trpc_error(answer, code, number, path)


def test_delete_of_another_members(shell: Shell) -> None:
    uploaded = shell.upload()
    answer = shell.run(DELETE, id=uploaded["id"], who="colleague")
    assert answer.status == 403
    assert_trpc_error(answer, "FORBIDDEN", -32003, "attachments.delete")
    assert shell.run(DELETE, id=uploaded["id"], who="admin").status == 200


@pytest.mark.parametrize("id", [MISSING, "x", "..%2F..%2Fetc%2Fpasswd"])
def test_download_of_a_missing_attachment(shell: Shell, id: str) -> None:
    assert_rest_error(shell.run(DOWNLOAD.replace("-o downloaded-file.pdf", ""), id=id), 404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        pytest.param("file.exe", b"MZ" + bytes(62), (".exe",), id="extension"),
        pytest.param("file", b"text", ("extension",), id="no-extension"),
        pytest.param("page.png", b"<!doctype html><script>", (".png", "text/html"), id="png-holding-html"),
        pytest.param("run.pdf", b"\x7fELF" + bytes(60), (".pdf",), id="pdf-holding-elf"),
        pytest.param("note.txt", b"a\0b", (".txt",), id="txt-with-nul"),
    ],
)
def test_upload_of_a_wrong_type(shell: Shell, name: str, content: bytes, words: tuple[str, ...]) -> None:
    (shell.folder / name).write_bytes(content)
    assert_rest_error(shell.run(UPLOAD, path=name), 415, "INVALID_ATTACHMENT_TYPE", *words)


@pytest.mark.parametrize(
    ("name", "start", "limit"),
    [
        pytest.param("photo.png", PNG, 10 * MEBIBYTE, id="image"),
        pytest.param("file.pdf", PDF, 25 * MEBIBYTE, id="document"),
    ],
)
@pytest.mark.parametrize("chunked", [False, True], ids=["sized", "chunked"])
def test_size_limit(shell: Shell, name: str, start: bytes, limit: int, chunked: bool) -> None:
    command = UPLOAD.rstrip("\n") + (' -H "Transfer-Encoding: chunked"' if chunked else "")
    target = shell.folder / name
    target.write_bytes(start)
    os.truncate(target, limit)
    answer = shell.run(command, path=name)
    assert (answer.status, answer.json["size"]) == (200, limit)
    os.truncate(target, limit + 1)
    assert_rest_error(shell.run(command, path=name), 413, "ATTACHMENT_TOO_LARGE", str(limit))


def test_content_digest(shell: Shell) -> None:
    (shell.folder / "file.pdf").write_bytes(PDF)
    digest = base64.b64encode(hashlib.sha256(PDF).digest()).decode()
    command = UPLOAD.rstrip("\n") + f' -H "Content-Digest: sha-256=:{digest}:"'
    assert shell.run(command, path="file.pdf").status == 200
    (shell.folder / "file.pdf").write_bytes(PDF + b"\n")
    assert_rest_error(shell.run(command, path="file.pdf"), 400, "BAD_REQUEST")


BARE, WRAPPED = '{"id":"attachment-uuid"}', '{"json":{"id":"attachment-uuid"}}'
BY_GET = """\
curl -G "https://your-domain.com/api/trpc/attachments.get" --data-urlencode 'input=%s' -H "Cookie: your-session-cookie"
"""
BY_POST = """\
curl "https://your-domain.com/api/trpc/%s" -H "Content-Type: application/json" -H "Cookie: your-session-cookie" -d '%s'
"""


@pytest.mark.parametrize("input", [BARE, WRAPPED], ids=["bare", "wrapped"])
def test_bare_and_wrapped_input(shell: Shell, input: str) -> None:
    uploaded = shell.upload()["id"]
    for command in (BY_GET % input, BY_POST % ("attachments.get", input)):
        answer = shell.run(command, id=uploaded)
        assert (answer.status, answer.json["result"]["data"]["json"]["id"]) == (200, uploaded)
    deleted = shell.run(BY_POST % ("attachments.delete", input), id=uploaded)
    assert (deleted.status, deleted.json) == (200, {"result": {"data": {"json": {"success": True}}}})


def test_api_key_in_place_of_the_cookie(shell: Shell) -> None:
    bearer = f"Authorization: Bearer {shell.site.key}"
    by_key = {name: command.replace("Cookie: your-session-cookie", bearer) for name, command in COMMANDS.items()}
    (shell.folder / "file.pdf").write_bytes(PDF)
    uploaded = shell.run(by_key["upload"], path="file.pdf").json["id"]
    assert shell.run(by_key["list"], conversation=MISSING).json == {"result": {"data": {"json": []}}}
    assert shell.run(by_key["get"], id=uploaded).json["result"]["data"]["json"]["id"] == uploaded
    assert shell.run(by_key["download"], id=uploaded).status == 200
    assert (shell.folder / "downloaded-file.pdf").read_bytes() == PDF
    assert shell.run(by_key["delete"], id=uploaded).json == {"result": {"data": {"json": {"success": True}}}}


def test_wrong_api_key(shell: Shell) -> None:
    answer = shell.run(GET.replace("Cookie: your-session-cookie", "Authorization: Bearer attachd_wrong"), id=MISSING)
    assert answer.status == 401
    assert_trpc_error(answer, "UNAUTHORIZED", -32001, "attachments.get")


CROSS_SITE = {
    "origin": f"Origin: {EVIL}",
    "null-origin": "Origin: null",
    "cross-site": "Sec-Fetch-Site: cross-site",
    "same-site": "Sec-Fetch-Site: same-site",
}


@pytest.mark.parametrize("header", CROSS_SITE.values(), ids=CROSS_SITE.keys())
def test_cross_site_requests_with_a_cookie_change_nothing(browser: Shell, header: str) -> None:
    uploaded = browser.upload()["id"]
    foreign = f' -H "{header}"'
    answer = browser.run(DELETE.rstrip("\n") + foreign, id=uploaded)
    assert answer.status == 403
    assert_trpc_error(answer, "FORBIDDEN", -32003, "attachments.delete")
    assert_rest_error(browser.run(UPLOAD.rstrip("\n") + foreign, path="file.pdf"), 403, "FORBIDDEN")
    # Reading is safe: without CORS headers the browser keeps the answer from the page.
    assert browser.run(GET.rstrip("\n") + foreign, id=uploaded).status == 200


def test_cross_site_request_with_a_key(browser: Shell) -> None:
    """A browser adds no Authorization by itself, so a key needs no protection against forged requests."""
    by_key = UPLOAD.replace("Cookie: your-session-cookie", f"Authorization: Bearer {browser.site.key}")
    (browser.folder / "file.pdf").write_bytes(PDF)
    assert browser.run(f'{by_key.rstrip()} -H "Origin: {EVIL}" -H "Sec-Fetch-Site: cross-site"', path="file.pdf").status == 200


def test_own_and_allowed_origins(browser: Shell) -> None:
    for headers in (
        f'-H "Origin: {browser.site.base_url}" -H "Sec-Fetch-Site: same-origin"',
        f'-H "Origin: {ALLOWED}" -H "Sec-Fetch-Site: cross-site"',
        '-H "Sec-Fetch-Site: none"',
    ):
        uploaded = browser.upload()["id"]
        assert browser.run(f"{DELETE.rstrip()} {headers}", id=uploaded).status == 200, headers


PREFLIGHT = """\
curl -X OPTIONS "https://your-domain.com%s" -H "Origin: %s" \\
  -H "Access-Control-Request-Method: POST" -H "Access-Control-Request-Headers: content-type"
"""
PATHS = ["/api/trpc/attachments.delete", "/api/upload", f"/api/attachments/{MISSING}/download"]


@pytest.mark.parametrize("path", PATHS)
def test_preflight(browser: Shell, path: str) -> None:
    answer = browser.run(PREFLIGHT % (path, ALLOWED), who=None)
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == ALLOWED
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert "content-type" in answer.headers["access-control-allow-headers"].lower()
    assert "origin" in answer.headers["vary"].lower()
    assert ("GET" if "download" in path else "POST") in answer.headers["access-control-allow-methods"]


@pytest.mark.parametrize("path", PATHS)
def test_preflight_of_a_foreign_origin(browser: Shell, path: str) -> None:
    answer = browser.run(PREFLIGHT % (path, EVIL), who=None)
    assert answer.status == 400
    assert "access-control-allow-origin" not in answer.headers


def test_answers_to_an_allowed_origin_are_readable(browser: Shell) -> None:
    for origin, expected in ((ALLOWED, ALLOWED), (EVIL, None)):
        answer = browser.run(f'{GET.rstrip()} -H "Origin: {origin}"', id=MISSING)
        assert answer.status == 404
        assert answer.headers.get("access-control-allow-origin") == expected
        assert expected is None or answer.headers["access-control-allow-credentials"] == "true"
        assert "origin" in answer.headers["vary"].lower()
