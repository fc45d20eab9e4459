"""The two servers that all differential tests share."""

from collections.abc import Iterator

import pytest

from tests.conformance.differential.peers import Peers

# What attachd has set unless told otherwise, `stream.*` in its settings.
AS_ATTACHD = {"sse": {"ping": {"enabled": True, "intervalMs": 2000}, "client": {"reconnectAfterInactivityMs": 5000}}}


@pytest.fixture(scope="session")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    with Peers(tmp_path_factory.mktemp("differential"), AS_ATTACHD) as peers:
        yield peers
