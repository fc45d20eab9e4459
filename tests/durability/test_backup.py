"""`attachd backup` and `attachd restore` from the outside: under load, killed in the middle, and with what is wrong."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.engines.backing import DATABASE_FILE
from tests.rest.live import eventually
from tests.running import Attachd, environment, run_attachd

pytestmark = pytest.mark.only_on("sqlite", "local", reason="backups are of the embedded default")
FILES = 24


def upload(client: httpx.Client, content: bytes) -> tuple[str, str]:
    """The id and the SHA-256 of a new attachment."""
    reply = client.post("/api/upload", files={"file": ("a.txt", content)})
    assert reply.status_code == 200, reply.text
    return reply.json()["id"], hashlib.sha256(content).hexdigest()


@pytest.fixture
def site(tmp_path: Path) -> Attachd:
    """A server with files; stopped."""
    server = Attachd(tmp_path, ATTACHD_SERVER_REQUEST_LOG="false")
    with server, server.client() as client:
        for number in range(FILES):
            upload(client, f"{number} ".encode() * 20_000)
    return server


def restored(site: Attachd, backup: Path, to: Path, *options: str) -> subprocess.CompletedProcess[str]:
    to.mkdir(exist_ok=True)
    settings = site.settings | elsewhere(to)
    return run_attachd("restore", str(backup), *options, folder=to, **settings)


def elsewhere(to: Path) -> dict[str, str]:
    return {"ATTACHD_DATABASE_URL": f"sqlite:///{to}/{DATABASE_FILE}", "ATTACHD_UPLOAD_DIRECTORY": f"{to}/data/blobs"}


def assert_agrees(site: Attachd, to: Path) -> None:
    done = run_attachd("fsck", "--checksums", folder=to, **(site.settings | elsewhere(to)))
    assert (done.returncode, done.stdout.rpartition(": ")[2]) == (0, "all agree\n"), done.stdout


def test_under_load_and_served_again(tmp_path: Path) -> None:
    """What was acknowledged before a backup began is in it, byte for byte, and is served from what was put back."""
    acknowledged: dict[str, str] = {}
    before: dict[str, str] = {}
    ended = threading.Event()
    backup = tmp_path / "backup"
    server = Attachd(tmp_path, ATTACHD_SERVER_REQUEST_LOG="false")
    with server:

        def work() -> None:
            with server.client() as client:
                while not ended.is_set():
                    id, digest = upload(client, os.urandom(500).hex().encode() * 20)
                    acknowledged[id] = digest

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(2):
                assert eventually(lambda: len(acknowledged) > 5)
                before = dict(acknowledged)
                done = run_attachd("backup", str(backup), "--json", folder=tmp_path, **server.settings)
                assert (done.returncode, done.stderr) == (0, ""), done.stdout
        finally:
            ended.set()
            for thread in threads:
                thread.join()
    assert len(before) > 5
    done = run_attachd("backup", str(backup), "--verify", folder=tmp_path, **server.settings)
    assert (done.returncode, done.stderr) == (0, "")
    to = tmp_path / "again"
    assert restored(server, backup, to).returncode == 0
    assert_agrees(server, to)
    again = Attachd(to, credentials=False, **{**elsewhere(to), "ATTACHD_SERVER_REQUEST_LOG": "false"})
    again.tokens = server.tokens
    with again, again.client() as client:
        for id, digest in before.items():
            reply = client.get(f"/api/attachments/{id}/download")
            assert (reply.status_code, hashlib.sha256(reply.content).hexdigest()) == (200, digest)
        upload(client, b"and on it goes")


def files_in(blobs: Path) -> int:
    """How many files were copied whole."""
    return sum(path.is_file() and path.suffix != ".partial" for path in blobs.rglob("*"))


def killed(site: Attachd, blobs: Path, count: int, *arguments: str, **settings: str) -> None:
    """Run a command and kill it when so many files are there, after which it stands still."""
    settings["COPIES"] = str(count - files_in(blobs))
    deadline = time.monotonic() + 60
    with subprocess.Popen(
        [sys.executable, "-c", SLOWLY, *arguments],
        cwd=site.folder,
        env=environment(**(site.settings | settings)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        while files_in(blobs) < count:
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)


# The command that copies so many files and no more, so that a signal comes in the middle.
SLOWLY = """
import asyncio, os
import storage.transfer
copy, left = storage.transfer.copy, int(os.environ["COPIES"])
async def slow_copy(*arguments):
    global left
    left -= 1
    if left < 0:
        await asyncio.sleep(3600)
    return await copy(*arguments)
