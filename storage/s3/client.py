"""The bucket: boto3's clients for it, and the threads that its calls run in."""

import asyncio
import base64
import hashlib
import tempfile
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, cast

import boto3
from botocore.config import Config

from storage.blobs import check_key
from storage.options import S3Options
from storage.s3.errors import FAILURES, unavailable
from storage.threads import Threads, available_cores

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import PartTypeDef

T = TypeVar("T")

MAX_SPOOL_THREADS = 8  # for hashing and writing to the page cache: as many as on disk
CLOSE_S = 10.0  # that calls under way get to end when the program does
# Connections that are kept for the next call. Bodies that are read by clients hold one each, beside those of the threads: more
# than fit in here are closed after use, with a warning in the log.
_KEPT_CONNECTIONS = 1000
_BACKOFF_S = 20.0  # botocore waits at most so long before another attempt (its mode "standard")


class Where(TypedDict):
    """The object that a call is about."""

    Bucket: str
    Key: str


class Bucket:
    """One bucket, or the part of it behind `options.prefix`, as all of `storage.s3` uses it.

    `client` is boto3's, to be called in `call` and `begin` alone, as is `sender`, which sends the bytes of blobs; `args` are
    what every object is created with.
    """

    def __init__(self, options: S3Options) -> None:
        """Does no I/O but reading boto3's own files. Raises ValueError for a URL that is none."""
        self.options = options
        self.name = options.bucket
        session = boto3.session.Session(
            aws_access_key_id=options.access_key or None,
            aws_secret_access_key=options.secret_key or None,
            region_name=options.region or None,
        )
        self.client: S3Client = self._connect(session, options.endpoint_url, options.addressing)
        self.client.meta.events.register("before-call.s3.DeleteObjects", _add_md5)
        # For the bytes of blobs: what is signed of them is their Content-MD5. Over https boto3 does so by itself; over http it
        # would read and hash all of them once more, for SHA-256: a fifth of the processor time of an upload.
        self.sender: S3Client = self.client
        if options.endpoint_url.startswith("http:"):
            self.sender = self._connect(session, options.endpoint_url, options.addressing, payload_signing_enabled=False)
        # Makes URLs for clients and never connects. For AWS without a style they would lead to one region, which redirects.
        public_url = options.public_endpoint_url or options.endpoint_url
        regional = not public_url and options.addressing == "auto" and "." not in options.bucket  # a dot breaks the certificate
        self.signer: S3Client = self.client
        if regional or public_url != options.endpoint_url:
            self.signer = self._connect(session, public_url, "virtual" if regional else options.addressing)
        self.args: Any = {"Bucket": options.bucket, **_encryption(options)}
        self.limit_s = options.attempts * (options.connect_timeout_s + options.read_timeout_s) + _BACKOFF_S
        self.spool = Threads(min(MAX_SPOOL_THREADS, 2 * available_cores()), "attachd-spool")
        self._threads = Threads(options.connections, "attachd-s3")
        self._pending: set[asyncio.Future[Any]] = set()

    def _connect(self, session: boto3.session.Session, endpoint_url: str, addressing: str, **of_s3: object) -> "S3Client":
        options = self.options
        return session.client(
            "s3",
            endpoint_url=endpoint_url or None,
            config=Config(
                signature_version="s3v4",
                connect_timeout=options.connect_timeout_s,
                read_timeout=options.read_timeout_s,
                retries={"mode": "standard", "total_max_attempts": options.attempts},
                max_pool_connections=_KEPT_CONNECTIONS,
                tcp_keepalive=True,
                # Not all stores know the checksums that are boto3's default; Content-MD5 goes with all that is sent.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                s3=cast("Any", {"addressing_style": addressing, **of_s3}),
                user_agent_extra="attachd",
            ),
        )

    def where(self, key: str) -> Where:
        """The bucket and what the store calls the blob. Raises ValueError for a key that this program does not make."""
        check_key(key)
        return {"Bucket": self.name, "Key": self.options.prefix + key}

    def list_parts(self, key: str, multipart_id: str) -> "list[PartTypeDef]":
        """The parts of a multipart upload that came. Blocks; raises ClientError, also when it was completed or aborted."""
        pages = self.client.get_paginator("list_parts").paginate(**self.where(key), UploadId=multipart_id)
        return [part for page in pages for part in page.get("Parts", [])]

    async def call(self, work: Callable[..., T], *arguments: object) -> T:
        """What `work` returns, which calls the store, in a worker thread.

        Raises SERVICE_UNAVAILABLE when it fails, or is not done after `limit_s`, with the wait for a thread. A caller that is
        cancelled, or waits no longer, leaves what was begun to finish.
        """
        return await self.wait(self.begin(work, *arguments))

    async def wait(self, future: asyncio.Future[T]) -> T:
        """What comes of something that was begun. Raises as `call`."""
        try:
            if future.done():
                return future.result()
            async with asyncio.timeout(self.limit_s):
                return await asyncio.shield(future)
        except FAILURES as error:
            raise unavailable(error, self.options) from error

    def begin(self, work: Callable[..., T], *arguments: object) -> asyncio.Future[T]:
        """Have `work` called in a worker thread, unless its turn comes when nobody waits for it any more.

        Raises RuntimeError after `aclose`.
        """
        return self.afterwards(_unless_late(work, time.monotonic() + self.limit_s), *arguments)

    def afterwards(self, work: Callable[..., T], *arguments: object) -> asyncio.Future[T]:
        """As `begin`, for what must be done whether or not somebody waits, such as removing what is left."""
        future = self._threads.run(work, *arguments)
        self.await_at_close(future)
        return future

    def await_at_close(self, future: asyncio.Future[Any]) -> None:
        """Have `aclose` wait for that, too."""
        self._pending.add(future)
        future.add_done_callback(self._ended)

    def _ended(self, future: asyncio.Future[Any]) -> None:
        self._pending.discard(future)
        if not future.cancelled():
            future.exception()  # whoever waits for it is told; whoever gave up is not asked

    def check_spool(self) -> None:
        """Make a file in the folder for parts. Blocks. Raises OSError."""
        with tempfile.TemporaryFile(dir=self.options.spool_directory):
            pass

    async def aclose(self) -> None:
        """Let the calls under way end, for `CLOSE_S` seconds, then let go of the threads and the connections."""
        end = time.monotonic() + CLOSE_S
        while self._pending and time.monotonic() < end:  # the end of one may begin another: an upload that is removed
            await asyncio.wait(self._pending, timeout=end - time.monotonic())
        await asyncio.to_thread(self.spool.close)
        await asyncio.to_thread(self._threads.close, max(end - time.monotonic(), 0.1))
        for client in (self.client, self.sender, self.signer):
            client.close()


def _add_md5(params: dict[str, Any], **_: object) -> None:
    """S3 asks for a checksum of the list of keys to delete: boto3 sends CRC32, which only the newer stores know."""
    params["headers"]["Content-MD5"] = base64.b64encode(hashlib.md5(params["body"], usedforsecurity=False).digest()).decode()


def _encryption(options: S3Options) -> dict[str, str]:
    args = {"ServerSideEncryption": options.server_side_encryption, "SSEKMSKeyId": options.kms_key_id}
    return {name: value for name, value in args.items() if value}


def _unless_late(work: Callable[..., T], latest: float) -> Callable[..., T]:
    """As `work`, but raises TimeoutError if its turn comes when nobody waits for it any more."""

    def in_time(*arguments: object) -> T:
        if time.monotonic() > latest:
            raise TimeoutError("the threads for S3 were busy for too long")
        return work(*arguments)

    return in_time
