"""attachd stopped, killed and started again under subscriptions of attachments.onChange while uploads go on.

Nothing is lost, nothing comes twice, and all of it in order: over server-sent events and over a WebSocket, by the stock client
alone, which connects again with the id of the last event it has seen.
"""

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conformance.lasting import Lasting
from tests.conformance.subscribing import Uploader, assert_all_created, subscribe, with_member
from tests.running import Attachd

LINKS = ("sse", "ws")
BEFORE, AFTER = 5, 5
WORKERS = 2
# So many of each link that both workers are likely to have some: the kernel spreads connections as it likes.
SPREAD = 6


@pytest.fixture(scope="module")
def restarted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attachd]:
    """A server that comes back on the same port, with the same data and credentials."""
    settings = {"ATTACHD_SERVER_SHUTDOWN_GRACE_SECONDS": "2"}
    with Attachd(tmp_path_factory.mktemp("restarts"), credentials=False, **settings) as site:
        site.settings["ATTACHD_SERVER_PORT"] = str(httpx.URL(site.base_url).port)
        yield with_member(site)


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attachd]:
    with Attachd(tmp_path_factory.mktemp("workers"), "--workers", str(WORKERS), credentials=False) as site:
        yield with_member(site)


@pytest.mark.parametrize("how", ["terminate", "kill"])
def test_restart(lasting: Lasting, restarted: Attachd, how: str) -> None:
    conversation = str(uuid.uuid4())
    subscriptions = [subscribe(lasting, restarted, link, conversation) for link in LINKS]
    uploader = Uploader(restarted, conversation)
    uploader.start()
    uploader.more(BEFORE)
    getattr(restarted.process, how)()
    restarted.process.communicate(timeout=60)
    restarted.start()
    uploader.more(AFTER)
    uploader.stop()
    for running in subscriptions:
        assert_all_created(running, uploader)
        assert running.states.count("connecting") > 1, "the subscription went through the restart"
        running.stop()


def test_death_of_a_worker(lasting: Lasting, workers: Attachd) -> None:
    """Uploads go to whichever worker takes them, and subscribers of both hear of all."""
    conversation = str(uuid.uuid4())
    subscriptions = [subscribe(lasting, workers, link, conversation) for link in LINKS * SPREAD]
    uploader = Uploader(workers, conversation)
    uploader.start()
    uploader.more(BEFORE)
    os.kill(max(worker_pids(workers), key=connections), signal.SIGKILL)
    uploader.more(AFTER)
    uploader.stop()
    for running in subscriptions:
        assert_all_created(running, uploader)
        running.stop()
    assert any(running.states.count("connecting") > 1 for running in subscriptions), "some were the dead worker's"


def worker_pids(site: Attachd) -> list[int]:
    """The processes that serve: those children of the supervisor that it has spawned."""
    pid = site.process.pid
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [child for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def connections(pid: int) -> int:
    """How many sockets a process has open."""
    return sum(link.readlink().name.startswith("socket:") for link in Path(f"/proc/{pid}/fd").iterdir())
