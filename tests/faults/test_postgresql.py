"""PostgreSQL fails: gone, silent, slow, restarted, or at any statement of a transaction."""

import functools
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.engines.postgresql_server import PostgresqlServer
from tests.faults.apis import APIS, Api, query
from tests.faults.calls import MUTATIONS, QUERIES
from tests.faults.conftest import TIMEOUT_S
from tests.faults.database_proxy import DatabaseProxy, Fault
from tests.faults.listener import Listener
from tests.faults.site import STALL_S, Site, refused, unavailable

pytestmark = pytest.mark.only_on("sqlite", "local", reason="these tests choose their engines themselves")

DATABASE = "the database is not available now, try again"
# Errors that PostgreSQL itself answers with, by SQLSTATE.
DISK_FULL = ("53100", "could not extend file: No space left on device")
READ_ONLY = ("25006", "cannot execute INSERT in a read-only transaction")
SHUTDOWN = ("57P01", "terminating connection due to administrator command")
TOO_MANY = ("53300", "sorry, too many clients already")
DEADLOCK = ("40P01", "deadlock detected")
INSERT = r"WITH added AS \(INSERT INTO attachments"  # an upload's transaction is this one statement
# Where an upload meets what.
UPLOAD: list[tuple[str, Fault]] = [
    ("cut", "cut-before"),
    ("answer-cut", "cut-after"),
    ("silent", "stall"),
    ("unanswered", "no-answer"),
    ("disk-full", DISK_FULL),
    ("read-only", READ_ONLY),
    ("shutdown", SHUTDOWN),
    ("deadlock", DEADLOCK),
]
# Where the transaction of another change meets what.
STEPS: list[tuple[str, str, Fault]] = [
    ("begin-cut", "BEGIN", "cut-before"),
    ("begin-silent", "BEGIN", "stall"),
    ("update-cut", "UPDATE attachments", "cut-before"),
    ("update-answer-cut", "UPDATE attachments", "cut-after"),
    ("update-silent", "UPDATE attachments", "stall"),
    ("update-unanswered", "UPDATE attachments", "no-answer"),
    ("update-disk-full", "UPDATE attachments", DISK_FULL),
    ("update-read-only", "UPDATE attachments", READ_ONLY),
    ("update-shutdown", "UPDATE attachments", SHUTDOWN),
    ("update-deadlock", "UPDATE attachments", DEADLOCK),
    ("commit-cut", "COMMIT", "cut-before"),
    ("commit-silent", "COMMIT", "stall"),
    ("commit-disk-full", "COMMIT", DISK_FULL),
]
# The change is made, and nobody hears of it.
DONE: list[tuple[str, Fault]] = [("answer-cut", "cut-after"), ("unanswered", "no-answer")]
# What is begun anew, on another connection if need be, since nothing can have been done.
MENDED = [step for step in STEPS if step[0] in {"begin-cut", "update-cut", "update-answer-cut", "update-deadlock"}]
READS = QUERIES | {"url": lambda site, one: query(site.session, "attachments.url", id=one)}
DOWNS: dict[str, Callable[[DatabaseProxy], Any]] = {"down": DatabaseProxy.down, "silent": DatabaseProxy.silent}


@pytest.fixture
def site(database_site: Site) -> Site:
    """The site of these tests."""
    return database_site


@pytest.fixture
def proxy(database_proxy: DatabaseProxy) -> DatabaseProxy:
    """What fails."""
    return database_proxy


@pytest.mark.parametrize("fault", [pytest.param(fault, id=name) for name, fault in UPLOAD])
def test_upload(site: Site, proxy: DatabaseProxy, fault: Fault) -> None:
    with proxy.at(INSERT, fault) as hits:
        assert unavailable(site.send()) == DATABASE
    assert hits
    site.settle()


@pytest.mark.parametrize(("statement", "fault"), [pytest.param(*step, id=name) for name, *step in STEPS])
def test_mutation(site: Site, proxy: DatabaseProxy, statement: str, fault: Fault) -> None:
    id = site.recover()
    before = site.soon(lambda: QUERIES["get"](site, id)).json()
    with proxy.at(statement, fault) as hits:
        began = time.monotonic()
        assert refused(MUTATIONS["delete"](site, id)) == DATABASE
        assert time.monotonic() - began < 2 * TIMEOUT_S + STALL_S
    assert hits
    assert site.soon(lambda: QUERIES["get"](site, id)).json() == before
    site.settle()


