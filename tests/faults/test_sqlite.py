"""The embedded database fails: its disk, its log, or another process that does not let go of it."""

import contextlib
import errno
import sqlite3
import time
from collections.abc import Iterator

import pytest

from tests.faults.apis import APIS, Api, query
from tests.faults.calls import MUTATIONS, QUERIES
from tests.faults.kernel import Call, Kernel
from tests.faults.site import BUSY_TIMEOUT_S, STALL_S, Site, refused, unavailable

pytestmark = pytest.mark.only_on("sqlite", "local", reason="these tests choose their engines themselves")

DATABASE = "the database is not available now, try again"
FAULTS: list[tuple[str, Call, str, int]] = [
    ("write-ENOSPC", "write", r"attachd\.db-wal$", errno.ENOSPC),
    ("write-EIO", "write", r"attachd\.db-wal$", errno.EIO),
    ("sync-EIO", "fsync", r"attachd\.db-wal$", errno.EIO),
    ("sync-ENOSPC", "fsync", r"attachd\.db-wal$", errno.ENOSPC),
]


@contextlib.contextmanager
def locked(site: Site) -> Iterator[None]:
    """Meanwhile another process writes, and does not come to an end."""
    with contextlib.closing(sqlite3.connect(site.server.folder / "data" / "attachd.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@pytest.mark.parametrize("api", APIS, ids=lambda api: api.name)
@pytest.mark.parametrize(("call", "path", "error"), [pytest.param(*fault, id=name) for name, *fault in FAULTS])
def test_upload(site: Site, kernel: Kernel, api: Api, call: Call, path: str, error: int) -> None:
    with kernel.at(call, path, error) as hits:
        assert unavailable(site.send(api), api) == DATABASE
    assert hits
    site.settle()


@pytest.mark.parametrize("name", MUTATIONS)
@pytest.mark.parametrize(("call", "path", "error"), [pytest.param(*fault, id=name) for name, *fault in FAULTS])
def test_mutation(site: Site, kernel: Kernel, name: str, call: Call, path: str, error: int) -> None:
    id = site.upload()
    before = query(site.session, "attachments.get", id=id).json()
    with kernel.at(call, path, error) as hits:
        refused(MUTATIONS[name](site, id))
    assert hits
    assert query(site.session, "attachments.get", id=id).json() == before
    site.settle()


@pytest.mark.parametrize("name", QUERIES)
def test_query(site: Site, kernel: Kernel, name: str) -> None:
    id = site.upload()
    with kernel.at("read", r"attachd\.db(-wal)?$", errno.EIO) as hits:
        refused(QUERIES[name](site, id))
    assert hits
    assert QUERIES[name](site, id).status_code == 200
    site.settle()


@pytest.mark.parametrize("api", APIS, ids=lambda api: api.name)
def test_upload_while_another_process_writes(site: Site, api: Api) -> None:
    with locked(site):
        started = time.monotonic()
        assert unavailable(site.send(api), api) == DATABASE
        assert time.monotonic() - started < BUSY_TIMEOUT_S + STALL_S
        assert query(site.session, "attachments.limits").status_code == 200
    site.settle()


def test_a_message_is_kept_whole_or_not(site: Site, kernel: Kernel) -> None:
    id = site.upload()
    message = {"content": "<p>Hello</p>", "to": ["ada@example.com"], "attachments": [id]}
    path = f"/api/v1/conversations/{site.conversation}/messages"
    with kernel.at("fsync", r"attachd\.db-wal$", errno.EIO) as hits:
        answer = site.session.post(path, json=message)
    assert hits
    assert unavailable(answer, next(api for api in APIS if api.name == "media")) == DATABASE
    assert site.server.run("outbox", "list").splitlines()[1:] == []
    assert site.session.post(path, json=message).status_code == 200
    site.settle()
