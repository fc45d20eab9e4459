"""The process is killed between bytes and row, on PostgreSQL and S3: what it began is there whole, or swept away."""

import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import httpx
import pytest

from tests.faults.database_proxy import DatabaseProxy
from tests.faults.s3_proxy import S3Proxy
from tests.faults.site import LARGE, SMALL, Site

pytestmark = pytest.mark.only_on("sqlite", "local", reason="these tests choose their engines themselves")

INSERT = r"WITH added AS \(INSERT INTO attachments"
IN_PARTS = 2 * LARGE
# Where an upload of so many bytes hangs when the process is killed, and whether it is there afterwards.
Hang = Callable[[DatabaseProxy, S3Proxy], AbstractContextManager[list[str]]]
MOMENTS: list[tuple[str, int, Hang, bool]] = [
    ("put", SMALL, lambda _, s3: s3.at("PutObject", "timeout"), False),
    ("put-answer", SMALL, lambda _, s3: s3.at("PutObject", "lost-answer"), False),
    ("create-answer", IN_PARTS, lambda _, s3: s3.at("CreateMultipartUpload", "lost-answer"), False),
    ("part", IN_PARTS, lambda _, s3: s3.at("UploadPart", "timeout", after=1), False),
    ("complete", IN_PARTS, lambda _, s3: s3.at("CompleteMultipartUpload", "timeout"), False),
    ("complete-answer", IN_PARTS, lambda _, s3: s3.at("CompleteMultipartUpload", "lost-answer"), False),
    ("row", SMALL, lambda database, _: database.at(INSERT, "stall"), False),
    ("row-of-parts", IN_PARTS, lambda database, _: database.at(INSERT, "stall"), False),
    ("row-answer", SMALL, lambda database, _: database.at(INSERT, "no-answer"), True),
    ("row-answer-of-parts", IN_PARTS, lambda database, _: database.at(INSERT, "no-answer"), True),
]


@pytest.mark.parametrize(("size", "hang", "there"), [pytest.param(*moment, id=name) for name, *moment in MOMENTS])
def test_upload(
    remote_site: Site, database_proxy: DatabaseProxy, s3_proxy: S3Proxy, size: int, hang: Hang, *, there: bool
) -> None:
    with remote_site.again() as site, ThreadPoolExecutor(1) as pool:
        site.recover(size=size)
        listed = site.listed()
        with hang(database_proxy, s3_proxy) as hits:
            upload = pool.submit(site.send, size=size)
            site.wait_until(lambda: hits)
            if there:  # the server has done it; nobody else hears of that
                site.wait_until(lambda: site.beside.rows() > len(listed))
            os.kill(site.server.process.pid, signal.SIGKILL)
            with pytest.raises(httpx.TransportError):
                upload.result()
            with site.server.process as process:  # closes its output
                assert process.wait(60) == -signal.SIGKILL
    remote_site.server.start()
    with remote_site.again() as site:
        assert len(site.listed().keys() - listed.keys()) == there
        site.settle()
