"""A running server that faults befall, and what its clients were told.

A file's name is the SHA-256 of its bytes, so that whatever the server lists can be checked, acknowledged or not.
"""

import asyncio
import contextlib
import hashlib
import os
import random
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import httpx

from server.settings import Settings, load_settings
from server.stores import open_settled
from tests.faults.apis import APIS, FORM, Api, query
from tests.running import Attachd

# What a client waits for an answer, in seconds: more than every time-out of `SETTINGS` and of the tests' own settings.
ANSWER_WITHIN_S = 8.0
SETTINGS: dict[str, Any] = {
    "ATTACHD_DATABASE_BUSY_TIMEOUT_SECONDS": "0.5",
    "ATTACHD_AUTH_SESSION_CACHE_SECONDS": "60",  # a fault must be met by the work itself, not by the look at the credential
    "ATTACHD_UPLOAD_IDLE_TIMEOUT_SECONDS": "5",
    "ATTACHD_WIDGET_RATE_LIMIT": "10000/minute",
    "ATTACHD_WIDGET_ADDRESS_RATE_LIMIT": "10000/minute",
    "ATTACHD_SWEEP_GRACE_SECONDS": "0",
}
SMALL, LARGE = 2_000, 3 * 1024 * 1024  # bytes: one piece; one that a worker thread reads from the socket
_PNG = b"\x89PNG\r\n\x1a\n"
_chance = random.Random("faults")


def content(size: int = SMALL) -> bytes:
    """A picture, as far as anybody looks, that nobody has uploaded before."""
    return _PNG + _chance.randbytes(size - len(_PNG))


class Site:
    """The server, clients of every kind with open connections, and the ledger of acknowledged uploads."""

    def __init__(self, server: Attachd) -> None:
        self.server = server
        self.acknowledged: dict[str, str] = {}  # id -> SHA-256
        self.conversation = str(uuid.uuid4())

    def connect(self) -> Self:
        """Fresh clients, whose credentials the server knows from now on."""
        server = self.server
        store_key = server.run("key", "create", "--organization", server.organization_id, "--role", "store", "--name", "chat")
        self.session = self.client({"cookie": f"session={server.tokens['member']}"})
        self.key = self.client({"authorization": f"Bearer {server.key}"})
        self.token = self.client({"authorization": f"Token {store_key.strip()}"})
        session = self.session.post("/api/v1/widget/sessions", json={"conversation_id": self.conversation})
        self.widget = self.client({"authorization": f"Bearer {session.json()['data']['token']}"})
        for api in APIS:
            self.upload(api)
        return self

    def client(self, headers: dict[str, str] | None = None) -> httpx.Client:
        """A client of the server."""
        return httpx.Client(base_url=self.server.base_url, headers=headers, timeout=ANSWER_WITHIN_S)

    def close(self) -> None:
        """Close the clients."""
        for client in (self.session, self.key, self.token, self.widget):
            client.close()

    def send(self, api: Api = FORM, size: int = SMALL) -> httpx.Response:
        """The answer to an upload; an acknowledged one is noted."""
        data = content(size)
        digest = hashlib.sha256(data).hexdigest()
        answer = api.send(self, f"{digest}.png", data)
        if answer.is_success:
            self.acknowledged[api.id(answer)] = digest
        return answer

    def upload(self, api: Api = FORM, size: int = SMALL) -> str:
        """The id of an upload, which must be acknowledged."""
        answer = self.send(api, size)
        assert answer.is_success, answer.text
        return api.id(answer)

    def download(self, id: str) -> httpx.Response:
        """The answer to a download."""
        return self.session.get(f"/api/attachments/{id}/download")

    def check(self) -> None:
        """Right now, without a restart: what was acknowledged is there, what is listed is whole, the next upload goes well."""
        self.upload()
        listed: dict[str, str] = {}
        cursor = None
        while True:
            answer = query(self.session, "attachments.page", limit=100, **({"cursor": cursor} if cursor else {}))
            assert answer.status_code == 200, answer.text
            page = answer.json()["result"]["data"]["json"]
            listed |= {item["id"]: item["filename"].removesuffix(".png") for item in page["items"]}
            if not (cursor := page["nextCursor"]):
                break
        assert listed.items() >= self.acknowledged.items(), "an acknowledged upload is lost"
        for id, digest in listed.items():
            answer = self.download(id)
            assert answer.status_code == 200, answer.text
            assert hashlib.sha256(answer.content).hexdigest() == digest, f"{id} is not whole"

    def settle(self) -> None:
        """`check`, and after a sweep without grace nothing is left that no row knows, and no row is without its bytes."""
        self.check()
        asyncio.run(self._swept())

    async def _swept(self) -> None:
        async with await open_settled(self.settings) as store:
            report = await store.sweep(grace_s=0, retention_s=1e9, unlinked_s=1e9, dry_run=False)
            assert report.missing == []
            again = await store.sweep(grace_s=0, retention_s=1e9, unlinked_s=1e9, dry_run=False)
            assert (again.orphans, again.missing) == ([], [])

    @property
    def settings(self) -> Settings:
        """The settings of the server, for what is done beside it."""
        return load_settings(None, self.server.settings)


def unavailable(answer: httpx.Response, api: Api = FORM) -> str:
    """The message of an answer that must be 503 with Retry-After, in the shape of its API."""
    assert answer.status_code == 503, (answer.status_code, answer.text)
    assert int(answer.headers["retry-after"]) > 0
    return api.message(answer)


def paths(folder: Path) -> dict[str, Any]:
    """Settings that name where everything of a site lies, so that other folders are right for commands, too."""
    return {
        "ATTACHD_DATABASE_URL": f"sqlite:///{folder}/data/attachd.db",
        "ATTACHD_UPLOAD_DIRECTORY": str(folder / "data" / "blobs"),
    }


def descriptors(server: Attachd) -> int:
    """How many the server has open."""
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


@contextlib.contextmanager
def running(server: Attachd) -> Iterator[Site]:
    """A site of that server, which is started and in the end stopped; its log must hold no word of an unexpected exception."""
    with server:
        site = Site(server).connect()
        try:
            yield site
        finally:
            site.close()


def within(seconds: float, started: float) -> None:
    """Less than so many seconds have gone by."""
    assert time.monotonic() - started < seconds
