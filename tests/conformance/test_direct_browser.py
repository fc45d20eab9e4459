"""The README's upload in a page of a real browser, to a bucket with the CORS rule of docs/operations.md."""

import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.chromium import Page, find_chromium
from tests.conformance.node import node_command, node_environment
from tests.engines.s3 import SharedS3
from tests.engines.seaweedfs import BUCKET
from tests.running import Attachd
from tests.test_docs import OPERATIONS, blocks, section
from tests.typescript.package_built import project

# The page's client, in the place of tRPC's, for which a page has a bundler: the calls of `sendDirectly` and nothing else.
CLIENT = """
const call = async (procedure, input) => {
  const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
  const init = { method: "POST", headers, body: JSON.stringify(input) };
  const answer = await fetch(`${base}/api/trpc/attachments.${procedure}`, init);
  const { result, error } = await answer.json();
  if (error) throw new Error(error.json.message);
  return result.data.json;
};
const mutation = (procedure) => ({ mutate: (input) => call(procedure, input) });
const client = { attachments: { createUpload: mutation("createUpload"), completeUpload: mutation("completeUpload") } };
"""
UPLOAD = """
const bytes = new Uint8Array(size).map((_, at) => 97 + ((at * 7919) % 26));
return await sendDirectly(new File([bytes], `Grüße ${size}.txt`));
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium on this machine: `apt-get install chromium` installs it")
    with Page(program, tmp_path_factory.mktemp("chromium")) as page:
        yield page


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, s3: SharedS3, page: Page) -> Iterator[Attachd]:
    """A server whose files are in S3, and that takes calls from the page."""
    server = Attachd(tmp_path_factory.mktemp("browser"))
    server.settings |= {**s3.fresh_prefix(), "ATTACHD_SERVER_ALLOWED_ORIGINS": page.origin}
    with server:
        yield server


def allow(s3: SharedS3, origin: str) -> None:
    """Put the documented rule on the bucket, for that origin."""
    (rule,) = blocks(OPERATIONS.split("\n## Direct uploads\n", 1)[1], "json")[:1]
    s3.client().put_bucket_cors(Bucket=BUCKET, CORSConfiguration=json.loads(rule.replace("https://app.example.com", origin)))


def send(page: Page, site: Attachd, size: int, folder: Path) -> Any:
    """The attachment of a file that the page made and sent as the README has it."""
    (script,) = blocks(section("Direct uploads"), "ts")
    (folder / "script.ts").write_text(script, encoding="utf-8")
    path = json.dumps(str(folder / "script.ts"))
    strip = f"""
        import ts from "typescript";
        import fs from "node:fs";
        process.stdout.write(ts.transpile(fs.readFileSync({path}, "utf8"), {{ target: "es2022" }}));
    """
    done = subprocess.run(
        [*node_command(), "--input-type=module", "-e", strip],
        cwd=project(),
        env=node_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    given = f"const base = {json.dumps(site.base_url)}, key = {json.dumps(site.key)}, size = {size};"
    return page.run(f"(async () => {{ {given}\n{CLIENT}\n{done.stdout}\n{UPLOAD} }})()")


@pytest.mark.parametrize("size", [1000, 8 * 2**20, 20 * 2**20], ids=["a form", "the largest form", "parts"])
def test_a_page_uploads_to_a_bucket_that_allows_it(page: Page, site: Attachd, s3: SharedS3, tmp_path: Path, size: int) -> None:
    allow(s3, page.origin)
    attachment = send(page, site, size, tmp_path)
    assert (attachment["filename"], attachment["size"]) == (f"Grüße {size}.txt", size)
    expected = bytes(97 + (at * 7919) % 26 for at in range(26)) * (size // 26 + 1)
    with site.client() as client:
        got = client.get(f"/api/attachments/{attachment['id']}/download", follow_redirects=True).content
    assert hashlib.sha256(got).digest() == hashlib.sha256(expected[:size]).digest()


@pytest.mark.parametrize("size", [1000, 20 * 2**20], ids=["a form", "parts"])
def test_a_bucket_without_the_rule_takes_nothing_from_pages(
    page: Page, site: Attachd, s3: SharedS3, tmp_path: Path, size: int
) -> None:
    allow(s3, "https://elsewhere.example")
    with pytest.raises(AssertionError, match="Failed to fetch"):
        send(page, site, size, tmp_path)
