"""The cluster that the tests share which stop nothing."""

from collections.abc import Iterator

import pytest

from tests.cluster.cluster import Cluster

CACHE_S = 0.5


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two servers that remember a session for half a second."""
    with Cluster(tmp_path_factory.mktemp("cluster"), ATTACHD_AUTH_SESSION_CACHE_SECONDS=str(CACHE_S)) as cluster:
        yield cluster
