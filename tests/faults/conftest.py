"""One server on SQLite and a folder, whose every system call can be made to fail."""

import sys
from collections.abc import Iterator

import pytest

from tests.faults.kernel import Kernel
from tests.faults.site import SETTINGS, Site, paths, running
from tests.running import Attachd, BareAttachd


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
