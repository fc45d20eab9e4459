"""Direct uploads as the README tells them: the stock @trpc/client in Node with `fetch`, curl, and a browser's page."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conformance.node import node_command, node_environment
from tests.engines.s3 import SharedS3
from tests.running import ROOT, Attachd
from tests.server.scraping import scrape
from tests.test_docs import blocks, section, shell
from tests.typescript.package_built import project

# What the README leaves out: who calls, and what is done with the function that it gives.
BEFORE = """\
import { createTRPCClient, httpBatchLink } from "@trpc/client";
import type { AppRouter } from "attachd-client";
import superjson from "superjson";
declare const process: { argv: string[] };
const [base, token] = process.argv.slice(2);
const headers = { cookie: `session=${token}` };
const url = `${base}/api/trpc`;
const client = createTRPCClient<AppRouter>({ links: [httpBatchLink({ url, transformer: superjson, headers })] });
"""
BEHIND = """
const outcomes = [];
for (const size of [1, 1000, 8 * 2 ** 20, 8 * 2 ** 20 + 1, 20 * 2 ** 20]) {
  const bytes = new Uint8Array(size).map((_, at) => 97 + ((at * 7919) % 26));
  const attachment = await sendDirectly(new File([bytes], `Grüße ${size}.txt`));
  const download = await fetch(`${base}/api/attachments/${attachment.id}/download`, { headers });
  const got = new Uint8Array(await download.arrayBuffer());
  outcomes.push([attachment.filename, attachment.size, got.length === size && got.every((byte, at) => byte === bytes[at])]);
}
const reason = await sendDirectly(new File(["<script>"], "a.png")).then(
  () => "none",
  (failure: { data: { reason: string } }) => failure.data.reason,
);
console.log(JSON.stringify([...outcomes, reason]));
"""


@pytest.fixture(scope="module")
def on_s3(tmp_path_factory: pytest.TempPathFactory, s3: SharedS3) -> Iterator[Attachd]:
    """A server whose files are in S3."""
    server = Attachd(tmp_path_factory.mktemp("direct"))
    server.settings |= s3.fresh_prefix()
    with server:
        yield server


def call(client: httpx.Client, procedure: str, **given: Any) -> Any:
    """The output of a mutation, or the `data` of its error."""
    answer = client.post(f"/api/trpc/attachments.{procedure}", json=given).json()
    return answer["result"]["data"]["json"] if "result" in answer else answer["error"]["json"]["data"]


def test_the_typescript_of_the_readme_compiles_and_uploads(on_s3: Attachd, tmp_path: Path) -> None:
    (script,) = blocks(section("Direct uploads"), "ts")
    (tmp_path / "node_modules").symlink_to(project() / "node_modules")
    (tmp_path / "package.json").write_text('{ "type": "module" }')
    (tmp_path / "main.ts").write_text(BEFORE + script + BEHIND, encoding="utf-8")
    settings = json.loads((ROOT / "tests" / "typescript" / "tsconfig.json").read_text(encoding="utf-8"))
    settings["compilerOptions"] |= {"noEmit": False, "skipLibCheck": True}
    (tmp_path / "tsconfig.json").write_text(json.dumps(settings | {"files": ["main.ts"]}))
    node(tmp_path, "node_modules/typescript/bin/tsc", "--pretty", "false")
    *outcomes, reason = json.loads(node(tmp_path, "main.js", on_s3.base_url, on_s3.tokens["member"]))
    sizes = [1, 1000, 8 * 2**20, 8 * 2**20 + 1, 20 * 2**20]
    assert outcomes == [[f"Grüße {size}.txt", size, True] for size in sizes]
    assert reason == "INVALID_ATTACHMENT_TYPE"


def node(folder: Path, *arguments: str) -> str:
    """What Node prints, run in the folder."""
    done = subprocess.run(
        [*node_command(), *arguments],
        cwd=folder,
        env=node_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_curl_lines_of_the_readme_upload(on_s3: Attachd, tmp_path: Path) -> None:
    (script,) = blocks(section("Direct uploads"), "sh")
    (tmp_path / "note.txt").write_bytes(b"hello\n")
    answer = shell(f"base={on_s3.base_url} token={on_s3.tokens['member']}\n{script}", tmp_path)
    attachment = json.loads(answer)["result"]["data"]["json"]
    assert (attachment["filename"], attachment["size"]) == ("note.txt", 6)
    with on_s3.client() as client:
        downloaded = client.get(f"/api/attachments/{attachment['id']}/download", follow_redirects=True)
        assert downloaded.content == b"hello\n"


@pytest.mark.parametrize(
    ("procedure", "given"),
    [
        pytest.param("createUpload", {"filename": "a.txt", "size": 0}, id="nothing to send"),
        pytest.param("createUpload", {"filename": "a.txt", "size": 1.5}, id="half a byte"),
        pytest.param("createUpload", {"filename": "a.txt", "size": 1, "sha256": "x"}, id="no digest"),
        pytest.param("createUpload", {"filename": "a.txt", "size": 1, "conversationId": "x"}, id="no conversation"),
        pytest.param("completeUpload", {"uploadId": "../x"}, id="no id"),
        pytest.param(
            "completeUpload",
            {"uploadId": "0191c2b0-7c1e-7a53-9d0f-000000000001", "parts": [{"partNumber": 0, "etag": "x"}]},
            id="part 0",
        ),
        pytest.param(
            "completeUpload",
            {"uploadId": "0191c2b0-7c1e-7a53-9d0f-000000000001", "parts": [{"partNumber": 1, "etag": "x"}] * 1001},
            id="too many parts",
        ),
    ],
)
def test_inputs_that_cannot_be_are_refused(on_s3: Attachd, procedure: str, given: dict[str, Any]) -> None:
    with on_s3.client() as client:
        assert call(client, procedure, **given)["code"] == "BAD_REQUEST"


def test_an_upload_is_of_its_creator(on_s3: Attachd) -> None:
    """Not even an admin of the organization, nor an API key, has it; nor has anybody without a credential."""
    with on_s3.client() as member:
        planned = call(member, "createUpload", filename="a.txt", size=5)
        assert httpx.post(planned["url"], data=planned["fields"], files={"file": ("a.txt", b"hello")}).status_code == 204
        for who in ("colleague", "admin", "stranger"):
            with on_s3.client(who) as other:
                for procedure in ("completeUpload", "abortUpload"):
                    assert call(other, procedure, uploadId=planned["upload_id"])["code"] == "NOT_FOUND"
        with on_s3.client(None) as nobody:
            assert call(nobody, "completeUpload", uploadId=planned["upload_id"])["code"] == "UNAUTHORIZED"
        assert call(member, "completeUpload", uploadId=planned["upload_id"])["id"] == planned["upload_id"]


def test_one_process_signs_and_another_completes(on_s3: Attachd) -> None:
    """The first may be gone by then; its answers were not lost with it."""
    other = Attachd(on_s3.folder, credentials=False)
    other.settings = on_s3.settings
    other.log = on_s3.folder / "other log"
    with other, on_s3.client() as first:
        other.tokens = on_s3.tokens
        planned = call(first, "createUpload", filename="a.txt", size=5)
        httpx.post(planned["url"], data=planned["fields"], files={"file": ("a.txt", b"hello")})
        with other.client() as second:
            attachment = call(second, "completeUpload", uploadId=planned["upload_id"])
        assert call(first, "completeUpload", uploadId=planned["upload_id"]) == attachment


@pytest.mark.only_on("local", reason="about the folder")
def test_a_server_with_a_folder_says_what_to_do_instead(attachd: Attachd) -> None:
    with attachd.client() as client:
        answer = client.post("/api/trpc/attachments.createUpload", json={"filename": "a.txt", "size": 1})
        assert answer.status_code == 412
        assert re.search(r"attachments\.upload or POST /api/upload", answer.text)


def test_the_calls_that_take_a_file_over_are_counted(on_s3: Attachd) -> None:
    """Of a form: a look at it, the copy; then its row, and what was sent is removed."""

    def calls(operation: str) -> int:
        return int(scrape(on_s3.base_url)("attachd_storage_operation_duration_seconds_count", operation=operation))

    with on_s3.client() as client:
        planned = call(client, "createUpload", filename="a.txt", size=5)
        httpx.post(planned["url"], data=planned["fields"], files={"file": ("a.txt", b"hello")})
        others, deletions = calls("other"), calls("delete")
        call(client, "completeUpload", uploadId=planned["upload_id"])
        assert (calls("other") - others, calls("delete") - deletions) == (2, 1)


def test_nothing_secret_is_in_the_log(on_s3: Attachd) -> None:
    """Neither signatures nor names of files; URLs are as good as credentials while they hold."""
    with on_s3.client() as client:
        planned = call(client, "createUpload", filename="a secret name.txt", size=5)
    log = on_s3.log.read_text()
    for secret in (planned["fields"]["x-amz-signature"], planned["fields"]["policy"], "a secret name"):
        assert secret not in log
