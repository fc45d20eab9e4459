"""Objects that clients write themselves: signing for them, and taking over what they wrote.

S3 checks what was signed: of a form the key, the size, the type and the checksum (its policy); of a part the key, the upload,
the number and the length, which is a signed header. None of it can be taken back before it expires, but a part of an upload
that was joined or aborted is refused (NoSuchUpload).

A copy is made of the entity tag that was looked at. That alone would not do: in most stores it is an MD5, and two files can be
made that have the same. So nothing is believed of an object before it was copied away from the clients' reach.
"""

import asyncio
import base64
import itertools
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from storage.incoming import INCOMING, Form, FormLimits, Leftover, PartInfo, Staged
from storage.s3.client import Bucket
from storage.s3.errors import FAILURES, code_of, is_missing, unavailable

T = TypeVar("T")

# One CopyObject may copy 5 GiB and be silent for minutes; copied by parts, each call answers in time.
_COPY_WHOLE: Final = 256 * 1024 * 1024  # bytes, and those of such a part
_COPY = TransferConfig(multipart_threshold=_COPY_WHOLE, multipart_chunksize=_COPY_WHOLE, use_threads=False)
_CHANGED: Final = frozenset({"PreconditionFailed", "412", "InvalidPart"})
_ENCRYPTION_FIELDS: Final = {
    "ServerSideEncryption": "x-amz-server-side-encryption",
    "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
}


class S3Incoming:
    """What clients write into the bucket; see `Incoming`."""

    def __init__(self, bucket: Bucket) -> None:
        self.part_bytes = bucket.options.part_bytes
        self._bucket = bucket

    async def sign_form(self, key: str, limits: FormLimits, expires_s: int) -> Form:
        """A POST policy that binds all that S3 can check of a form."""
        args = self._bucket.args
        fields = {"Content-Type": limits.content_type}
        fields |= {field: args[name] for name, field in _ENCRYPTION_FIELDS.items() if name in args}
        if limits.sha256 is not None:
            digest = base64.b64encode(limits.sha256).decode()
            fields |= {"x-amz-checksum-algorithm": "SHA256", "x-amz-checksum-sha256": digest}
        conditions: list[Any] = [{name: value} for name, value in fields.items()]
        conditions.append(["content-length-range", limits.size, limits.size])
        signed = self._bucket.signer.generate_presigned_post(
            **self._bucket.where(key), Fields=fields, Conditions=conditions, ExpiresIn=expires_s
        )
        return Form(signed["url"], signed["fields"])

    async def begin_parts(self, key: str, content_type: str) -> str:
        """Begin a multipart upload; gives its id."""

        def begin() -> str:
            args = {**self._bucket.args, **self._bucket.where(key)}
            return self._bucket.client.create_multipart_upload(**args, ContentType=content_type)["UploadId"]

        return await self._bucket.call(begin)

    async def sign_parts(self, key: str, multipart_id: str, sizes: Sequence[int], expires_s: int) -> list[str]:
        """A URL for each part; its Content-Length is signed, which clients send by themselves."""
        target = {**self._bucket.where(key), "UploadId": multipart_id}

        def sign(number: int, size: int) -> str:
            part = {**target, "PartNumber": number, "ContentLength": size}
            return self._bucket.signer.generate_presigned_url("upload_part", Params=part, ExpiresIn=expires_s)

        # A third of a millisecond each, and there may be a thousand.
        return await self._bucket.call(lambda: [sign(number, size) for number, size in enumerate(sizes, 1)])

    async def parts(self, key: str, multipart_id: str) -> list[PartInfo] | None:
        """The parts that came; None for an upload that was joined or aborted."""

        def listed() -> list[PartInfo]:
            found = self._bucket.list_parts(key, multipart_id)
            return [PartInfo(part["PartNumber"], part["ETag"].strip('"'), part["Size"]) for part in found]

        return await self._bucket.call(_unless_missing, listed)

    async def join(self, key: str, multipart_id: str, parts: Sequence[PartInfo]) -> None:
        """Complete the multipart upload, unless it was completed or aborted, or a part was sent anew meanwhile."""

        def complete() -> None:
            listed: Any = [{"PartNumber": part.number, "ETag": f'"{part.etag}"'} for part in parts]
            self._bucket.client.complete_multipart_upload(
                **self._bucket.where(key), UploadId=multipart_id, MultipartUpload={"Parts": listed}
            )

        await self._bucket.call(_unless_changed, complete)

    async def abort_parts(self, key: str, multipart_id: str) -> None:
        """Abort the multipart upload, unless it was completed or aborted."""

        def abort() -> None:
            self._bucket.client.abort_multipart_upload(**self._bucket.where(key), UploadId=multipart_id)

        await self._bucket.call(_unless_missing, abort)

    async def staged(self, key: str) -> Staged | None:
        """What lies there now."""

        def head() -> Staged:
            found = self._bucket.client.head_object(**self._bucket.where(key))
            return Staged(found["ETag"], found["ContentLength"])

        return await self._bucket.call(_unless_missing, head)

    async def seal(self, key: str, staged: Staged, target: str, content_type: str) -> bool:
        """Copy it, if it still has that entity tag; a large one in parts, which may take long."""
        copy = self._bucket.afterwards(_unless_changed, lambda: self._copy_in_thread(key, staged, target, content_type))
        try:
            return await asyncio.shield(copy) is not None
        except FAILURES as error:
            raise unavailable(error, self._bucket.options) from error

    def _copy_in_thread(self, key: str, staged: Staged, target: str, content_type: str) -> bool:
        args = {**self._bucket.args, "MetadataDirective": "REPLACE", "ContentType": content_type}
        args["CopySourceIfMatch"] = staged.etag
        del args["Bucket"]
        source: Any = self._bucket.where(key)
        if staged.size <= _COPY_WHOLE:
            self._bucket.client.copy_object(**self._bucket.where(target), CopySource=source, **args)
        else:
            self._bucket.client.copy(source, **self._bucket.where(target), ExtraArgs=args, Config=_COPY)
        return True

    async def leftovers(self) -> AsyncIterator[list[Leftover]]:
        """All that lies below `INCOMING`: objects, and the multipart uploads under way."""
        where: Any = {"Bucket": self._bucket.name, "Prefix": self._bucket.options.prefix + INCOMING}
        objects = self._bucket.client.get_paginator("list_objects_v2").paginate(**where)
        uploads = self._bucket.client.get_paginator("list_multipart_uploads").paginate(**where)
        pages: Iterator[Any] = itertools.chain(objects, uploads)
        while (page := await self._bucket.call(next, pages, None)) is not None:
            yield [self._leftover(found) for found in page.get("Contents") or page.get("Uploads") or []]

    def _leftover(self, found: Any) -> Leftover:
        key = found["Key"].removeprefix(self._bucket.options.prefix)
        modified = found.get("LastModified") or found["Initiated"]
        return Leftover(key, found.get("UploadId"), found.get("Size", 0), modified.timestamp())


def _unless_missing(call: Callable[[], T]) -> T | None:
    """What a call gives; None when what it asks for is not there."""
    try:
        return call()
    except ClientError as error:
        if not is_missing(error):
            raise
        return None


def _unless_changed(call: Callable[[], T]) -> T | None:
    """What a call gives; None when what it is made of is not there, or no longer what was looked at."""
    try:
        return _unless_missing(call)
    except ClientError as error:
        if code_of(error) not in _CHANGED:
            raise
        return None
