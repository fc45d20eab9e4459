"""`attachments.upload` by the stock @trpc/client 11.25 in Node: everything its httpLink sends as binary, or as a form."""

import contextlib
import json
import os
import re
import select
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.node import node_command, npm_install
from tests.rest.live import eventually
from tests.running import Attachd
from tests.server.uploads import Site

CLIENTS = Path(__file__).parent / "clients"
ANSWER_TIMEOUT_S = 60.0
MEBIBYTE = 2**20
SIZE = 25 * MEBIBYTE  # the limit, exactly
PDF = b"%PDF-1.7\n"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
NAME = "Übersicht 日本 (1), 100% 𝄞.png"

on_disk = pytest.mark.only_on("local", reason="sees the unfinished file grow")


class Uploader:
    """One Node process (clients/v11/uploads.mjs) and the server that it uploads to."""

    def __init__(self, site: Attachd, folder: Path) -> None:
        self.site, self.folder, self.server = site, folder, Site(site)
        self.process = subprocess.Popen(
            [*node_command(), CLIENTS / "v11" / "uploads.mjs"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )

    def write(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")

    def read(self, timeout_s: float = ANSWER_TIMEOUT_S) -> Any:
        """The next line of the client."""
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], timeout_s)[0], "the client says nothing"
        return json.loads(self.process.stdout.readline())

    def begin(self, *uploads: dict[str, Any]) -> None:
        """Let these uploads begin at once, as a member."""
        cookie = f"session={self.site.tokens['member']}"
        self.write(json.dumps({"url": f"{self.site.base_url}/api/trpc", "cookie": cookie, "uploads": uploads}))

    def outcomes(self, *uploads: dict[str, Any]) -> Any:
        """What came of uploads that began at once."""
        self.begin(*uploads)
        return self.read()["outcomes"]

    def file(self, content: bytes) -> str:
        """The path of a file with that content."""
        path = self.folder / str(uuid.uuid4())
        path.write_bytes(content)
        return str(path)

    def assert_holds(self, sent: int) -> None:
        """The one unfinished file comes to have so many bytes, but for those that wait for the rest of their piece."""
        assert eventually(lambda: sent - MEBIBYTE < sum(self.partials()) < sent + MEBIBYTE), self.partials()

    def partials(self) -> list[int]:
        """The sizes of unfinished files."""
        sizes = []
        for path in (self.site.folder / "data" / "blobs").rglob(".*.partial"):
            with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                sizes.append(path.stat().st_size)
        return sizes


@pytest.fixture(scope="module")
def uploader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Uploader]:
    npm_install(CLIENTS)
    with Attachd(tmp_path_factory.mktemp("site")) as site:
        uploader = Uploader(site, tmp_path_factory.mktemp("files"))
        yield uploader
        uploader.process.communicate(timeout=ANSWER_TIMEOUT_S)


@pytest.mark.parametrize("kind", ["File", "Blob", "Uint8Array", "view", "FormData"])
def test_every_binary_input_is_kept(uploader: Uploader, kind: str) -> None:
    conversation = str(uuid.uuid4())
    given = {"headers": {"x-attachd-conversation-id": conversation}, "fields": {"conversationId": conversation}}
    (outcome,) = uploader.outcomes({"kind": kind, "file": uploader.file(PNG), "filename": NAME, **given})
    value = outcome["value"]
    assert value == {
        "id": value["id"],
        "conversation_id": conversation,
        "organization_id": uploader.site.organization_id,
        "filename": NAME,
        "content_type": "image/png",
        "size": len(PNG),
        "storage_path": f"attachments/{uploader.site.organization_id}/{value['id']}",
        "created_at": value["created_at"],
    }
    assert outcome["got"] == value
    assert uploader.server.download(value["id"]) == PNG


TYPED = """\
import { createTRPCClient, httpLink } from "@trpc/client";
import superjson from "superjson";
import type { AppRouter } from "./router";

export async function upload(form: FormData) {
  const client = createTRPCClient<AppRouter>({ links: [httpLink({ url: "/api/trpc", transformer: superjson })] });
  const attachment = await client.attachments.upload.mutate(new File(["x"], "a.txt"));
  const known: [string, number, string | null] = [attachment.filename, attachment.size, attachment.conversation_id];
  for (const input of [form, new Blob(["x"]), new Uint8Array(1)]) await client.attachments.upload.mutate(input);
  // @ts-expect-error (an object is no file)
  await client.attachments.upload.mutate({ filename: "a.txt" });
  // @ts-expect-error (an attachment has no such member)
  return [known, attachment.nothing];
}
"""


