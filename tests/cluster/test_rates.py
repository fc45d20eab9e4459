"""Rates that two servers count together in a Redis, and what they answer while it is away."""

import contextlib
import signal
import time
import uuid
from collections.abc import Iterator

import httpx
import pytest

from tests.cluster.cluster import Cluster
from tests.engines.redis import PASSWORD, RedisServer
from tests.rest.live import eventually
from tests.running import Attachd

pytestmark = pytest.mark.only_on("postgresql", "s3", reason="what several machines share")

LIMIT = 6
ANSWERS_WITHIN_S = 20.0  # more than the time that a Redis gets, and the machine
Site = tuple[Cluster, RedisServer]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("rates")
    rate = {"ATTACHD_FILES_RATE_LIMIT": f"{LIMIT}/minute", "ATTACHD_WIDGET_ADDRESS_RATE_LIMIT": "1000/hour"}
    with RedisServer(folder) as redis, Cluster(folder, ATTACHD_RATES_STORAGE_URL=redis.url, **rate) as cluster:
        yield cluster, redis
    for server in cluster.both:
        log = server.log.read_text()
        assert PASSWORD not in log
        assert "Warning" not in log


@pytest.fixture
def key(site: Site) -> str:
    """A key that nobody has used."""
    cluster, _ = site
    return cluster.one.run(
        *("key", "create", "--organization", cluster.one.organization_id, "--role", "member", "--name", str(uuid.uuid4()))
    ).strip()


def upload(server: Attachd, key: str) -> httpx.Response:
    files = {"file": ("a.txt", b"hello")}
    return httpx.post(f"{server.base_url}/files/upload", files=files, headers={"Authorization": f"Bearer {key}"}, timeout=60)


def test_both_count_together(site: Site, key: str) -> None:
    cluster, _ = site
    statuses = [upload(cluster.both[number % 2], key).status_code for number in range(LIMIT)]
    assert statuses == [201] * LIMIT
    for server in cluster.both:
        refused = upload(server, key)
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_requests")
        assert 1 <= int(refused.headers["retry-after"]) <= 60


@contextlib.contextmanager
def killed(redis: RedisServer) -> Iterator[None]:
    redis.kill()
    try:
        yield
    finally:
        redis.start()


@contextlib.contextmanager
def stopped(redis: RedisServer) -> Iterator[None]:
    redis.send(signal.SIGSTOP)
    try:
        yield
    finally:
        redis.send(signal.SIGCONT)


@pytest.mark.parametrize("outage", [killed, stopped], ids=["killed", "silent"])
def test_nothing_is_let_through_uncounted(site: Site, key: str, outage: type[contextlib.AbstractContextManager[None]]) -> None:
    """Not past the limit, and not for ever: 503 and when to try again; what is not counted goes on; it recovers by itself."""
    cluster, redis = site
    assert eventually(lambda: upload(cluster.one, key).status_code == 201)
    with outage(redis):  # type: ignore[call-arg]
        began = time.monotonic()
        refused = upload(cluster.one, key)
        assert time.monotonic() - began < ANSWERS_WITHIN_S
        assert (refused.status_code, refused.json()["code"]) == (503, "service_unavailable")
        assert int(refused.headers["retry-after"]) > 0
        with cluster.one.client() as member:
            assert member.post("/api/upload", files={"file": ("a.txt", b"hello")}).status_code == 200
    assert eventually(lambda: upload(cluster.one, key).status_code == 201)
