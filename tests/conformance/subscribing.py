"""Subscriptions of attachments.onChange by the stock client while uploads go on: what each must have got in the end."""

import itertools
import threading
import time
from typing import Any

import httpx

from tests.conformance.lasting import Lasting, Running
from tests.running import Attachd

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
        wanted, deadline = len(self.acknowledged) + count, time.monotonic() + 60
        while len(self.acknowledged) < wanted:
            assert time.monotonic() < deadline, "the uploads do not go on"
            time.sleep(PAUSE_S)

    def stored(self) -> list[str]:
        """What the conversation has; an upload may be stored although its answer was lost."""
        with self.site.client() as client:
            query = {"input": f'{{"conversationId":"{self.conversation_id}"}}'}
            listed = client.get("/api/trpc/attachments.list", params=query).json()["result"]["data"]["json"]
        return [item["id"] for item in listed]

    def stop(self) -> None:
        """Let the upload under way end."""
        self._stopping.set()
        self.join(30)


def with_member(site: Attachd) -> Attachd:
    """The site with the only session that these tests need."""
    who = ("--user", site.users["member"], "--organization", site.organization_id, "--role", "member")
    site.tokens["member"] = site.run("session", "create", *who).strip()
    return site


def subscribe(lasting: Lasting, site: Attachd, link: str, conversation_id: str) -> Running:
    """A subscription that is under way: its `ready` has come."""
    running = lasting.start(
        op="subscribe",
        link=link,
        url=f"{site.base_url}/api/trpc",
        headers={"cookie": f"session={site.tokens['member']}"},
        path="attachments.onChange",
        input={"json": {"conversationId": conversation_id}},
    )
    assert running.data()["data"]["type"] == "ready"
    return running


def created_until(running: Running, last: str) -> list[dict[str, Any]]:
    """The events up to that of the attachment `last`."""
    events: list[dict[str, Any]] = []
    while not events or events[-1]["data"]["id"] != last:
        events.append(running.data())
    return events


def assert_all_created(running: Running, uploader: Uploader) -> None:
    """The subscription got every upload, none twice, in the order of the events, and nothing else."""
    events = created_until(running, uploader.acknowledged[-1])
    numbers = [int(event["id"]) for event in events]
    stored = uploader.stored()
    assert set(uploader.acknowledged) <= set(stored)
    assert numbers == sorted(set(numbers))
    assert {event["data"]["type"] for event in events} == {"created"}
    assert sorted(event["data"]["id"] for event in events) == sorted(stored)
    assert running.rest() == []
