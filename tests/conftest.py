"""What tests of every room may ask for."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.backing import Backing, backing_of
from tests.engines.postgresql import postgresql
from tests.engines.s3 import s3
from tests.matrix import anyio_backend, pytest_collection_modifyitems, pytest_configure
from tests.running import Attachd

__all__ = ["anyio_backend", "attachd", "backing", "postgresql", "pytest_collection_modifyitems", "pytest_configure", "s3"]


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
