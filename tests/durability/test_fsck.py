"""`attachd fsck` from the outside: what it prints, its exit codes, and going on where it was killed."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from storage import fresh_id
from tests.engines.backing import Backing, backing_of
from tests.running import Attachd, environment, run_attachd

FILES = 30


class Site:
    """A stopped server with attachments: keys by id."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.backing: Backing = backing_of(folder)
        self.settings = {**self.backing.settings, "ATTACHD_SWEEP_GRACE_SECONDS": "0"}
        self.keys: dict[str, str] = dict(self.backing.query("SELECT id, storage_path FROM attachments"))

    def run(self, *options: str) -> tuple[int, list[str], str]:
        """The exit code, the lines on standard output, and standard error."""
        done = run_attachd("fsck", *options, folder=self.folder, **self.settings)
        return done.returncode, done.stdout.splitlines(), done.stderr

    def findings(self, *options: str) -> tuple[int, dict[str, str]]:
        """The exit code, and what was found by key or organization."""
        code, lines, errors = self.run("--json", *options)
        assert errors == ""
        told = [json.loads(line) for line in lines]
        assert "summary" in told[-1]
        return code, {line.get("key") or line["organization"]: line["finding"] for line in told[:-1]}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    with Attachd(tmp_path, ATTACHD_SERVER_REQUEST_LOG="false") as server, server.client() as client:
        for number in range(FILES):
            content = f"{number} ".encode() * 1000
            assert client.post("/api/upload", files={"file": (f"{number}.txt", content)}).status_code == 200
    return Site(tmp_path)


def damage(site: Site) -> dict[str, str]:
    """Do everything to the site that can be done; what must be found by key or organization."""
    keys = sorted(site.keys.values())
    removed, truncated, flipped, quarantined, rowless = keys[:5]
    read, write, remove = site.backing.bytes.read, site.backing.bytes.write, site.backing.bytes.remove
    remove(removed)
    write(truncated, read(truncated)[:-1])
    write(flipped, read(flipped)[:-1] + b"!")
    write(f"quarantine/{quarantined}", read(quarantined))
    remove(quarantined)
    ((organization,),) = site.backing.query("SELECT organization_id FROM attachments WHERE storage_path = ?", rowless)
    site.backing.query("DELETE FROM attachments WHERE storage_path = ?", rowless)
    extra = f"attachments/{organization}/{fresh_id()}"
    write(extra, b"extra")
    return {
        removed: "missing",
        truncated: "size",
        flipped: "checksum",
        quarantined: "quarantined",
        rowless: "unclaimed",
        extra: "unclaimed",
        organization: "usage",
    }


def test_everything_is_found_and_what_can_be_is_repaired(site: Site) -> None:
    assert site.run() == (0, [f"looked at {FILES} attachments ({_bytes(site)} bytes): all agree"], "")
    damaged = damage(site)
    assert site.findings("--checksums") == (1, damaged)
    shallow = {key: kind for key, kind in damaged.items() if kind != "checksum"}
    assert site.findings() == (1, shallow)
    code, lines, _ = site.run("--repair")
    assert code == 1
    assert sum(line.endswith("(repaired)") for line in lines) == 2
    assert lines[-1].endswith("1 missing, 1 quarantined, 1 size, 2 unclaimed, 1 usage")
    left = {key: kind for key, kind in damaged.items() if kind not in {"quarantined", "usage"}}
    assert site.findings("--checksums") == (1, left)
    run_attachd("sweep", folder=site.folder, **site.settings)
    assert site.findings("--checksums") == (1, {key: kind for key, kind in left.items() if kind != "unclaimed"})


def _bytes(site: Site) -> int:
    ((size,),) = site.backing.query("SELECT sum(size) FROM attachments")
    return int(size)


def test_it_goes_on_where_it_was_killed(site: Site, tmp_path: Path) -> None:
    damaged = damage(site)
    state = tmp_path / "fsck.json"
    command = [sys.executable, "-c", SLOWLY, "fsck", "--checksums", "--json", "--resume", str(state)]
    found: dict[str, str] = {}
    for _ in range(3):
        before = state.read_bytes() if state.exists() else b""
        with subprocess.Popen(
            command, cwd=site.folder, env=environment(**site.settings), stdout=subprocess.PIPE, text=True
        ) as process:
            deadline = time.monotonic() + 60
            while not state.exists() or state.read_bytes() == before:
                assert time.monotonic() < deadline
                assert process.poll() is None, "it ended before it could be killed"
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
            assert process.stdout is not None
            told = [json.loads(line) for line in process.stdout]
        found |= {line["key"]: line["finding"] for line in told}
    far = json.loads(state.read_bytes())["attachments"]
    assert 0 < far < FILES
    code, rest = site.findings("--checksums", "--resume", str(state))
    assert (code, found | rest) == (1, damaged)
    assert set(rest) != set(damaged), "what was looked at is not looked at again"
    assert not state.exists()
    assert site.findings("--checksums", "--resume", str(state)) == (1, damaged)


# The command with small batches, which stands still after some of them, so that a signal comes in the middle.
SLOWLY = """
import time
import storage.fsck, storage.merge
storage.merge.BLOBS_AT_ONCE = 2
merge = storage.fsck.merge
async def slow_merge(*arguments):
    left = 4
    async for pairs in merge(*arguments):
        for start in range(0, len(pairs), 2):
            yield pairs[start:start + 2]
            left -= 1
            if not left:
                time.sleep(3600)
storage.fsck.merge = slow_merge
from server.cli import main
main()
"""


@pytest.mark.parametrize(
    ("content", "error"),
    [
        pytest.param(b"{}", "is not a file that `attachd fsck --resume` wrote", id="another-file"),
        pytest.param(b"\xff", "is not a file that `attachd fsck --resume` wrote", id="no-json"),
        pytest.param(b'{"checksums":true}', "is of a run with --checksums; go on likewise, or remove it", id="another-run"),
    ],
)
def test_a_file_to_go_on_from_that_does_not_fit(tmp_path: Path, content: bytes, error: str) -> None:
    (tmp_path / "state").write_bytes(content)
    done = run_attachd("fsck", "--resume", "state", folder=tmp_path)
    assert (done.returncode, done.stderr) == (2, f"Error: state {error}\n")
    assert (tmp_path / "state").read_bytes() == content
    assert not (tmp_path / "data").exists()


def test_a_bar_on_a_terminal(site: Site) -> None:
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "server", "fsck"],
        cwd=site.folder,
        env=environment(**site.settings, TERM="xterm"),
        stdout=subprocess.PIPE,
        stderr=follower,
        text=True,
    ) as process:
        os.close(follower)
        output, _ = process.communicate(timeout=120)
    shown = os.read(leader, 65_536).decode()
    os.close(leader)
    assert f"{FILES}/{FILES}" in shown
    assert output.count("\n") == 1
