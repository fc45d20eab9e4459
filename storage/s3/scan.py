"""Which objects of the bucket are ours, in the order of their keys, and behind them the uploads that were never completed.

An unfinished blob is a multipart upload: its key here is `unfinished/`, the key of the blob, `/` and the id of the upload,
which may have any characters. What `check` could not remove is another.
"""

import re
from collections.abc import AsyncIterator
from typing import NamedTuple

from botocore.exceptions import ClientError

from storage.blobs import BLOB_KEY, BLOBS_AT_ONCE, QUARANTINE, UUID, BlobInfo
from storage.s3.client import Bucket
from storage.s3.errors import is_missing

UNFINISHED = "unfinished/"
CHECK = ".check-"
_UNFINISHED_KEY = re.compile(rf"{UNFINISHED}({BLOB_KEY})/(.+)\Z")
# Folders in the order of their names, and which of their objects this program made: others are somebody's.
_FOLDERS = {
    CHECK: re.compile(rf"{re.escape(CHECK)}{UUID}\Z"),
    "attachments/": re.compile(rf"{BLOB_KEY}\Z"),
    QUARANTINE: re.compile(rf"{QUARANTINE}{BLOB_KEY}\Z"),
}


class Unfinished(NamedTuple):
    """A multipart upload."""

    key: str
    id: str


def unfinished(key: str) -> Unfinished | None:
    """The multipart upload that a key of `scan` stands for; None if it stands for an object."""
    found = _UNFINISHED_KEY.match(key)
    return None if found is None else Unfinished(found[1], found[2])


async def scan(bucket: Bucket, after: str) -> AsyncIterator[list[BlobInfo]]:
    """See `Blobs.scan`."""
    for folder, ours in _FOLDERS.items():
        if after[: len(folder)] <= folder:
            async for batch in _objects(bucket, folder, ours, after):
                yield batch
    async for batch in _uploads(bucket, after):
        yield batch


async def _objects(bucket: Bucket, folder: str, ours: re.Pattern[str], after: str) -> AsyncIterator[list[BlobInfo]]:
    last, more = after if after.startswith(folder) else "", True
    while more:
        found, last, more = await bucket.call(_page_of_objects, bucket, folder, last)
        batch = [info for info in found if ours.match(info.key)]
        for start in range(0, len(batch), BLOBS_AT_ONCE):
            yield batch[start : start + BLOBS_AT_ONCE]


def _page_of_objects(bucket: Bucket, folder: str, after: str) -> tuple[list[BlobInfo], str, bool]:
    """Up to 1000 objects, the key of the last, and whether there are more. Blocks."""
    prefix = bucket.options.prefix
    answer = bucket.client.list_objects_v2(
        Bucket=bucket.name, Prefix=prefix + folder, StartAfter=prefix + after if after else ""
    )
    found = [
        BlobInfo(one["Key"].removeprefix(prefix), one["Size"], one["LastModified"].timestamp(), folder == CHECK)
        for one in answer.get("Contents", [])
    ]
    return found, found[-1].key if found else after, answer["IsTruncated"] and bool(found)


async def _uploads(bucket: Bucket, after: str) -> AsyncIterator[list[BlobInfo]]:
    """The multipart uploads, which are few. Not all stores list them in the order of their keys, or go on behind any."""
    found: list[BlobInfo] = []
    last, more = Unfinished("", ""), True
    while more:
        page, last, more = await bucket.call(_page_of_uploads, bucket, last)
        found += [info for info in page if info.key > after and unfinished(info.key)]
    found.sort()
    for start in range(0, len(found), BLOBS_AT_ONCE):
        yield [await bucket.call(_with_parts, bucket, info) for info in found[start : start + BLOBS_AT_ONCE]]


def _page_of_uploads(bucket: Bucket, after: Unfinished) -> tuple[list[BlobInfo], Unfinished, bool]:
    """Up to 1000 multipart uploads, where the next page begins, and whether there is one. Blocks.

    What is told is when each began, and nothing of its parts.
    """
    prefix = bucket.options.prefix
    answer = bucket.client.list_multipart_uploads(
        Bucket=bucket.name, Prefix=f"{prefix}attachments/", KeyMarker=after.key, UploadIdMarker=after.id
    )
    found = [
        BlobInfo(f"{UNFINISHED}{one['Key'].removeprefix(prefix)}/{one['UploadId']}", 0, one["Initiated"].timestamp(), True)
        for one in answer.get("Uploads", [])
    ]
    behind = Unfinished(answer.get("NextKeyMarker", ""), answer.get("NextUploadIdMarker", ""))
    return found, behind, answer["IsTruncated"] and behind != after


def _with_parts(bucket: Bucket, info: BlobInfo) -> BlobInfo:
    """The upload with the size of its parts, as old as the last that came: a slow client may be at it for longer than an hour.

    Blocks.
    """
    upload = unfinished(info.key)
    if upload is None:
        return info
    try:
        parts = bucket.list_parts(upload.key, upload.id)
    except ClientError as error:
        if not is_missing(error):
            raise
        return info  # it was completed or aborted meanwhile
    latest = max((part["LastModified"].timestamp() for part in parts), default=0.0)
    size, modified_at = sum(part["Size"] for part in parts), max(latest, info.modified_at)
    return BlobInfo(info.key, size, modified_at, unfinished=True)
