"""Real file systems that are full or read-only: a small tmpfs for the files, one for the database. Only root may mount."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.apis import APIS, query
from tests.faults.conftest import local
from tests.faults.kernel import Kernel
from tests.faults.site import LARGE, SMALL, Site, running, unavailable

pytestmark = pytest.mark.only_on("sqlite", "local", reason="these tests choose their engines themselves")

SIZE = 16 * 1024 * 1024
FULL, BROKEN = "the storage is full", "the storage is not available now, try again"


@contextlib.contextmanager
def mounted(folder: Path) -> Iterator[None]:
    """Meanwhile the folder is a file system of its own."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "attachd-test", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@contextlib.contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Meanwhile not a byte is free."""
    ballast = folder / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    assert os.statvfs(folder).f_bavail == 0
    try:
        yield
    finally:
        ballast.unlink()


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Meanwhile nothing can be written; possible only while nothing is open for writing."""
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", folder], check=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, kernel: Kernel) -> Iterator[Site]:
    """A site whose files and whose database are on file systems of their own."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    server = local(tmp_path_factory, kernel)
    data = server.folder / "data"
    with mounted(data), mounted(data / "blobs"), running(server) as site:
        yield site


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
def test_files_full(site: Site, size: int) -> None:
    with filled(site.server.folder / "data" / "blobs"):
        for api in APIS:
            assert unavailable(site.send(api, size), api) == FULL
        assert site.download(site.any_id).status_code == 200
    site.settle()


def test_files_fill_up_in_mid_upload(site: Site) -> None:
    blobs = site.server.folder / "data" / "blobs"
    free = os.statvfs(blobs)
    (blobs / "ballast").write_bytes(bytes(free.f_bavail * free.f_frsize - LARGE // 2))
    assert unavailable(site.send(size=LARGE)) == FULL
    site.check()
    (blobs / "ballast").unlink()
    site.settle()


def test_database_full(site: Site) -> None:
    data = site.server.folder / "data"
    with filled(data):
        while (answer := site.send()).is_success:  # what the write-ahead log has room for
            pass
        assert unavailable(answer) == "the database is not available now, try again"
        for api in APIS:
            unavailable(site.send(api), api)
        assert query(site.session, "attachments.get", id=site.any_id).status_code == 200
        assert site.download(site.any_id).status_code == 200
    site.settle()


def test_files_read_only(site: Site) -> None:
    with read_only(site.server.folder / "data" / "blobs"):
        for api in APIS:
            assert unavailable(site.send(api), api) == BROKEN
        assert site.download(site.any_id).status_code == 200
        site.wait_until(lambda: site.session.get("/readyz").status_code == 503)
    site.wait_until(lambda: site.session.get("/readyz").status_code == 200)
    site.settle()
