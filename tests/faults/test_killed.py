"""The process is killed between bytes and row: at each step of an upload, right before the system call that would do it.

What was not acknowledged may be there whole, or not at all; what was acknowledged is there.
"""

import signal
from collections.abc import Iterator

import httpx
import pytest

from tests.faults.conftest import local
from tests.faults.kernel import Call, Kernel
from tests.faults.site import LARGE, SMALL, Site, running

pytestmark = pytest.mark.only_on("sqlite", "local", reason="these tests choose their engines themselves")

# The steps, in their order, and whether an upload of which no more was done is there afterwards.
STEPS: list[tuple[str, Call, str, bool]] = [
    ("create", "open", r"blobs/.*\.partial$", False),
    ("write", "write", r"\.partial$", False),
    ("sync", "fsync", r"\.partial$", False),
    ("rename", "rename", r"\.partial$", False),
    ("sync-folder", "fsync", r"blobs/attachments/[^/]*$", False),
    ("row", "write", r"attachd\.db-wal$", False),
    # In the log, but not in its index, which the store beside has open: it comes to be there if nobody else is left.
    ("sync-row", "fsync", r"attachd\.db-wal$", False),
    ("answer", "write", r"^socket:", True),
]


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory, kernel: Kernel) -> Iterator[Site]:
    """A site whose server is started again and again."""
    with running(local(tmp_path_factory, kernel)) as site:
        site.server.credentials = False
        yield site


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize(("call", "path", "there"), [pytest.param(*step, id=name) for name, *step in STEPS])
def test_upload(before: Site, kernel: Kernel, call: Call, path: str, size: int, *, there: bool) -> None:
    with before.again() as site:
        site.upload(size=size)
        listed = site.listed()
        with kernel.at(call, path, "kill") as hits, pytest.raises(httpx.TransportError):
            site.send(size=size)
        assert hits
        with site.server.process as process:  # closes its output
            assert process.wait(60) == -signal.SIGKILL
    before.server.start()
    with before.again() as site:
        assert len(site.listed().keys() - listed.keys()) == there
        site.settle()
