"""The disk of the files fails: at every step of an upload, of a download, in every API."""

import errno

import pytest

from tests.faults.apis import APIS, Api
from tests.faults.kernel import Call, Kernel
from tests.faults.site import LARGE, SMALL, Site, unavailable

pytestmark = pytest.mark.only_on("sqlite", "local", reason="these tests choose their engines themselves")

FULL, BROKEN = "the storage is full", "the storage is not available now, try again"
# The steps of an upload by their system call and path.
STEPS: list[tuple[str, Call, str]] = [
    ("create", "open", r"blobs/.*\.partial$"),
    ("write", "write", r"\.partial$"),
    ("sync", "fsync", r"\.partial$"),
    ("rename", "rename", r"\.partial$"),
    ("sync-folder", "fsync", r"blobs/attachments/[^/]*$"),
]
ERRORS = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: FULL,
    errno.EROFS: BROKEN,
    errno.EIO: BROKEN,
    errno.EMFILE: BROKEN,
}


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: errno.errorcode[error])
@pytest.mark.parametrize(("call", "path"), [pytest.param(*step, id=name) for name, *step in STEPS])
def test_upload(site: Site, kernel: Kernel, call: Call, path: str, error: int, size: int) -> None:
    with kernel.at(call, path, error) as hits:
        assert unavailable(site.send(size=size)) == ERRORS[error]
    assert hits
    site.settle()


@pytest.mark.parametrize("api", APIS, ids=lambda api: api.name)
def test_every_api(site: Site, kernel: Kernel, api: Api) -> None:
    with kernel.at("fsync", r"\.partial$", errno.ENOSPC) as hits:
        assert unavailable(site.send(api), api) == FULL
    assert hits
    site.upload(api)
    site.settle()


def test_first_upload_of_an_organization(site: Site, kernel: Kernel) -> None:
    """Its folder must be durable before anything in it is acknowledged, whoever made it."""
    made: tuple[Call, str] = ("fsync", r"blobs/attachments$")
    steps: list[tuple[Call, str]] = [("mkdir", r"blobs/attachments/[^/]*$"), made, made]
    with site.client("stranger") as stranger:
        for call, path in steps:
            with kernel.at(call, path, errno.EIO) as hits:
                assert unavailable(stranger.post("/api/upload", files={"file": ("a.txt", b"hello")})) == BROKEN
            assert hits
        assert stranger.post("/api/upload", files={"file": ("a.txt", b"hello")}).is_success
    site.settle()


def test_close(site: Site, kernel: Kernel) -> None:
    """Where the kernel tells only then that the bytes are lost, as quotas and file systems of networks may."""
    with kernel.at("close", r"\.partial$", errno.EDQUOT) as hits:
        assert unavailable(site.send(size=LARGE)) == FULL
    assert hits
    site.settle()
