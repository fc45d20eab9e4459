"""What tests of every room may ask for."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from httpx._config import DEFAULT_TIMEOUT_CONFIG
from hypothesis import HealthCheck, settings

from tests.engines.backing import Backing, Engines, backing_of, backings
from tests.engines.keeping import shared_folder
from tests.engines.postgresql import SharedPostgresql
from tests.engines.s3 import SharedS3
from tests.matrix import anyio_backend, pytest_collection_modifyitems, pytest_configure
from tests.running import Attachd

__all__ = ["anyio_backend", "pytest_collection_modifyitems", "pytest_configure"]

# What a generated example shows does not depend on how long it took: the machine may stall at any of them.
settings.register_profile("attachd", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("attachd")
# Where a test names no limit, httpx gives a server up after 5 s, in which a machine that stalls may not have answered.
for phase in ("connect", "read", "write", "pool"):
    setattr(DEFAULT_TIMEOUT_CONFIG, phase, 30.0)


@pytest.fixture(scope="session", autouse=True)
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    """The servers of the run, of which none runs that no test needs."""
    backings.engines = Engines(shared_folder(tmp_path_factory))
    yield backings.engines
    backings.engines.close()


@pytest.fixture(scope="session")
def postgresql(engines: Engines) -> SharedPostgresql:
    """The PostgreSQL server of the run."""
    return engines.postgresql


@pytest.fixture(scope="session")
def s3(engines: Engines) -> SharedS3:
    """The S3-compatible store of the run."""
    return engines.s3


@pytest.fixture(autouse=True)
def _drop_backings(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test has below its own folder is dropped after it."""
    folder: Path | None = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    yield
    if folder is not None:
        backings.drop_below(folder)


@pytest.fixture(scope="session")
def attachd(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Attachd]:
    """One running server for the whole session, with credentials; its log is printed when a test failed."""
    failed_before = request.session.testsfailed
    with Attachd(tmp_path_factory.mktemp("attachd")) as server:
        yield server
    if request.session.testsfailed > failed_before:
        print(f"\nlog of the shared attachd:\n{server.log.read_text()}")  # noqa: T201 (for the person who reads the failure)


@pytest.fixture
def backing(tmp_path: Path) -> Backing:
    """A database and a place for bytes of the test's own."""
    return backing_of(tmp_path)
