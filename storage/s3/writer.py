"""A blob on its way into the bucket.

    receiving --run/write--> receiving: each CHUNK is hashed and spooled in a spool thread; a part that is whole is sent
    receiving --commit--> stored: by one PutObject if no part became whole, else by the last part and the multipart's end
    any --abort--> removed, after the calls under way

All methods run on the event loop; `append` and what has `_in_thread` in its name run in threads.
"""

import asyncio
import base64
import contextlib
import hashlib
import logging
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any, TypeVar, cast

from storage.s3.answers import check_completed, check_etag
from storage.s3.client import Bucket
from storage.s3.errors import FAILURES, is_missing, unavailable
from storage.s3.spool import Part, Spool

if TYPE_CHECKING:
    from types_boto3_s3.type_defs import CompletedPartTypeDef

logger = logging.getLogger("attachd.storage")

# Bytes that are held before a spool thread is woken, as on disk; less than that never comes to a file.
CHUNK = 128 * 1024
_MAX_PIECES = 512  # held at most: each is an object, however few bytes a client sends at a time
# Of one upload, sent at the same time: none of them takes memory, and one that was answered late must not hold up the next.
PARTS_AT_ONCE = 4

T = TypeVar("T")


class S3Writer:
    """See `BlobWriter`."""

    def __init__(self, bucket: Bucket, key: str) -> None:
        self._bucket = bucket
        self._where = bucket.where(key)
        self._key = self._where["Key"]
        self._spool = Spool(bucket.options.spool_directory, bucket.options.part_bytes)
        self._pieces: list[bytes | memoryview] = []
        self._held = 0
        self._work: asyncio.Future[Any] | None = None  # the hop under way, in a spool thread
        self._created: asyncio.Future[str] | None = None  # the id of the multipart upload
        self._sent: list[asyncio.Future[CompletedPartTypeDef]] = []
        self._stored: asyncio.Future[bytes] | None = None  # the SHA-256

    async def write(self, data: bytes | memoryview) -> None:
        """Hold the bytes; a spool thread takes each `CHUNK` of them while the next come in."""
        self._pieces.append(data)
        self._held += len(data)
        if self._held >= CHUNK or len(self._pieces) >= _MAX_PIECES:
            await self._settle()
            self._work = self._bucket.spool.run(self._spool.append, self._pieces)
            self._pieces, self._held = [], 0

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` returns, from a spool thread, after what was written before."""
        await self._settle()
        pieces, self._pieces, self._held = self._pieces, [], 0

        def begin() -> T:
            if pieces:
                self._spool.append(pieces)
            return work()

        future = self._bucket.spool.run(begin)
        self._work = future
        await self._settle()
        return future.result()

    def append(self, data: bytes | memoryview) -> None:
        """Hash and spool the bytes, from within `run`. Raises SERVICE_UNAVAILABLE."""
        try:
            self._spool.append([data])
        except OSError as error:
            raise unavailable(error, self._bucket.options) from error

    async def commit(self) -> bytes:
        """Send what is left, and make the blob of it."""
        await self._settle()
        pieces, self._pieces = self._pieces, []
        if self._work is not None and pieces:
            self._work = self._bucket.spool.run(self._spool.append, pieces)
            await self._settle()
        last = self._spool.last()
        if last is None or self._created is None:
            stored = self._bucket.begin(self._put_in_thread, b"".join(pieces) if last is None else last)
        else:
            await self._send(last)
            parts = [await self._bucket.wait(sent) for sent in self._sent]
            stored = self._bucket.begin(self._complete_in_thread, await self._id(), parts)
        self._stored = stored
        return await self._bucket.wait(stored)

    def abort(self) -> None:
        """Remove what came of it, after what is under way."""
        begun = [future for future in (self._work, self._created, *self._sent, self._stored) if future is not None]
        if begun:  # else nothing was written anywhere yet
            ended = asyncio.gather(*begun, return_exceptions=True)
            ended.add_done_callback(self._remove)
            self._bucket.await_at_close(ended)

    def _remove(self, ended: asyncio.Future[Any]) -> None:
        if ended.cancelled():  # the loop ends
            return
        created = self._created
        id = created.result() if created is not None and created.exception() is None else ""
        try:
            self._bucket.afterwards(self._remove_in_thread, id)
        except RuntimeError:  # the store was closed: sweep removes it
            self._spool.close()

    async def _settle(self) -> None:
        """Wait for the hop under way, then send what parts became whole."""
        if self._work is not None:
            await self._bucket.wait(self._work)
            for part in self._spool.whole():
                await self._send(part)

    async def _send(self, part: Part) -> None:
        """Begin to send a part, once fewer than `PARTS_AT_ONCE` are on their way."""
        id = await self._id()
        if len(self._sent) >= PARTS_AT_ONCE:
            await self._bucket.wait(self._sent[-PARTS_AT_ONCE])
        sent = self._bucket.begin(self._upload_in_thread, id, part)
        sent.add_done_callback(lambda _: self._spool.free(part))
        self._sent.append(sent)

    async def _id(self) -> str:
        """The id of the multipart upload, which begins with the first part that is whole."""
        if self._created is None:
            self._created = self._bucket.begin(self._create_in_thread)
        return await self._bucket.wait(self._created)

    def _create_in_thread(self) -> str:
        return self._bucket.client.create_multipart_upload(Key=self._key, **self._bucket.args)["UploadId"]

    def _upload_in_thread(self, id: str, part: Part) -> "CompletedPartTypeDef":
        answer = self._bucket.sender.upload_part(
            **self._where,
            UploadId=id,
            PartNumber=part.number,
            Body=cast("IO[bytes]", part),
            ContentLength=part.size,
            ContentMD5=_base64(part.md5),
        )
        check_etag(answer, part.md5, f"part {part.number} of {self._key}")
        return {"PartNumber": part.number, "ETag": answer["ETag"]}

    def _complete_in_thread(self, id: str, parts: "list[CompletedPartTypeDef]") -> bytes:
        client, where = self._bucket.client, self._where
        try:
            answer = client.complete_multipart_upload(**where, UploadId=id, MultipartUpload={"Parts": parts})
        except FAILURES as error:
            if not is_missing(error):
                raise
            answer = None  # an attempt before may have done it, whose answer was lost: the object will tell
        check_completed(client, where, answer, parts, self._spool.size)
        self._spool.close()
        return self._spool.sha256

    def _put_in_thread(self, body: bytes | Part) -> bytes:
        if isinstance(body, Part):
            md5, sha256, size = body.md5, self._spool.sha256, body.size
        else:
            md5, sha256, size = hashlib.md5(body, usedforsecurity=False).digest(), hashlib.sha256(body).digest(), len(body)
        answer = self._bucket.sender.put_object(
            Key=self._key, Body=cast("IO[bytes]", body), ContentLength=size, ContentMD5=_base64(md5), **self._bucket.args
        )
        check_etag(answer, md5, self._key)
        self._spool.close()
        return sha256

    def _remove_in_thread(self, id: str) -> None:
        self._spool.close()
        client, where = self._bucket.client, self._where
        try:
            if id:
                with contextlib.suppress(client.exceptions.NoSuchUpload):
                    client.abort_multipart_upload(**where, UploadId=id)
            if self._stored is not None:
                client.delete_object(**where)
        except FAILURES as error:
            logger.warning("what is left of %s stays until a sweep: %s", self._key, error)


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
