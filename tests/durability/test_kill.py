"""Nothing acknowledged is lost: the real server is killed with SIGKILL at random moments under load, again and again.

A file's name is the SHA-256 of its bytes, so that whatever the server lists can be checked, acknowledged or not.
ATTACHD_TEST_SEED repeats the sizes and the moments of the run that printed it; the interleaving stays the machine's.
"""

import contextlib
import functools
import hashlib
import http.client
import json
import os
import random
import signal
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from storage.blobs import QUARANTINE
from tests.rest.live import eventually
from tests.running import Attachd

CONNECTIONS = 6
LOAD_S = (0.2, 0.9)  # seconds of load before a kill
MAX_BYTES = 3 * 1024 * 1024
PIECE_BYTES = 64 * 1024
BOUNDARY = "attachd-durability"
SERVER_IS_GONE = (OSError, http.client.HTTPException)


class Round:
    """What the clients were told between two kills. Each of them notes its own ids only, so no lock is needed."""

    def __init__(self) -> None:
        self.conversation = str(uuid.uuid4())
        self.stored: dict[str, str] = {}  # acknowledged uploads: id -> SHA-256
        self.asked: set[str] = set()  # deletions that were asked for, answered or not
        self.deleted: set[str] = set()  # acknowledged deletions
        self.uploading: set[int] = set()  # threads in the midst of an upload

    @property
    def kept(self) -> dict[str, str]:
        """What must be there: a deletion without an answer may have happened or not."""
        return {attachment: digest for attachment, digest in self.stored.items() if attachment not in self.asked}


class Client:
    """One keep-alive connection with a session cookie. Every method raises one of `SERVER_IS_GONE` when it is."""

    def __init__(self, server: Attachd) -> None:
        self.connection = http.client.HTTPConnection(server.base_url.removeprefix("http://"), timeout=60)
        self.cookie = {"cookie": f"session={server.tokens['member']}"}

    def close(self) -> None:
        self.connection.close()

    def call(self, method: str, path: str, body: bytes | Iterator[bytes] | None = None, **headers: str) -> tuple[int, bytes]:
        self.connection.request(method, path, body, self.cookie | headers)
        reply = self.connection.getresponse()
        return reply.status, reply.read()

    def upload(self, content: bytes, conversation: str, pause_s: float) -> str:
        """The attachment; the pause in mid-body lets kills find half of it."""
        name = f"{hashlib.sha256(content).hexdigest()}.txt"
        body = (
            f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="conversationId"\r\n\r\n{conversation}\r\n'
            f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
        ).encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()  # fmt: skip

        def pieces() -> Iterator[bytes]:
            for start in range(0, len(body), PIECE_BYTES):
                yield body[start : start + PIECE_BYTES]
                time.sleep(pause_s if start == 0 else 0)

        headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY}", "content-length": str(len(body))}
        status, answer = self.call("POST", "/api/upload", pieces(), **headers)
        assert status == 200, answer
        attachment: str = json.loads(answer)["id"]
        return attachment

    def delete(self, id: str) -> int:
        body = json.dumps({"id": id}).encode()
        return self.call("POST", "/api/trpc/attachments.delete", body, **{"content-type": "application/json"})[0]

    def list(self, conversation: str) -> dict[str, str]:
        """The SHA-256 that the name promises, by id."""
        status, answer = self.call("GET", f"/api/trpc/attachments.list?input=%7B%22conversationId%22:%22{conversation}%22%7D")
        assert status == 200, answer
        return {item["id"]: item["filename"].removesuffix(".txt") for item in json.loads(answer)["result"]["data"]["json"]}

    def digest(self, id: str) -> str | None:
        """The SHA-256 of the download; None if it is not found."""
        status, answer = self.call("GET", f"/api/attachments/{id}/download")
        assert status in {200, 404}, answer
        return hashlib.sha256(answer).hexdigest() if status == 200 else None


