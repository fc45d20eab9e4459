"""What tests of the server share."""

from collections.abc import Iterator

import pytest

from tests.running import Attachd
from tests.server.uploads import SETTINGS, Site


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server with small limits for uploads."""
    with Attachd(tmp_path_factory.mktemp("uploads"), **SETTINGS) as attachd:
        yield Site(attachd)
