"""Direct uploads: who asks again to complete one gets its attachment, whatever failed the first time."""

from typing import Any

import httpx
import pytest

from tests.faults.apis import mutation
from tests.faults.s3_proxy import Fault, Operation, S3Proxy
from tests.faults.site import ANSWER_WITHIN_S, LARGE, SMALL, Site, content, digest_of, refused

pytestmark = pytest.mark.only_on("sqlite", "local", reason="these tests choose their engines themselves")

BROKEN = "the storage is not available now, try again"
FAULTS: tuple[Fault, ...] = ("internal-error", "slow-down", "timeout", "reset", "reset-after")
IN_PARTS = 2 * LARGE  # bytes: more than the 5 MiB of a part
BY_FORM: tuple[Operation, ...] = ("HeadObject", "CopyObject", "GetObject")
BY_PARTS: tuple[Operation, ...] = ("ListParts", "CompleteMultipartUpload", *BY_FORM)
COMPLETED = [(SMALL, operation) for operation in BY_FORM] + [(IN_PARTS, operation) for operation in BY_PARTS]


def sent(site: Site, data: bytes) -> dict[str, Any]:
    """The input of `completeUpload` for a file that is in the store."""
    wanted = {"filename": f"{digest_of(data)}.png", "size": len(data)}
    asked = site.soon(lambda: mutation(site.session, "attachments.createUpload", **wanted))
    plan = asked.json()["result"]["data"]["json"]
    if plan["method"] == "POST":
        httpx.post(plan["url"], data=plan["fields"], files={"file": data}, timeout=ANSWER_WITHIN_S).raise_for_status()
        return {"uploadId": plan["upload_id"]}
    etags = []
    for part in plan["parts"]:
        begin = (part["part_number"] - 1) * plan["part_size"]
        answer = httpx.put(part["url"], content=data[begin : begin + part["size"]], timeout=ANSWER_WITHIN_S).raise_for_status()
        etags.append({"partNumber": part["part_number"], "etag": answer.headers["etag"]})
    return {"uploadId": plan["upload_id"], "parts": etags}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(("size", "operation"), COMPLETED)
def test_complete(s3_site: Site, s3_proxy: S3Proxy, size: int, operation: Operation, fault: Fault) -> None:
    data = content(size)
    upload = sent(s3_site, data)
    with s3_proxy.at(operation, fault) as hits:
        assert refused(mutation(s3_site.session, "attachments.completeUpload", **upload)) == BROKEN
    assert hits
    answer = s3_site.soon(lambda: mutation(s3_site.session, "attachments.completeUpload", **upload))
    assert answer.json()["result"]["data"]["json"]["id"] == upload["uploadId"]
    s3_site.acknowledged[upload["uploadId"]] = digest_of(data)
    s3_site.settle()


@pytest.mark.parametrize("fault", FAULTS)
def test_create(s3_site: Site, s3_proxy: S3Proxy, fault: Fault) -> None:
    with s3_proxy.at("CreateMultipartUpload", fault) as hits:
        asked = {"filename": "a.png", "size": IN_PARTS}
        assert refused(mutation(s3_site.session, "attachments.createUpload", **asked)) == BROKEN
    assert hits
    s3_site.settle()


@pytest.mark.parametrize("fault", FAULTS)
def test_abort(s3_site: Site, s3_proxy: S3Proxy, fault: Fault) -> None:
    upload = sent(s3_site, content(IN_PARTS))["uploadId"]
    with s3_proxy.at("AbortMultipartUpload", fault) as hits:
        assert refused(mutation(s3_site.session, "attachments.abortUpload", uploadId=upload)) == BROKEN
    assert hits
    s3_site.soon(lambda: mutation(s3_site.session, "attachments.abortUpload", uploadId=upload))
    assert mutation(s3_site.session, "attachments.completeUpload", uploadId=upload).status_code == 404
    s3_site.settle()


@pytest.mark.parametrize(
    ("operation", "fault"),
    [
        *((operation, "lost-answer") for operation in BY_PARTS),
        ("CompleteMultipartUpload", "error-in-200"),
        ("CopyObject", "error-in-200"),
    ],
)
def test_complete_that_fails_once(s3_site: Site, s3_proxy: S3Proxy, operation: Operation, fault: Fault) -> None:
    """The second attempt makes it good, and the client hears of nothing; also what the first had done and did not tell."""
    data = content(IN_PARTS)
    upload = sent(s3_site, data)
    with s3_proxy.at(operation, fault, times=1) as hits:
        assert mutation(s3_site.session, "attachments.completeUpload", **upload).status_code == 200
    assert hits
    s3_site.acknowledged[upload["uploadId"]] = digest_of(data)
    s3_site.settle()


@pytest.mark.parametrize("size", [SMALL, IN_PARTS], ids=["form", "parts"])
def test_what_was_sent_cannot_be_removed(s3_site: Site, s3_proxy: S3Proxy, size: int) -> None:
    """The attachment is kept all the same: what is left goes with a sweep. Who aborts is told, and asks again."""
    data = content(size)
    upload, other = sent(s3_site, data), sent(s3_site, content(size))["uploadId"]
    with s3_proxy.at("DeleteObjects", "slow-down") as hits:
        assert mutation(s3_site.session, "attachments.completeUpload", **upload).status_code == 200
        assert refused(mutation(s3_site.session, "attachments.abortUpload", uploadId=other)) == BROKEN
    assert len(hits) >= 2
    s3_site.soon(lambda: mutation(s3_site.session, "attachments.abortUpload", uploadId=other))
    s3_site.acknowledged[upload["uploadId"]] = digest_of(data)
    s3_site.settle()
