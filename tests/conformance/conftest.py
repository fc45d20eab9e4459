"""What the tests with real clients share."""

from collections.abc import Iterator

import pytest

from tests.conformance.lasting import Lasting
from tests.conformance.launched import Launched


@pytest.fixture(scope="session")
def launched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    """The launcher's attachd."""
    with Launched(tmp_path_factory.mktemp("launched")) as launched:
        yield launched


@pytest.fixture(scope="session")
def lasting() -> Iterator[Lasting]:
    """The stock client 11.25 for what lasts."""
    with Lasting() as lasting:
        yield lasting
