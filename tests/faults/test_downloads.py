"""A stored file cannot be read: an honest 503 as long as no answer has begun, and never a whole answer that is not the file."""

import errno
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.faults.kernel import Call, Kernel
from tests.faults.site import LARGE, SMALL, Site, unavailable

pytestmark = pytest.mark.only_on("sqlite", "local", reason="these tests choose their engines themselves")

# Where the file is opened, and where bytes are read of it, be they in memory or not.
STEPS: list[tuple[str, Call, int]] = [
    ("open", "open", errno.EMFILE),
    ("open", "open", errno.EIO),
    ("read", "read", errno.EIO),
]


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize(
    ("call", "error"), [pytest.param(call, error, id=f"{name}-{errno.errorcode[error]}") for name, call, error in STEPS]
)
def test_first_bytes(site: Site, kernel: Kernel, call: Call, error: int, size: int) -> None:
    id = site.upload(size=size)
    for part in ({}, {"range": "bytes=1000-1099"}):
        with kernel.at(call, rf"blobs/attachments/[^/]*/{id}$", error) as hits:
            answer = site.session.get(f"/api/attachments/{id}/download", headers=part)
        assert unavailable(answer) == "the storage is not available now, try again"
        assert hits
    site.settle()


def test_later_bytes(site: Site, kernel: Kernel) -> None:
    """The answer has begun, with its length: it ends early, which every client notices."""
    id = site.upload(size=LARGE)
    with kernel.at("read", rf"{id}$", errno.EIO, after=2) as hits:
        with pytest.raises(httpx.RemoteProtocolError, match="complete message body"):
            site.download(id)
        assert hits
    site.settle()


def test_metadata_needs_no_bytes(site: Site, kernel: Kernel) -> None:
    id = site.upload()
    with kernel.at("open", rf"{id}$", errno.EIO) as hits:
        assert site.session.head(f"/api/attachments/{id}/download").status_code == 200
        etag = site.session.head(f"/api/attachments/{id}/download").headers["etag"]
        assert site.session.get(f"/api/attachments/{id}/download", headers={"if-none-match": etag}).status_code == 304
    assert not hits


def test_readiness(site: Site, kernel: Kernel) -> None:
    """A server that cannot write takes itself out of rotation, and comes back by itself."""
    with kernel.at("open", r"blobs/\.check-", errno.EROFS) as hits:
        site.wait_until(lambda: site.session.get("/readyz").status_code == 503)
        unavailable(site.session.get("/readyz"))
        assert site.session.get("/healthz").status_code == 200
    assert hits
    site.wait_until(lambda: site.session.get("/readyz").status_code == 200)


def test_stalled_disk(site: Site, kernel: Kernel) -> None:
    """What needs no disk goes on meanwhile, and what waits for it is done afterwards."""
    id = site.upload()
    with ThreadPoolExecutor(1) as pool, kernel.at("fsync", r"\.partial$", "stall") as hits:
        answer = pool.submit(site.send)
        site.wait_until(lambda: hits)
        assert site.session.get("/healthz").status_code == 200
        assert site.download(id).status_code == 200
        assert not answer.done()
    assert answer.result().status_code == 200
    site.settle()
