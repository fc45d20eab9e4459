"""attachd stopped, killed and started again under subscriptions of attachments.onChange while uploads go on.

Nothing is lost, nothing comes twice, and all of it in order: over server-sent events and over a WebSocket, by the stock client
alone, which connects again with the id of the last event it has seen.
"""

import itertools
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.conformance.lasting import Lasting, Running
from tests.running import Attachd

LINKS = ("sse", "ws")
BEFORE, MEANWHILE, AFTER = 5, 5, 5
PAUSE_S = 0.02


class Uploader(threading.Thread):
    """Uploads into a conversation until it is told to stop, again and again where a connection fails."""

    def __init__(self, site: Attachd, conversation_id: str) -> None:
        super().__init__(daemon=True)
        self.site, self.conversation_id = site, conversation_id
        self.acknowledged: list[str] = []
        self._stopping = threading.Event()

    def run(self) -> None:
        for number in itertools.count():
            if self._stopping.wait(PAUSE_S):
                return
            try:
                with self.site.client() as client:
                    reply = client.post(
                        "/api/upload",
                        data={"conversationId": self.conversation_id},
                        files={"file": (f"{number}.txt", b"a note\n")},
                    )
            except httpx.TransportError:
                continue
            if reply.status_code == 200:
                self.acknowledged.append(reply.json()["id"])

    def more(self, count: int) -> None:
        """Wait until so many more uploads are acknowledged."""
        wanted, deadline = len(self.acknowledged) + count, time.monotonic() + 30
        while len(self.acknowledged) < wanted:
            assert time.monotonic() < deadline, "the uploads do not go on"
            time.sleep(PAUSE_S)

    def stop(self) -> None:
        """Let the upload under way end."""
        self._stopping.set()
        self.join(30)


@pytest.fixture(scope="module")
def restarted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attachd]:
    """A server that comes back on the same port, with the same data and credentials."""
    with Attachd(tmp_path_factory.mktemp("restarts"), ATTACHD_SERVER_SHUTDOWN_GRACE_SECONDS="2") as site:
        site.settings["ATTACHD_SERVER_PORT"] = str(httpx.URL(site.base_url).port)
        site.credentials = False
        yield site


def subscribe(lasting: Lasting, site: Attachd, link: str, conversation_id: str) -> Running:
    return lasting.start(
        op="subscribe",
        link=link,
        url=f"{site.base_url}/api/trpc",
        headers={"cookie": f"session={site.tokens['member']}"},
        path="attachments.onChange",
        input={"json": {"conversationId": conversation_id}},
    )


def created_until(running: Running, last: str) -> list[dict[str, Any]]:
    """The events up to that of the attachment `last`."""
    events: list[dict[str, Any]] = []
    while not events or events[-1]["data"]["id"] != last:
        events.append(running.data())
    return events


@pytest.mark.parametrize("how", ["terminate", "kill"])
def test_restart(restarted: Attachd, how: str) -> None:
    conversation = str(uuid.uuid4())
    with Lasting() as lasting:
        subscriptions = {link: subscribe(lasting, restarted, link, conversation) for link in LINKS}
        for running in subscriptions.values():
            assert running.data()["data"]["type"] == "ready"
        uploader = Uploader(restarted, conversation)
        uploader.start()
        uploader.more(BEFORE)
        getattr(restarted.process, how)()
        restarted.process.wait(30)
        restarted.process.communicate()
        restarted.start()
        uploader.more(AFTER)
        uploader.stop()
        with restarted.client() as client:
            query = {"input": f'{{"conversationId":"{conversation}"}}'}
            listed = client.get("/api/trpc/attachments.list", params=query).json()["result"]["data"]["json"]
        stored = [item["id"] for item in listed]
        assert set(uploader.acknowledged) <= set(stored)
        for link, running in subscriptions.items():
            events = created_until(running, uploader.acknowledged[-1])
            numbers = [int(event["id"]) for event in events]
            assert numbers == sorted(set(numbers)), link
            assert {event["data"]["type"] for event in events} == {"created"}
            assert sorted(event["data"]["id"] for event in events) == sorted(stored), link
            assert running.rest() == []
            assert running.states.count("connecting") >= 1, "the subscription went through the restart"
            running.stop()
