"""All blobs of a bucket."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Final

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from storage.blobs import QUARANTINE, BlobInfo
from storage.ids import fresh_id
from storage.options import S3Options
from storage.s3.client import Bucket, Where
from storage.s3.direct import S3Incoming
from storage.s3.errors import FAILURES, WrongAnswerError, is_missing, unavailable
from storage.s3.reader import S3Reader
from storage.s3.scan import CHECK, Unfinished, scan, unfinished
from storage.s3.writer import S3Writer

if TYPE_CHECKING:
    from types_boto3_s3.type_defs import CopySourceTypeDef, ErrorTypeDef

_DELETED_AT_ONCE = 1000  # the most that DeleteObjects takes
_ASKED_AT_ONCE = 16  # threads that `missing` keeps busy
_GONE = frozenset({"NoSuchKey", "NoSuchVersion"})
# One CopyObject may copy 5 GiB and be silent for minutes; copied by parts, each call answers in time.
_COPY = TransferConfig(multipart_threshold=256 * 1024 * 1024, multipart_chunksize=256 * 1024 * 1024, use_threads=False)


class S3Blobs:
    """Blobs in the bucket of the options, one object each, at `options.prefix` and the key."""

    def __init__(self, options: S3Options) -> None:
        """Connects to nothing yet. Raises ValueError for what boto3 cannot use."""
        self._bucket = Bucket(options)
        self.incoming: Final = S3Incoming(self._bucket)

    def create(self, key: str) -> S3Writer:
        """Begin to write under a key that was never used."""
        return S3Writer(self._bucket, key)

    def open(self, key: str) -> S3Reader:
        """A reader of a committed blob, which asks for it by the first read."""
        return S3Reader(self._bucket, key)

    async def delete(self, keys: list[str]) -> None:
        """Remove objects, and multipart uploads by the key that `scan` gave; a missing one is no error."""
        uploads = [upload for key in keys if (upload := unfinished(key))]
        objects = [self._bucket.where(key)["Key"] for key in keys if not unfinished(key)]
        for start in range(0, len(objects), _DELETED_AT_ONCE):
            await self._bucket.call(self._delete_in_thread, objects[start : start + _DELETED_AT_ONCE])
        for upload in uploads:
            await self._bucket.call(self._abort_in_thread, upload)

    def _delete_in_thread(self, keys: list[str]) -> None:
        answer = self._bucket.client.delete_objects(
            Bucket=self._bucket.name, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True}
        )
        failed: list[ErrorTypeDef] = [error for error in answer.get("Errors", []) if error.get("Code") not in _GONE]
        if failed:
            message = f"{failed[0].get('Key')}: {failed[0].get('Message')}"
            raise ClientError({"Error": {"Code": failed[0].get("Code", ""), "Message": message}}, "DeleteObjects")

    def _abort_in_thread(self, upload: Unfinished) -> None:
        try:
            self._bucket.client.abort_multipart_upload(**self._bucket.where(upload.key), UploadId=upload.id)
        except ClientError as error:
            if not is_missing(error):
                raise

    async def quarantine(self, keys: list[str]) -> None:
        """Copy objects to the same key behind `QUARANTINE`, then remove them; a missing one is no error."""
        for key in keys:
            await self._move(key, QUARANTINE + key)

    async def release(self, keys: list[str]) -> None:
        """Undo `quarantine`, unless there is an object in its place."""
        for key in keys:
            if await self.size_of(key) is None:
                await self._move(QUARANTINE + key, key)

    async def _move(self, key: str, target: str) -> None:
        moving = self._bucket.afterwards(self._move_in_thread, self._bucket.where(key), self._bucket.where(target))
        try:
            await asyncio.shield(moving)  # each of its calls is limited; how many there are depends on the size
        except FAILURES as error:
            raise unavailable(error, self._bucket.options) from error

    def _move_in_thread(self, where: Where, target: Where) -> None:
        client = self._bucket.client
        encryption = {arg: value for arg, value in self._bucket.args.items() if arg != "Bucket"}
        try:
            source: CopySourceTypeDef = {"Bucket": where["Bucket"], "Key": where["Key"]}
            client.copy(source, **target, ExtraArgs=encryption, Config=_COPY)
        except ClientError as error:
            if not is_missing(error):
                raise
        else:
            client.delete_object(**where)

    def scan(self, after: str = "") -> AsyncIterator[list[BlobInfo]]:
        """All that is kept, in batches; objects that this program did not make are passed over."""
        return scan(self._bucket, after)

    async def missing(self, keys: Sequence[str]) -> set[str]:
        """Which of the keys have no object."""
        shares = [keys[start::_ASKED_AT_ONCE] for start in range(min(_ASKED_AT_ONCE, len(keys)))]
        asked = [self._bucket.call(self._missing_in_thread, share) for share in shares]
        return set().union(*await asyncio.gather(*asked))

    def _missing_in_thread(self, keys: Sequence[str]) -> set[str]:
        return {key for key in keys if self._size_in_thread(key) is None}

    async def size_of(self, key: str) -> int | None:
        """The size of the object in bytes; None if there is none."""
        return await self._bucket.call(self._size_in_thread, key)

    def _size_in_thread(self, key: str) -> int | None:
        try:
            return self._bucket.client.head_object(**self._bucket.where(key))["ContentLength"]
        except ClientError as error:
            if is_missing(error):
                return None
            raise

    def link(self, key: str, *, content_type: str, disposition: str, expires_s: int | None = None) -> str | None:
        """A pre-signed GET, unless this program is to hand the bytes over."""
        options = self._bucket.options
        if options.proxy:
            return None
        return self._bucket.signer.generate_presigned_url(
            "get_object",
            Params={
                **self._bucket.where(key),
                "ResponseContentType": content_type,
                "ResponseContentDisposition": disposition,
            },
            ExpiresIn=options.url_expiry_s if expires_s is None else expires_s,
        )

    async def check(self) -> None:
        """Write, read and remove a small object."""
        await self._bucket.call(self._check_in_thread)

    def _check_in_thread(self) -> None:
        self._bucket.check_spool()
        client, where = self._bucket.client, self._bucket.where(f"{CHECK}{fresh_id()}")
        client.put_object(Key=where["Key"], Body=b"attachd", **self._bucket.args)
        try:
            if (found := client.get_object(**where)["Body"].read()) != b"attachd":
                raise WrongAnswerError(what="bytes", key=where["Key"], answer=repr(found[:20]))
        finally:
            client.delete_object(**where)

    async def aclose(self) -> None:
        """Let the calls under way end, and let go of everything."""
        await self._bucket.aclose()
