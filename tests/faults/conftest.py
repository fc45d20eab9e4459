"""One server on SQLite and a folder, whose every system call can be made to fail."""

import sys
from collections.abc import Iterator

import pytest

from tests.faults.kernel import Kernel
from tests.faults.site import SETTINGS, Site, paths, running
from tests.running import Attachd


@pytest.fixture(scope="session")
def kernel() -> Iterator[Kernel]:
    """What stands between the servers of these tests and the kernel."""
    if sys.platform != "linux":
        pytest.skip("seccomp_unotify(2) is of Linux")
    with Kernel() as kernel:
        yield kernel


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, kernel: Kernel) -> Iterator[Site]:
    """A running server, one for the tests of a module."""
    folder = tmp_path_factory.mktemp("site")
    server = Attachd(folder, **SETTINGS, **paths(folder))
    server.under = kernel.under
    with running(server) as site:
        yield site
