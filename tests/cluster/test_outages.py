"""One of two servers is killed, or both are restarted in turn, under load: clients that try again lose nothing and see no
failure.
"""

import contextlib
import hashlib
import random
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.cluster.cluster import Balanced, Cluster
from tests.cluster.test_together import call
from tests.durability.test_kill import check_bytes
from tests.rest.live import eventually
from tests.running import Attachd

pytestmark = pytest.mark.only_on("postgresql", "s3", reason="what several machines share")

CLIENTS = 4
MAX_BYTES = 12 * 2**20  # more than one part of S3
GRACE = {"ATTACHD_SWEEP_GRACE_SECONDS": "0"}


class Load:
    """Clients that upload, download and list until they are stopped, and what they were told."""

    def __init__(self, cluster: Cluster) -> None:
        self.conversation = str(uuid.uuid4())
        self.stored: dict[str, str] = {}  # acknowledged uploads: id -> SHA-256
        self.requests = 0
        self.tried_again = 0
        self._cluster = cluster
        self._stopping = threading.Event()

    def run(self, number: int) -> None:
        """One client."""
        chance = random.Random(number)
        mine: list[str] = []
        with self._cluster.client() as client:
            while not self._stopping.is_set():
                self.requests += 1
                if mine and chance.random() < 0.3:
                    id = chance.choice(mine)
                    assert digest_of(client, id) == self.stored[id]
                elif mine and chance.random() < 0.3:
                    assert set(mine) <= listed(client, self.conversation)
                else:
                    mine.append(self._upload(client, chance))
            assert isinstance(client._transport, Balanced)  # noqa: SLF001 (it counts)
            self.tried_again += client._transport.failures  # noqa: SLF001

    def _upload(self, client: httpx.Client, chance: random.Random) -> str:
        size = int(MAX_BYTES ** chance.random())
        content = chance.randbytes(size // 2 + 1).hex().encode()[:size]
        digest = hashlib.sha256(content).hexdigest()
        files = {"file": (f"{digest}.txt", content)}
        reply = client.post("/api/upload", files=files, data={"conversationId": self.conversation})
        assert reply.status_code == 200, reply.text
        id: str = reply.json()["id"]
        self.stored[id] = digest
        return id

    def stop(self) -> None:
        self._stopping.set()


def digest_of(client: httpx.Client, id: str) -> str:
    reply = client.get(f"/api/attachments/{id}/download")
    assert reply.status_code == 200, reply.text
    return hashlib.sha256(reply.content).hexdigest()


def listed(client: httpx.Client, conversation: str) -> set[str]:
    return {item["id"] for item in call(client, "attachments.list", {"conversationId": conversation})}


@contextlib.contextmanager
def loaded(cluster: Cluster) -> Iterator[Load]:
    """The cluster under load; whatever a client is surprised by is raised at the end."""
    load = Load(cluster)
    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(load.run, number) for number in range(CLIENTS)]
        try:
            yield load
        finally:
            load.stop()
        for client in clients:
            client.result()


def assert_all_there(server: Attachd, load: Load) -> None:
    """The server lists every upload that was acknowledged, and has each byte for byte."""
    with server.client() as client:
        assert load.stored.keys() <= listed(client, load.conversation)
        for id, digest in load.stored.items():
            assert digest_of(client, id) == digest


def test_one_is_killed_again_and_again(tmp_path: Path) -> None:
    with Cluster(tmp_path, **GRACE) as cluster:
        with loaded(cluster) as load:
            for server in cluster.both * 2:
                time.sleep(1.0)
                cluster.kill(server)
                time.sleep(0.3)
                server.start()
            assert eventually(lambda: len(load.stored) > 10)
        assert load.tried_again > 0, "the load met no outage"
        for server in cluster.both:
            assert_all_there(server, load)
        cluster.one.run("sweep")
        check_bytes(cluster.one)


def test_what_the_killed_one_acknowledged_the_other_has(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        with loaded(cluster) as load:
            time.sleep(1.5)
            cluster.kill(cluster.one)
            time.sleep(1.0)
        assert_all_there(cluster.two, load)


def test_a_rolling_restart_fails_no_request(tmp_path: Path) -> None:
    with Cluster(tmp_path, ATTACHD_SERVER_WORKERS="1") as cluster:
        with loaded(cluster) as load:
            for server in cluster.both * 2:
                time.sleep(0.5)
                cluster.restart(server)
            assert eventually(lambda: load.requests > 20)
        for server in cluster.both:
            assert_all_there(server, load)
            assert not [line for line in server.lines() if line.get("level") == "ERROR"], server.log.read_text()