storage.transfer.copy = slow_copy
from server.cli import main
main()
"""


def test_killed_in_the_middle(site: Attachd, tmp_path: Path) -> None:
    backup, to = tmp_path / "backup", tmp_path / "again"
    killed(site, backup / "blobs", 3, "backup", str(backup))
    done = restored(site, backup, to)
    assert done.returncode == 1
    assert "holds no backup that was finished" in done.stderr
    killed(site, backup / "blobs", 9, "backup", str(backup))
    done = run_attachd("backup", str(backup), "--json", folder=tmp_path, **site.settings)
    summary = json.loads(done.stdout.splitlines()[-1])["summary"]
    assert done.returncode == 0, done.stderr
    assert 0 < summary["copied"] < FILES, "some were copied before"
    assert len(list(backup.glob("*.db"))) == 1, "what the killed ones left is gone"
    killed(site, to / "data" / "blobs", 4, "restore", str(backup), **elsewhere(to))
    assert not (to / DATABASE_FILE).exists(), "the database comes last"
    done = restored(site, backup, to, "--json")
    assert done.returncode == 0, done.stderr
    assert 0 < json.loads(done.stdout.splitlines()[-1])["summary"]["copied"] < FILES
    assert_agrees(site, to)


def test_a_later_backup_that_was_killed_leaves_the_earlier_one(site: Attachd, tmp_path: Path) -> None:
    backup, to = tmp_path / "backup", tmp_path / "again"
    assert run_attachd("backup", str(backup), folder=tmp_path, **site.settings).returncode == 0
    with Attachd(tmp_path, ATTACHD_SERVER_REQUEST_LOG="false") as server, server.client() as client:
        for number in range(5):
            upload(client, f"later {number}".encode() * 1000)
    killed(site, backup / "blobs", FILES + 2, "backup", str(backup))
    assert run_attachd("backup", str(backup), "--verify", folder=tmp_path, **site.settings).returncode == 0
    assert restored(site, backup, to).returncode == 0
    assert_agrees(site, to)


def test_what_is_wrong_is_told(site: Attachd, tmp_path: Path) -> None:
    backup, to = tmp_path / "backup", tmp_path / "again"
    lost, flipped = sorted(path for path in (tmp_path / "data" / "blobs").rglob("*") if path.is_file())[:2]
    whole = lost.read_bytes()
    lost.unlink()
    done = run_attachd("backup", str(backup), folder=tmp_path, **site.settings)
    assert (done.returncode, done.stderr) == (
        1,
        "Error: the store lacks the bytes of 1 attachments; the backup has all the others\n",
    )
    assert done.stdout.splitlines()[0].startswith("missing at the source")
    lost.write_bytes(whole)
    assert run_attachd("backup", str(backup), folder=tmp_path, **site.settings).returncode == 0
    (copy,) = backup.rglob(flipped.name)
    copy.write_bytes(copy.read_bytes()[:-1] + b"!")
    done = run_attachd("backup", str(backup), "--verify", folder=tmp_path, **site.settings)
    assert done.returncode == 1
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["checksum", "backup"]
    assert restored(site, backup, to).returncode == 1
    assert not (to / DATABASE_FILE).exists()
    done = restored(site, backup, to, "--partial")
    assert (done.returncode, (to / DATABASE_FILE).exists()) == (1, True)
    done = restored(site, backup, to)
    assert done.returncode == 1
    assert "exists, and nothing is ever written over: move it away, then restore" in done.stderr


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_not_for_postgresql(tmp_path: Path, command: str) -> None:
    settings = {"ATTACHD_DATABASE_URL": "postgresql://nobody:secret@127.0.0.1:1/none"}
    done = run_attachd(command, "backup", folder=tmp_path, **settings)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: this is for SQLite: docs/operations.md says how")
    assert list(tmp_path.iterdir()) == []


def test_a_backup_into_a_folder_that_is_full_of_other_things(site: Attachd, tmp_path: Path) -> None:
    done = run_attachd("backup", str(tmp_path / "data"), folder=tmp_path, **site.settings)
    assert done.returncode == 1
    assert "holds something else than a backup" in done.stderr
    shutil.rmtree(tmp_path / "data" / "blobs")