def test_input_and_answer_have_their_types(uploader: Uploader, tmp_path: Path) -> None:
    (tmp_path / "upload.ts").write_text(TYPED)
    (tmp_path / "router.ts").write_text(uploader.site.run("types"))
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "@trpc").symlink_to(CLIENTS / "v11" / "node_modules" / "@trpc")
    (tmp_path / "node_modules" / "superjson").symlink_to(CLIENTS / "node_modules" / "superjson")
    (compiler,) = CLIENTS.rglob("node_modules/typescript/bin/tsc")
    options = "--noEmit --strict --skipLibCheck --target es2022 --module esnext --moduleResolution bundler --lib es2022,dom"
    command = [*node_command(), str(compiler), *options.split(), "upload.ts"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("kind", "content", "filename", "code", "status", "reason"),
    [
        pytest.param("File", b"MZ", "a.exe", "UNSUPPORTED_MEDIA_TYPE", 415, "INVALID_ATTACHMENT_TYPE", id="type"),
        pytest.param("FormData", b"MZ", "a.exe", "UNSUPPORTED_MEDIA_TYPE", 415, "INVALID_ATTACHMENT_TYPE", id="type-form"),
        pytest.param("Blob", PDF.ljust(SIZE + 1), "a.pdf", "PAYLOAD_TOO_LARGE", 413, "ATTACHMENT_TOO_LARGE", id="size"),
        pytest.param(
            "FormData", PDF.ljust(SIZE + 1), "a.pdf", "PAYLOAD_TOO_LARGE", 413, "ATTACHMENT_TOO_LARGE", id="size-form"
        ),
        pytest.param("Uint8Array", b"", "a.png", "BAD_REQUEST", 400, None, id="empty"),
        pytest.param("Blob", PNG, None, "BAD_REQUEST", 400, None, id="no-name"),
        pytest.param("ReadableStream", PNG, "a.png", "BAD_REQUEST", 400, None, id="stream-which-becomes-json"),
    ],
)
def test_a_refusal_is_a_typed_error(
    uploader: Uploader, kind: str, content: bytes, filename: str | None, code: str, status: int, reason: str | None
) -> None:
    named = {} if filename is None else {"filename": filename}
    (outcome,) = uploader.outcomes({"kind": kind, "file": uploader.file(content), **named})
    error = outcome["error"]
    assert error["name"] == "TRPCClientError"
    expected = {"code": code, "httpStatus": status, "path": "attachments.upload", "reason": reason}
    assert error["data"] == {name: value for name, value in expected.items() if value is not None}
    assert error["message"]


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel keeps the peak of a process in /proc on Linux only")
@pytest.mark.parametrize("kind", ["File", "FormData"])
def test_uploads_at_once_are_not_held_in_memory(uploader: Uploader, kind: str) -> None:
    """Ten times 25 MiB; the bar is the REST upload's: 50 of them grow the server by less than 64 MiB."""
    content = PDF + os.urandom(SIZE - len(PDF))
    spec = {"kind": kind, "file": uploader.file(content), "filename": "large.pdf"}
    process = Path(f"/proc/{uploader.site.process.pid}")
    (process / "clear_refs").write_text("5")  # the peak starts anew
    before = resident(process, "VmRSS")
    outcomes = uploader.outcomes(*[spec] * 10)
    grown = resident(process, "VmHWM") - before
    assert [outcome["value"]["size"] for outcome in outcomes] == [SIZE] * 10
    assert grown < 64, f"{grown:.1f} MiB"
    assert uploader.server.download(outcomes[9]["value"]["id"]) == content


def resident(process: Path, field: str) -> float:
    """MiB of memory."""
    match = re.search(rf"^{field}:\s+(\d+) kB", (process / "status").read_text(), re.MULTILINE)
    assert match is not None
    return int(match[1]) / 1024


@on_disk
def test_progress_rises_while_the_server_takes_bytes(uploader: Uploader) -> None:
    """A counting stream as the body: wherever it stops, the server comes to have what it counted."""
    stops = [5 * MEBIBYTE, 12 * MEBIBYTE, 24 * MEBIBYTE]
    uploader.begin({"kind": "Blob", "file": uploader.file(PDF.ljust(SIZE)), "filename": "a.pdf", "hold": stops})
    for stop in stops:
        assert stop <= uploader.read()["sent"] < stop + MEBIBYTE
        uploader.assert_holds(stop)
        uploader.write("go on")
    (outcome,) = uploader.read()["outcomes"]
    assert outcome["sent"] == outcome["value"]["size"] == SIZE


@on_disk
def test_an_aborted_upload_leaves_nothing(uploader: Uploader) -> None:
    half = SIZE // 2
    before, logged = uploader.server.state(), len(uploader.server.logged(499))
    uploader.begin({"kind": "File", "file": uploader.file(PDF.ljust(SIZE)), "filename": "a.pdf", "hold": [half]})
    assert half <= uploader.read()["sent"] < half + MEBIBYTE
    uploader.assert_holds(half)
    uploader.write("abort")
    (outcome,) = uploader.read()["outcomes"]
    assert (outcome["error"]["name"], outcome["error"]["cause"]) == ("TRPCClientError", "AbortError")
    uploader.server.assert_unchanged(before)
    assert eventually(lambda: len(uploader.server.logged(499)) == logged + 1)
