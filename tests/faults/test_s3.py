"""The S3-compatible store fails, at each step of an upload, of a download and of a sweep."""

import errno

import httpx
import pytest

from schemas import Code, ServiceError
from tests.faults.apis import APIS, Api
from tests.faults.kernel import Call, Kernel
from tests.faults.s3_proxy import Fault, Operation, S3Proxy
from tests.faults.site import SMALL, Beside, Site, unavailable

pytestmark = pytest.mark.only_on("sqlite", "local", reason="these tests choose their engines themselves")

BROKEN = "the storage is not available now, try again"
IN_PARTS = 6 * 1024 * 1024  # bytes: two parts of 5 MiB at most
FAULTS: tuple[Fault, ...] = ("internal-error", "slow-down", "timeout", "reset", "lost-answer", "reset-after")
WITH_ETAG: tuple[Fault, ...] = (*FAULTS, "wrong-etag")
COMPLETE: tuple[Fault, ...] = (*FAULTS, "error-in-200")
FAULTS_OF: dict[Operation, tuple[Fault, ...]] = {
    "PutObject": WITH_ETAG,
    "CreateMultipartUpload": FAULTS,
    "UploadPart": WITH_ETAG,
    "CompleteMultipartUpload": COMPLETE,
}
STEPS = [(operation, fault) for operation, faults in FAULTS_OF.items() for fault in faults]
# What a second attempt mends.
MENDED = [step for step in STEPS if step[1] != "wrong-etag"]


@pytest.fixture
def site(s3_site: Site) -> Site:
    """The site of these tests."""
    return s3_site


@pytest.fixture
def proxy(s3_proxy: S3Proxy) -> S3Proxy:
    """What fails."""
    return s3_proxy


def size_for(operation: Operation) -> int:
    """Of a file whose upload has that step."""
    return SMALL if operation == "PutObject" else IN_PARTS


@pytest.mark.parametrize(("operation", "fault"), STEPS)
def test_upload(site: Site, proxy: S3Proxy, operation: Operation, fault: Fault) -> None:
    with proxy.at(operation, fault) as hits:
        answer = site.send(size=size_for(operation))
    assert hits
    assert unavailable(answer) == BROKEN
    site.settle()


@pytest.mark.parametrize(("operation", "fault"), MENDED)
def test_upload_that_fails_once(site: Site, proxy: S3Proxy, operation: Operation, fault: Fault) -> None:
    """The second attempt makes it good, and the client hears of nothing."""
    with proxy.at(operation, fault, times=1) as hits:
        site.upload(size=size_for(operation))
    assert hits
    site.settle()


@pytest.mark.parametrize("api", APIS, ids=lambda api: api.name)
@pytest.mark.parametrize("operation", ["PutObject", "CompleteMultipartUpload"])
def test_every_api(site: Site, proxy: S3Proxy, api: Api, operation: Operation) -> None:
    with proxy.at(operation, "slow-down") as hits:
        answer = site.send(api, size_for(operation))
    assert hits
    assert unavailable(answer, api) == BROKEN
    site.recover(api)
    site.settle()


@pytest.mark.parametrize("fault", FAULTS)
def test_parts_that_cannot_be_aborted(site: Site, proxy: S3Proxy, fault: Fault) -> None:
    """They stay until a sweep, which nobody waits for."""
    with proxy.at("UploadPart", "reset", after=1), proxy.at("AbortMultipartUpload", fault) as hits:
        assert unavailable(site.send(size=IN_PARTS)) == BROKEN
        site.wait_until(lambda: hits)
    site.settle()


@pytest.mark.parametrize("size", [SMALL, IN_PARTS], ids=["small", "large"])
@pytest.mark.parametrize("fault", FAULTS)
def test_download(site: Site, proxy: S3Proxy, fault: Fault, size: int) -> None:
    id = site.recover(size=size)
    with proxy.at("GetObject", fault) as hits:
        for part in ({}, {"range": "bytes=100-199"}):
            answer = site.session.get(f"/api/attachments/{id}/download", headers=part)
            assert unavailable(answer) == BROKEN
    assert hits
    site.settle()


@pytest.mark.parametrize("fault", [*FAULTS, "truncated"])
def test_download_that_fails_once(site: Site, proxy: S3Proxy, fault: Fault) -> None:
    id = site.recover(size=IN_PARTS)
    with proxy.at("GetObject", fault, times=1) as hits:
        site.check_bytes(id, site.acknowledged[id])
    assert hits
    site.settle()


def test_a_download_is_one_get(site: Site, proxy: S3Proxy) -> None:
    """It had been one for every 256 KiB: 4 files of 25 MiB a second, and 25 since (2026-11)."""
    id = site.recover(size=IN_PARTS)
    with proxy.at("GetObject", "internal-error", after=1) as hits:
        site.check_bytes(id, site.acknowledged[id])
    assert not hits
    site.settle()


def test_download_that_ends_early(site: Site, proxy: S3Proxy) -> None:
    """The answer has begun, with its length: it ends early, which every client notices."""
    id = site.recover(size=IN_PARTS)
    with proxy.at("GetObject", "truncated", times=1), proxy.at("GetObject", "reset") as hits:
        with pytest.raises(httpx.RemoteProtocolError, match="complete message body"):
            site.download(id)
        assert hits
    site.settle()


def test_an_object_with_another_etag_is_looked_at(site: Site, proxy: S3Proxy) -> None:
    """Each part was right. Whether the whole is, HeadObject tells; where it does not, the upload has failed."""
    with proxy.at("CompleteMultipartUpload", "wrong-etag") as hits:
        site.upload(size=IN_PARTS)
        assert hits
        for fault in FAULTS:
            with proxy.at("HeadObject", fault) as also:
                assert unavailable(site.send(size=IN_PARTS)) == BROKEN
            assert also
    site.settle()


@pytest.mark.parametrize("operation", ["ListObjectsV2", "DeleteObjects", "ListMultipartUploads", "HeadObject"])
def test_sweep(site: Site, proxy: S3Proxy, operation: Operation) -> None:
    """One that fails leaves what is there for the next."""
    left = site.logged("what is left of")
    with proxy.at("PutObject", "reset-after"), proxy.at("DeleteObject", "reset"):
        unavailable(site.send())  # the object is there, and nobody knows
        site.wait_until(lambda: site.logged("what is left of") > left)
    with Beside(site.server.settings) as beside, proxy.at(operation, "internal-error") as hits:
        with pytest.raises(ServiceError) as caught:
            beside.sweep()
        assert caught.value.code is Code.SERVICE_UNAVAILABLE
    assert hits
    site.settle()


@pytest.mark.parametrize("call", ["open", "write"])
def test_spool_full(site: Site, kernel: Kernel, call: Call) -> None:
    """The folder where parts wait until they are whole."""
    with kernel.at(call, r"/spool(/|$)", errno.ENOSPC) as hits:
        assert unavailable(site.send(size=IN_PARTS)) == "the storage is full"
    assert hits
    site.settle()


def test_no_store(site: Site, proxy: S3Proxy) -> None:
    id = site.recover()
    with proxy.down():
        for api in APIS:
            assert unavailable(site.send(api), api) == BROKEN
        unavailable(site.download(id))
        assert site.session.head(f"/api/attachments/{id}/download").status_code == 200
        site.wait_until(lambda: site.session.get("/readyz").status_code == 503)
        assert site.session.get("/healthz").status_code == 200
    site.wait_until(lambda: site.session.get("/readyz").status_code == 200)
    site.settle()
