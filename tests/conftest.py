"""What tests of every room may ask for."""

from collections.abc import Iterator

import pytest

from tests.engines.postgresql import postgresql  # noqa: F401 (a fixture)
from tests.running import Attachd


@pytest.fixture(scope="session")
def attachd(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Attachd]:
    """One running server for the whole session, with credentials; its log is printed when a test failed."""
    failed_before = request.session.testsfailed
    with Attachd(tmp_path_factory.mktemp("attachd")) as server:
        yield server
    if request.session.testsfailed > failed_before:
        print(f"\nlog of the shared attachd:\n{server.log.read_text()}")  # noqa: T201 (for the person who reads the failure)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The event loop that async tests run on: asyncio, which is what the server runs on."""
    return "asyncio"
