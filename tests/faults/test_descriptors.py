"""The process has no descriptors left: open connections get honest answers, and it serves again as soon as there are some."""

import contextlib
import itertools
import resource
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from tests.descriptors import open_descriptors
from tests.faults.apis import APIS, Api, query
from tests.faults.site import LARGE, SMALL, Site, content, unavailable

pytestmark = pytest.mark.only_on("sqlite", "local", reason="these tests choose their engines themselves")


def settled_descriptors(process: int) -> dict[int, str]:
    """What the process has open once it closes nothing more of what was before."""
    used: dict[int, str] = {}
    while used != (used := open_descriptors(process)):
        time.sleep(0.05)
    return used


@contextlib.contextmanager
def limited(site: Site, spare: int) -> Iterator[None]:
    """Meanwhile the server may open so many descriptors and no more."""
    process = site.server.process.pid
    used = settled_descriptors(process)
    free = itertools.islice((number for number in itertools.count() if number not in used), spare, None)
    soft, hard = resource.prlimit(process, resource.RLIMIT_NOFILE)
    resource.prlimit(process, resource.RLIMIT_NOFILE, (next(free), hard))
    try:
        yield
    finally:
        resource.prlimit(process, resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("api", APIS, ids=lambda api: api.name)
def test_upload_over_an_open_connection(site: Site, api: Api, size: int) -> None:
    site.upload(api)
    with limited(site, 0):
        unavailable(site.send(api, size), api)
    site.settle()


@pytest.mark.parametrize("api", APIS, ids=lambda api: api.name)
def test_new_connections_are_told_so(site: Site, api: Api) -> None:
    """While others hold all that there are but a few, which serve those that are open."""
    site.upload(api)
    address = urlsplit(site.server.base_url)
    with limited(site, 100), contextlib.ExitStack() as idle:
        for _ in range(80):
            idle.enter_context(socket.create_connection((address.hostname or "", address.port or 0)))
        with site.fresh() as late:
            answer = api.send(late, "late.png", content(LARGE))
            assert "as many connections as it can" in unavailable(answer, api)
            assert answer.headers["connection"] == "close"
        site.upload(api, LARGE)
    site.settle()


def test_not_even_for_a_connection(site: Site) -> None:
    """The client is let go of at once rather than left to wait; those that are open go on."""
    with limited(site, 0), site.client("session") as client:
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            client.get("/healthz")
        assert query(site.session, "attachments.limits").status_code == 200
    site.settle()
