"""The two servers that all differential tests share."""

from collections.abc import Iterator

import pytest

from tests.conformance.differential.peers import Peers


@pytest.fixture(scope="session")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    with Peers(tmp_path_factory.mktemp("differential")) as peers:
        yield peers
