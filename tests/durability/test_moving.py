"""The bytes go from the folder to the bucket and back, beside servers that take uploads: nothing is lost, no read fails."""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from tests.engines.s3 import SharedS3
from tests.engines.seaweedfs import BUCKET
from tests.running import Attachd, environment, run_attachd

pytestmark = pytest.mark.only_on("local", reason="it is about both places, whichever the rest of the tests use")
LOCAL = {"ATTACHD_UPLOAD_BACKEND": "local"}
S3 = {"ATTACHD_UPLOAD_BACKEND": "s3"}


@pytest.fixture
def bucket(s3: SharedS3) -> dict[str, str]:
    """Settings of a part of the bucket, without the backend."""
    return {name: value for name, value in s3.fresh_prefix().items() if not name.endswith("_BACKEND")}


class Clients:
    """Threads that upload, and read again what was acknowledged, until they are stopped; a failure is kept."""

    def __init__(self, server: Attachd) -> None:
        self._server = server
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self.acknowledged: dict[str, str] = {}  # id -> SHA-256
        self.reads = 0
        self.failures: list[str] = []

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """While this lasts."""
        self._ended.clear()
        self._threads = [threading.Thread(target=self._guarded, args=[work]) for work in (self._upload, self._read, self._read)]
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._ended.set()
            for thread in self._threads:
                thread.join()
        assert self.failures == []

    def _guarded(self, work: object) -> None:
        try:
            with self._server.client() as client:
                while not self._ended.is_set():
                    work(client)  # type: ignore[operator]
        except Exception as error:  # noqa: BLE001 (told by the thread that waits)
            self.failures.append(repr(error))

    def _upload(self, client: httpx.Client) -> None:
        content = os.urandom(200).hex().encode() * 50
        reply = client.post("/api/upload", files={"file": ("a.txt", content)})
        assert reply.status_code == 200, reply.text
        self.acknowledged[reply.json()["id"]] = hashlib.sha256(content).hexdigest()
        time.sleep(0.05)  # each file goes there and back, and is read four times on the way

    def _read(self, client: httpx.Client) -> None:
        for id, digest in list(self.acknowledged.items())[:: max(len(self.acknowledged) // 20, 1)]:
            assert download(client, id) == digest, id
            self.reads += 1

    def check(self) -> None:
        """Every acknowledged upload is there, byte for byte."""
        with self._server.client() as client:
            for id, digest in self.acknowledged.items():
                assert download(client, id) == digest, id


def download(client: httpx.Client, id: str) -> str:
    """The SHA-256 of the file, from wherever the client is sent."""
    reply = client.get(f"/api/attachments/{id}/download", follow_redirects=True)
    assert reply.status_code == 200, (id, reply.status_code, reply.text[:200])
    return hashlib.sha256(reply.content).hexdigest()


def restarted(server: Attachd, settings: Mapping[str, str]) -> None:
    """The server with other settings."""
    with server.process:  # closes its output
        assert server.stop() == 0
    server.settings |= settings
    server.credentials = False
    server.start()


def move(server: Attachd, to: str, *options: str) -> tuple[int, dict[str, int], str]:
    done = run_attachd("migrate-storage", "--to", to, "--json", *options, folder=server.folder, **server.settings)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    return done.returncode, told[-1]["summary"] if told else {}, done.stderr


def kept(folder: Path) -> set[str]:
    return {path.name for path in (folder / "data" / "blobs").rglob("*") if path.is_file()}


def test_there_and_back_under_load(tmp_path: Path, bucket: dict[str, str], s3: SharedS3) -> None:
    server = Attachd(tmp_path, ATTACHD_SERVER_REQUEST_LOG="false")
    server.settings |= bucket | LOCAL
    with server:
        clients = Clients(server)
        with clients.working():
            while len(clients.acknowledged) < 50:
                assert clients.failures == []
                time.sleep(0.05)
            code, summary, errors = move(server, "s3")  # ahead of the switch
            assert (code, summary["problems"], errors) == (0, 0, "")
            assert summary["copied"] >= 50
        # Nobody reads or writes while this one server restarts; with several it would be one after the other.
        restarted(server, S3 | {"ATTACHD_UPLOAD_FALLBACK": "local"})
        with clients.working():
            code, summary, errors = move(server, "s3", "--parallel", "2")
            assert (code, summary["problems"], errors) == (0, 0, "")
            code, again, _ = move(server, "s3", "--remove-source")
            assert (code, again["copied"], again["problems"]) == (0, 0, 0)
            assert again["removed"] >= 50
        assert kept(tmp_path) == set()
        clients.check()
        restarted(server, {"ATTACHD_UPLOAD_FALLBACK": ""})
        clients.check()
        assert_agrees(server)
        with clients.working():
            assert move(server, "local")[0] == 0
        restarted(server, LOCAL | {"ATTACHD_UPLOAD_FALLBACK": "s3"})
        with clients.working():
            code, summary, _ = move(server, "local", "--remove-source")
            assert (code, summary["problems"]) == (0, 0)
        restarted(server, {"ATTACHD_UPLOAD_FALLBACK": ""})
        clients.check()
        assert_agrees(server)
        assert kept(tmp_path) >= set(clients.acknowledged)
        assert clients.reads > 100
        listed = s3.client().list_objects_v2(Bucket=BUCKET, Prefix=bucket["ATTACHD_UPLOAD_S3_PREFIX"])
        assert listed["KeyCount"] == 0


def assert_agrees(server: Attachd) -> None:
    done = run_attachd("fsck", "--checksums", folder=server.folder, **server.settings)
    assert (done.returncode, done.stdout.rpartition(": ")[2]) == (0, "all agree\n"), done.stdout


@pytest.fixture
def filled(tmp_path: Path, bucket: dict[str, str]) -> Attachd:
    """A stopped server with files in its folder."""
    server = Attachd(tmp_path, ATTACHD_SERVER_REQUEST_LOG="false")
    server.settings |= bucket | LOCAL
    with server, server.client() as client:
        for number in range(24):
            content = f"{number} ".encode() * 40_000
            assert client.post("/api/upload", files={"file": (f"{number}.txt", content)}).status_code == 200
    return server


@pytest.mark.parametrize("target", ["s3", "local"])
def test_it_goes_on_after_it_was_killed(filled: Attachd, target: str, tmp_path: Path, s3: SharedS3) -> None:
    def at_target() -> int:
        if target == "local":
            return len(kept(tmp_path))
        prefix = filled.settings["ATTACHD_UPLOAD_S3_PREFIX"]
        return s3.client().list_objects_v2(Bucket=BUCKET, Prefix=prefix)["KeyCount"]

    if target == "local":
        filled.settings |= S3
        assert move(filled, "s3", "--remove-source")[0] == 0
        filled.settings |= LOCAL
    command = [
        sys.executable,
        "-m",
        "server",
        "migrate-storage",
        "--to",
        target,
        "--parallel",
        "3",
        "--max-mb-per-second",
        "0.3",
    ]
    for count in (2, 6):
        with subprocess.Popen(
            command, cwd=tmp_path, env=environment(**filled.settings), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            while at_target() < count:
                assert process.poll() is None, "it ended before it could be killed"
                time.sleep(0.02)
            process.send_signal(signal.SIGKILL)
    code, summary, errors = move(filled, target)
    assert (code, summary["attachments"], summary["problems"], errors) == (0, 24, 0, "")
    assert 0 < summary["copied"] < 24, "some were copied before"
    filled.settings |= S3 if target == "s3" else LOCAL
    assert_agrees(filled)
    assert move(filled, target, "--verify", "--remove-source")[1]["removed"] == 24
    assert_agrees(filled)


def test_one_at_a_time(filled: Attachd, tmp_path: Path, s3: SharedS3) -> None:
    command = [sys.executable, "-m", "server", "migrate-storage", "--to", "s3", "--max-mb-per-second", "0.05"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment(**filled.settings), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            deadline = time.monotonic() + 60
            prefix = filled.settings["ATTACHD_UPLOAD_S3_PREFIX"]
            while not s3.client().list_objects_v2(Bucket=BUCKET, Prefix=f"{prefix}attachments/")["KeyCount"]:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            done = move(filled, "s3")
            assert (done[0], "another process is copying" in done[2]) == (1, True)
        finally:
            process.kill()


def test_what_cannot_be_copied_is_told_and_stays(filled: Attachd, tmp_path: Path) -> None:
    files = sorted(path for path in (tmp_path / "data" / "blobs").rglob("*") if path.is_file())
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:-1] + b"!")
    filled.settings |= S3
    done = run_attachd("migrate-storage", "--to", "s3", "--remove-source", folder=tmp_path, **filled.settings)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["missing", "checksum", "24"]
    assert lines[-1].startswith("24 attachments: 22 copied")
    assert done.stderr.splitlines() == [
        "Keep local: not all bytes are at s3.",
        "Error: 2 attachments have not got their bytes at the target",
    ]
    assert kept(tmp_path) == {files[1].name}


@pytest.mark.parametrize(
    ("settings", "options", "code", "error"),
    [
        pytest.param(LOCAL, ["--remove-source"], 2, "--remove-source is for when upload.backend is", id="too-early"),
        pytest.param({"ATTACHD_UPLOAD_S3_BUCKET": ""}, [], 2, "upload.s3_bucket must name a bucket", id="no-bucket"),
        pytest.param({"ATTACHD_UPLOAD_FALLBACK": "local"}, [], 2, "upload.fallback must be", id="fallback"),
        pytest.param({"ATTACHD_UPLOAD_S3_BUCKET": str(uuid.uuid4())}, [], 1, "run it again to go on", id="unknown-bucket"),
    ],
)
def test_what_it_refuses(
    tmp_path: Path, bucket: dict[str, str], settings: dict[str, str], options: list[str], code: int, error: str
) -> None:
    run_attachd("migrate", folder=tmp_path)
    (tmp_path / "data" / "blobs").mkdir()
    done = run_attachd("migrate-storage", "--to", "s3", *options, folder=tmp_path, **(bucket | LOCAL | settings))
    assert (done.returncode, done.stdout) == (code, "")
    assert error in done.stderr
    assert done.stderr.count("\n") == 1
