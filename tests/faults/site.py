"""A running server that faults befall, and what its clients were told.

A file's name is the SHA-256 of its bytes, so that whatever the server lists can be checked, acknowledged or not.
"""

import contextlib
import functools
import hashlib
import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import httpx

from server.settings import load_settings
from server.stores import open_settled
from storage import Finding, FsckOptions, SweepReport
from tests.faults.apis import APIS, FORM, Api, query, trpc_message
from tests.faults.loop import LoopThread
from tests.running import Attachd

# What a client waits for an answer, in seconds: more than every time-out of `SETTINGS` and of the tests' own settings, and
# than the machine stalls.
ANSWER_WITHIN_S = 60.0
STALL_S = 15.0  # what bounds of time leave to the machine
BUSY_TIMEOUT_S = 0.5
RECOVERED_WITHIN_S = 30.0
SETTINGS: dict[str, Any] = {
    "ATTACHD_DATABASE_BUSY_TIMEOUT_SECONDS": str(BUSY_TIMEOUT_S),
    "ATTACHD_AUTH_SESSION_CACHE_SECONDS": "3600",  # a fault must be met by the work itself, not by the look at the credential
    "ATTACHD_UPLOAD_IDLE_TIMEOUT_SECONDS": "60",
    "ATTACHD_WIDGET_RATE_LIMIT": "10000/minute",
    "ATTACHD_WIDGET_ADDRESS_RATE_LIMIT": "10000/minute",
    "ATTACHD_SWEEP_GRACE_SECONDS": "0",
}
SMALL, LARGE = 2_000, 3 * 1024 * 1024  # bytes: one piece; one that a worker thread reads from the socket
OTHER = "other.png"  # what is renamed, and then not checked
_PNG = b"\x89PNG\r\n\x1a\n"
_chance = random.Random("faults")


def content(size: int = SMALL) -> bytes:
    """A picture, as far as anybody looks, that nobody has uploaded before."""
    return _PNG + _chance.randbytes(size - len(_PNG))


def digest_of(data: bytes) -> str:
    """The SHA-256, as the ledger has it."""
    return hashlib.sha256(data).hexdigest()