@pytest.mark.parametrize("name", MUTATIONS)
@pytest.mark.parametrize(("statement", "fault"), [pytest.param(*step, id=name) for name, *step in MENDED])
def test_mutation_that_fails_once(site: Site, proxy: DatabaseProxy, name: str, statement: str, fault: Fault) -> None:
    id = site.recover()
    with proxy.at(statement, fault, times=1) as hits:
        assert MUTATIONS[name](site, id).status_code == 200
    assert hits
    site.forget(id)
    site.settle()


@pytest.mark.parametrize("fault", [pytest.param(fault, id=name) for name, fault in DONE])
def test_mutation_whose_commit_is_not_heard_of(site: Site, proxy: DatabaseProxy, fault: Fault) -> None:
    """It is done once all the same: who tries again is told so."""
    id = site.recover()
    with proxy.at("COMMIT", fault) as hits:
        assert refused(MUTATIONS["delete"](site, id)) == DATABASE
    assert len(hits) == 1
    assert MUTATIONS["delete"](site, id).status_code == 404
    site.forget(id)
    site.settle()


@pytest.mark.parametrize("name", DOWNS)
def test_every_api(site: Site, proxy: DatabaseProxy, name: str) -> None:
    with DOWNS[name](proxy):
        for api in APIS:
            assert unavailable(site.send(api), api) == DATABASE
    site.recover()
    for api in APIS:
        site.recover(api)
    site.settle()


@pytest.mark.parametrize("name", DOWNS)
def test_every_procedure(site: Site, proxy: DatabaseProxy, name: str) -> None:
    id = site.recover()
    with DOWNS[name](proxy):
        for call in (*READS.values(), *MUTATIONS.values()):
            refused(call(site, id))
        unavailable(site.download(id))
        assert site.session.get("/healthz").status_code == 200
        site.wait_until(lambda: site.session.get("/readyz").status_code == 503)
    site.recover()
    for call in READS.values():
        site.soon(functools.partial(call, site, id))
    site.wait_until(lambda: site.session.get("/readyz").status_code == 200)
    site.settle()


def test_lost_connections(site: Site, proxy: DatabaseProxy) -> None:
    """A network that forgot them, as after a failover: not every one costs a client its time-out."""
    with ThreadPoolExecutor(8) as pool:
        assert any(answer.is_success for answer in pool.map(lambda _: site.send(), range(40)))
    proxy.forget()
    for _ in range(2):  # what was in use, at the most one of each kind
        site.send()
    site.upload()
    site.settle()


def test_slow(site: Site, proxy: DatabaseProxy) -> None:
    """Slower than usual by less than the time-outs is slow, and nothing else."""
    with proxy.slow(0.05):
        site.upload()
    site.settle()


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGINT, signal.SIGKILL], ids=["immediate", "fast", "killed"])
def test_restarted_in_mid_request(site: Site, database: PostgresqlServer, number: signal.Signals) -> None:
    """Clients that try again lose nothing and wait no longer than the restart takes."""
    restarted = threading.Event()

    def upload_again_and_again(api: Api) -> list[float]:
        """How long each answer took; the last one is that of an upload after the restart."""
        took_s = []
        with site.fresh() as clients:
            while True:
                was_restarted = restarted.is_set()
                began = time.monotonic()
                answer = site.send(api, clients=clients)
                took_s.append(time.monotonic() - began)
                if answer.is_success and was_restarted:
                    return took_s
                if not answer.is_success:
                    unavailable(answer, api)
                    time.sleep(0.05)

    with ThreadPoolExecutor(len(APIS)) as pool:
        uploads = [pool.submit(upload_again_and_again, api) for api in APIS]
        time.sleep(0.5)
        database.stop(number)
        database.start()
        restarted.set()
        took_s = [took_s for upload in uploads for took_s in upload.result(120)]
    assert max(took_s) < 2 * TIMEOUT_S + STALL_S
    site.settle()


def test_subscriptions(site: Site, proxy: DatabaseProxy) -> None:
    """They hear of every change once, whatever happens to the connections."""

    def attached() -> tuple[str, str]:
        id = site.recover()
        site.wait_until(lambda: MUTATIONS["attach"](site, id).status_code == 200)
        return "attached", id

    with Listener(site, site.conversation) as listener:
        expected = [attached()]
        for fault in (proxy.reset, lambda: time.sleep(0.3)):
            fault()
            expected.append(attached())
        for down in DOWNS.values():
            with down(proxy):
                time.sleep(1.5)
            expected.append(attached())
        site.wait_until(lambda: len(listener.heard) >= len(expected))
    assert listener.heard == expected
