"""Servers whose surroundings fail: the kernel below SQLite and a folder, what stands before PostgreSQL, what before S3."""

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from storage import migrate
from tests.engines.postgresql_server import PostgresqlServer
from tests.engines.s3 import SharedS3
from tests.faults.database_proxy import DatabaseProxy
from tests.faults.kernel import Kernel
from tests.faults.s3_proxy import S3Proxy
from tests.faults.site import SETTINGS, Site, paths, running
from tests.running import Attachd, BareAttachd

TIMEOUT_S = 1.0  # of each wait for PostgreSQL, and for S3
PATIENT_S = "60"  # for those who look beside the server, on a machine that stalls
SETTINGS_POSTGRESQL: dict[str, Any] = {
    "ATTACHD_DATABASE_CONNECT_TIMEOUT_SECONDS": str(TIMEOUT_S),
    "ATTACHD_DATABASE_POOL_TIMEOUT_SECONDS": str(TIMEOUT_S),
    "ATTACHD_DATABASE_STATEMENT_TIMEOUT_SECONDS": str(TIMEOUT_S),
    "ATTACHD_DATABASE_SEARCH_SECONDS": str(TIMEOUT_S),
}
SETTINGS_S3: dict[str, Any] = {
    "ATTACHD_UPLOAD_S3_CONNECT_TIMEOUT_SECONDS": str(TIMEOUT_S),
    "ATTACHD_UPLOAD_S3_READ_TIMEOUT_SECONDS": str(TIMEOUT_S),
    "ATTACHD_UPLOAD_S3_ATTEMPTS": "2",
    "ATTACHD_UPLOAD_S3_PART_SIZE_MB": "5",
    "ATTACHD_UPLOAD_S3_PROXY": "true",
}


@pytest.fixture(scope="session")
def kernel() -> Iterator[Kernel]:
    """What stands between the servers of these tests and the kernel."""
    if sys.platform != "linux":
        pytest.skip("seccomp_unotify(2) is of Linux")
    with Kernel() as kernel:
        yield kernel


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, kernel: Kernel) -> Iterator[Site]:
    """A running server on SQLite and a folder, one for all tests that do not end it."""
    with running(local(tmp_path_factory, kernel)) as site:
        yield site


def local(tmp_path_factory: pytest.TempPathFactory, kernel: Kernel) -> Attachd:
    """A server on SQLite and a folder, under the kernel that can fail."""
    folder = tmp_path_factory.mktemp("site")
    server = BareAttachd(folder, **SETTINGS, **paths(folder))
    server.under = kernel.under
    return server


@pytest.fixture(scope="module")
def database() -> Iterator[PostgresqlServer]:
    """A PostgreSQL that is restarted as it pleases the tests, and forgets nothing by that."""
    with PostgresqlServer() as server:
        yield server


@pytest.fixture(scope="module")
def database_proxy(database: PostgresqlServer) -> Iterator[DatabaseProxy]:
    """What stands before it."""
    with DatabaseProxy(database.port) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def s3_proxy(s3: SharedS3) -> Iterator[S3Proxy]:
    """What stands before the store."""
    with S3Proxy(s3.url) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def database_site(
    tmp_path_factory: pytest.TempPathFactory, database: PostgresqlServer, database_proxy: DatabaseProxy
) -> Iterator[Site]:
    """A running server on PostgreSQL and a folder."""
    folder = tmp_path_factory.mktemp("postgresql")
    settings, direct = of_database(database, database_proxy)
    with running(BareAttachd(folder, **SETTINGS, **paths(folder) | settings), **direct) as site:
        yield site


@pytest.fixture(scope="module")
def s3_site(tmp_path_factory: pytest.TempPathFactory, s3: SharedS3, s3_proxy: S3Proxy, kernel: Kernel) -> Iterator[Site]:
    """A running server on SQLite and S3, with its parts in a folder `spool`, under the kernel that can fail."""
    folder = tmp_path_factory.mktemp("s3")
    (folder / "spool").mkdir()
    settings, direct = of_s3(s3, s3_proxy)
    settings["ATTACHD_UPLOAD_S3_SPOOL_DIRECTORY"] = str(folder / "spool")
    server = BareAttachd(folder, **SETTINGS, **paths(folder), **settings)
    server.under = kernel.under
    with running(server, **direct) as site:
        yield site


@pytest.fixture(scope="module")
def remote_site(
    tmp_path_factory: pytest.TempPathFactory,
    database: PostgresqlServer,
    database_proxy: DatabaseProxy,
    s3: SharedS3,
    s3_proxy: S3Proxy,
) -> Iterator[Site]:
    """A running server on PostgreSQL and S3, which may be started again."""
    folder = tmp_path_factory.mktemp("remote")
    (settings, direct), (bucket, around) = of_database(database, database_proxy), of_s3(s3, s3_proxy)
    with running(BareAttachd(folder, **SETTINGS, **settings, **bucket), **direct, **around) as site:
        site.server.credentials = False
        yield site


def of_database(database: PostgresqlServer, proxy: DatabaseProxy) -> tuple[dict[str, Any], dict[str, str]]:
    """Settings of a fresh database behind the proxy, and those that lead around it."""
    url = database.create_database("faults")
    migrate(url)
    behind = database.url("faults", port=proxy.port)
    patient = dict.fromkeys(SETTINGS_POSTGRESQL, PATIENT_S)
    return SETTINGS_POSTGRESQL | {"ATTACHD_DATABASE_URL": behind}, patient | {"ATTACHD_DATABASE_URL": url}


def of_s3(s3: SharedS3, proxy: S3Proxy) -> tuple[dict[str, Any], dict[str, str]]:
    """Settings of an empty part of the bucket behind the proxy, and those that lead around it."""
    endpoint = "ATTACHD_UPLOAD_S3_ENDPOINT_URL"
    patient = {name: PATIENT_S for name in SETTINGS_S3 if name.endswith("_TIMEOUT_SECONDS")}
    return s3.fresh_prefix() | SETTINGS_S3 | {endpoint: proxy.url}, patient | {endpoint: s3.url}