def random_text(chance: random.Random) -> bytes:
    """1 byte to 3 MiB, every order of magnitude as likely."""
    size = int(MAX_BYTES ** chance.random())
    return chance.randbytes(size // 2 + 1).hex().encode()[:size]


def load(server: Attachd, told: Round, chance: random.Random) -> bool:
    """Upload, download and delete until the server is gone; True if it went in the midst of an upload."""
    mine: list[str] = []
    uploading = False
    with contextlib.closing(Client(server)) as client, contextlib.suppress(*SERVER_IS_GONE):
        while True:
            choice = chance.random()
            if mine and choice < 0.2:
                attachment = mine.pop(chance.randrange(len(mine)))
                told.asked.add(attachment)
                assert client.delete(attachment) == 200
                told.deleted.add(attachment)
                assert client.digest(attachment) is None
            elif mine and choice < 0.3:
                attachment = chance.choice(mine)
                assert client.digest(attachment) == told.stored[attachment]
            else:
                content, uploading = random_text(chance), True
                told.uploading.add(threading.get_ident())
                attachment = client.upload(content, told.conversation, pause_s=chance.choice((0, 0, 0.05)))
                told.stored[attachment], uploading = hashlib.sha256(content).hexdigest(), False
                told.uploading.discard(threading.get_ident())
                mine.append(attachment)
    return uploading


def is_loaded(told: Round) -> bool:
    """Whether a kill now interrupts uploads."""
    return len(told.uploading) > 1


def check(server: Attachd, told: Round) -> None:
    """The running server lists what it acknowledged, nothing that it deleted, and nothing that is not whole."""
    with contextlib.closing(Client(server)) as client:
        listed = client.list(told.conversation)
        assert listed.items() >= told.kept.items(), "an acknowledged upload is lost"
        assert not listed.keys() & told.deleted, "an acknowledged deletion came undone"
        for attachment, promised in listed.items():
            assert client.digest(attachment) == promised, f"{attachment} is not whole"
        for attachment in told.deleted:
            assert client.digest(attachment) is None


def check_bytes(server: Attachd) -> None:
    """Bytes and table agree both ways, once a sweep has put aside what nobody claims; deleted attachments keep both."""
    backing = server.backing
    rows = {key: bytes(digest).hex() for key, digest in backing.query("SELECT storage_path, sha256 FROM attachments")}
    claimed = {key for key in backing.bytes.kept() if not key.startswith(QUARANTINE)}
    assert {key: hashlib.sha256(backing.bytes.read(key)).hexdigest() for key in claimed} == rows
    backing.database.check()


def kill(server: Attachd) -> None:
    """SIGKILL to the server, then to its workers."""
    with server.process:  # closes its output and waits
        for process in (server.process.pid, *children(server.process.pid)):
            os.kill(process, signal.SIGKILL)


def children(process: int) -> list[int]:
    listing = Path(f"/proc/{process}/task/{process}/children")
    return [int(child) for child in listing.read_text().split()] if listing.exists() else []


@pytest.mark.parametrize(
    ("workers", "kills"),
    [
        pytest.param(1, 30, id="one-process"),
        pytest.param(
            2, 6, id="two-workers", marks=pytest.mark.skipif(sys.platform != "linux", reason="/proc names the workers")
        ),
    ],
)
def test_kill(tmp_path: Path, workers: int, kills: int) -> None:
    seed = os.environ.get("ATTACHD_TEST_SEED") or str(random.SystemRandom().getrandbits(32))
    print(f"ATTACHD_TEST_SEED={seed}")  # noqa: T201 (pytest shows it when the test fails)
    rounds: list[Round] = []
    interrupted = 0
    server = Attachd(tmp_path, ATTACHD_SERVER_WORKERS=str(workers), ATTACHD_SWEEP_GRACE_SECONDS="0")
    with server, ThreadPoolExecutor(CONNECTIONS) as pool:
        server.credentials = False  # those of the first start go on
        for number in range(kills):
            told = Round()
            rounds.append(told)
            chances = [random.Random(f"{seed} {number} {connection}") for connection in range(CONNECTIONS)]
            clients = [pool.submit(load, server, told, chance) for chance in chances]
            time.sleep(random.Random(f"{seed} {number}").uniform(*LOAD_S))
            assert eventually(functools.partial(is_loaded, told))
            kill(server)
            interrupted += sum(client.result() for client in clients)
            if number < kills - 1:
                server.start()
                check(server, told)
        server.run("sweep")
        check_bytes(server)
        server.start()
        for told in rounds:
            check(server, told)
        assert server.stop() == 0
    assert interrupted >= kills, "the load was too light to prove anything"


@pytest.mark.skipif(sys.platform != "linux", reason="/proc names the workers")
def test_workers_stop_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    """Otherwise they would serve for ever, and keep the port from the next server."""
    with Attachd(tmp_path, "--workers", "2", credentials=False) as server:
        workers = children(server.process.pid)
        server.process.kill()
        server.process.wait()
        deadline = time.monotonic() + 60
        while running := [worker for worker in workers if Path(f"/proc/{worker}").exists()]:
            assert time.monotonic() < deadline, running
            time.sleep(0.02)
        port = server.base_url.rpartition(":")[2]
        with Attachd(tmp_path, credentials=False, ATTACHD_SERVER_PORT=port) as successor:
            assert successor.base_url == server.base_url