class Clients:
    """Clients of one server, one for each kind of credential, whose connections stay open. A context manager."""

    def __init__(self, base_url: str, headers: Mapping[str, dict[str, str]]) -> None:
        self.base_url = base_url
        self.headers = headers
        self.session, self.key, self.token, self.widget = (self.client(kind) for kind in ("session", "key", "token", "widget"))

    def client(self, kind: str) -> httpx.Client:
        """A further client."""
        limits = httpx.Limits(keepalive_expiry=None)
        return httpx.Client(base_url=self.base_url, headers=self.headers[kind], timeout=ANSWER_WITHIN_S, limits=limits)

    def fresh(self) -> "Clients":
        """Clients with the same credentials, which have no connections yet."""
        return Clients(self.base_url, self.headers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for client in (self.session, self.key, self.token, self.widget):
            client.close()


class Beside(LoopThread):
    """The store of a server as the commands beside it open it; `settings` are the server's, but for the faults on its way."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        super().__init__("store-beside")
        self._settings = load_settings(None, settings)

    async def begin(self) -> None:
        """Open it."""
        self.store = await open_settled(self._settings)

    async def end(self) -> None:
        """Close it."""
        await self.store.aclose()

    def settle(self) -> None:
        """After a sweep without grace fsck finds nothing: no row without its bytes, no bytes without a row, no wrong count."""
        self.sweep()
        assert self.do(self._findings()) == []

    async def _findings(self) -> list[Finding]:
        found = self.store.fsck(FsckOptions(grace_s=0.0)).run()
        return [each async for each in found if isinstance(each, Finding)]

    def rows(self) -> int:
        """How many attachments there are."""
        return self.do(self.store.fsck(FsckOptions(grace_s=0.0)).totals())[0]

    def unsent(self) -> int:
        """How many messages are not sent."""
        return len(self.do(self.store.outbox.entries(None, 100)))

    def sweep(self) -> SweepReport:
        """What a sweep without grace did, which misses nothing."""
        ages = {"grace_s": 0.0, "quarantine_s": 0.0, "retention_s": 1e9, "unlinked_s": 1e9}
        report = self.do(self.store.sweep(**ages, dry_run=False))
        assert report.missing == []
        return report


class Site(Clients):
    """The server, clients with open connections, and the ledger of acknowledged uploads: SHA-256 by id."""

    def __init__(
        self, server: Attachd, beside: Beside, headers: Mapping[str, dict[str, str]], acknowledged: dict[str, str]
    ) -> None:
        super().__init__(server.base_url, headers)
        self.server = server
        self.beside = beside
        self.acknowledged = acknowledged
        self.conversation = str(uuid.uuid4())
        self._seen: set[str] = set()  # downloaded once, and right

    @classmethod
    def of(cls, server: Attachd, beside: Beside) -> Self:
        """A site of a running server, which knows the credentials from now on."""
        making = beside.store.credentials.create_key(organization_id=server.organization_id, role="store", name="chat")
        _, store_key = beside.do(making)
        session = {"cookie": f"session={server.tokens['member']}"}
        asked = {"conversation_id": str(uuid.uuid4())}
        answer = httpx.post(f"{server.base_url}/api/v1/widget/sessions", json=asked, headers=session)
        headers = {
            "session": session,
            "stranger": {"cookie": f"session={server.tokens['stranger']}"},
            "key": {"authorization": f"Bearer {server.key}"},
            "token": {"authorization": f"Token {store_key}"},
            "widget": {"authorization": f"Bearer {answer.json()['data']['token']}"},
        }
        site = cls(server, beside, headers, {})
        for api in APIS:
            site.recover(api)
        return site

    def again(self) -> "Site":
        """The site of the same server after it was started anew."""
        return Site(self.server, self.beside, self.headers, self.acknowledged)

    def send(self, api: Api = FORM, size: int = SMALL, clients: Clients | None = None) -> httpx.Response:
        """The answer to an upload, of these clients or by the site's own; an acknowledged one is noted."""
        data = content(size)
        digest = hashlib.sha256(data).hexdigest()
        answer = api.send(clients or self, f"{digest}.png", data)
        if answer.is_success:
            self.acknowledged[api.id(answer)] = digest
        return answer

    def upload(self, api: Api = FORM, size: int = SMALL) -> str:
        """The id of an upload, which must be acknowledged."""
        answer = self.send(api, size)
        assert answer.is_success, answer.text
        return api.id(answer)

    def forget(self, id: str) -> None:
        """Expect an attachment no longer to be as it was acknowledged."""
        del self.acknowledged[id]

    def download(self, id: str) -> httpx.Response:
        """The answer to a download."""
        return self.session.get(f"/api/attachments/{id}/download")

    def listed(self) -> dict[str, str]:
        """The SHA-256 that the name promises of every attachment of the organization, by id."""
        listed: dict[str, str] = {}
        cursor: dict[str, str] = {}
        while True:
            answer = self.soon(functools.partial(query, self.session, "attachments.page", limit=100, **cursor))
            page = answer.json()["result"]["data"]["json"]
            listed |= {item["id"]: item["filename"].removesuffix(".png") for item in page["items"] if item["filename"] != OTHER}
            if not page["nextCursor"]:
                return listed
            cursor = {"cursor": page["nextCursor"]}

    @property
    def any_id(self) -> str:
        """The id of an upload."""
        return next(iter(self.acknowledged))

    def check(self) -> None:
        """Right now: what was acknowledged is there, and what is listed is whole."""
        listed = self.listed()
        assert listed.items() >= self.acknowledged.items(), "an acknowledged upload is lost"
        for id in listed.keys() - self._seen:
            answer = self.soon(functools.partial(self.download, id))
            assert hashlib.sha256(answer.content).hexdigest() == listed[id], f"{id} is not whole"
            self._seen.add(id)

    def check_bytes(self, id: str, digest: str) -> None:
        """The file is there at once, with that SHA-256."""
        answer = self.download(id)
        assert answer.status_code == 200, answer.text
        assert hashlib.sha256(answer.content).hexdigest() == digest, f"{id} is not whole"

    def settle(self) -> None:
        """Without a restart an upload goes well, `check`, and sweep leaves nothing to be found fault with."""
        self.recover()
        self.check()
        self.beside.settle()

    def logged(self, message: str) -> int:
        """How many lines of the log begin so."""
        return sum(str(line.get("message", "")).startswith(message) for line in self.server.lines())

    def recover(self, api: Api = FORM, size: int = SMALL) -> str:
        """The id of an upload that goes well without a restart, at once or soon."""
        return api.id(self.soon(lambda: self.send(api, size)))

    def soon(self, ask: Callable[[], httpx.Response]) -> httpx.Response:
        """The answer to what goes well without a restart, at once or soon.

        Also where no fault is any more, or not yet: when the machine stalls, time-outs of a second are met by themselves.
        """
        deadline = time.monotonic() + RECOVERED_WITHIN_S
        while not (answer := ask()).is_success:
            assert answer.status_code == 503, (answer.status_code, answer.text)
            assert time.monotonic() < deadline, answer.text
            time.sleep(0.05)
        return answer

    def wait_until(self, condition: Callable[[], object]) -> None:
        """Wait, not for long, until the condition comes true."""
        deadline = time.monotonic() + ANSWER_WITHIN_S
        while not condition():
            assert time.monotonic() < deadline, "it did not come true"
            time.sleep(0.02)


def refused(answer: httpx.Response) -> str:
    """The message of a procedure's answer that must be 503 with Retry-After."""
    assert answer.status_code == 503, (answer.status_code, answer.text)
    assert int(answer.headers["retry-after"]) > 0
    return trpc_message(answer)


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


@contextlib.contextmanager
def running(server: Attachd, **direct: str) -> Iterator[Site]:
    """A site of that server, which is started and in the end stopped; `direct` are settings that lead around faults."""
    with server, Beside(server.settings | direct) as beside, Site.of(server, beside) as site:
        yield site
        with site.again() as again:
            again.settle()
