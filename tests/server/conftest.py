"""What tests of the server share."""

from collections.abc import Iterator

import pytest

from tests.running import Attachd
from tests.server.uploads import IDLE_TIMEOUT_S, SETTINGS, Site


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server with small limits for uploads."""
    with Attachd(tmp_path_factory.mktemp("uploads"), **SETTINGS) as attachd:
        yield Site(attachd)


@pytest.fixture(scope="session")
def impatient_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The same, which soon gives up those who fall silent."""
    settings = {**SETTINGS, "ATTACHD_UPLOAD_IDLE_TIMEOUT_SECONDS": str(IDLE_TIMEOUT_S)}
    with Attachd(tmp_path_factory.mktemp("silence"), **settings) as attachd:
        yield Site(attachd)
