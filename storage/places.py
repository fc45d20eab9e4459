"""From what names a place for blobs to the place."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from schemas import Code, ServiceError
from storage.blobs import Blobs
from storage.diagnosis import Diagnosis
from storage.disk import DiskBlobs
from storage.disk.diagnosis import examine_folder
from storage.options import S3Options


def open_blobs(place: Path | S3Options, *, create: bool = True) -> Blobs:
    """The blobs of a folder, which is made if need be and `create` allows it, or of a bucket, which is not asked yet.

    Raises SERVICE_UNAVAILABLE with what to mend.
    """
    return _open_folder(place, create=create) if isinstance(place, Path) else _open_bucket(place)


async def examine_blobs(place: Path | S3Options, origins: Sequence[str] = ()) -> list[Diagnosis]:
    """How it is with a folder or a bucket, for operators: found out by writing and reading a few bytes.

    `origins` are those of pages that may want to send files to the bucket themselves.
    """
    if isinstance(place, Path):
        return await asyncio.to_thread(examine_folder, place)
    from storage.s3.diagnosis import examine_bucket  # noqa: PLC0415

    return await examine_bucket(place, origins)


def _open_folder(directory: Path, *, create: bool) -> Blobs:
    if not create and not directory.is_dir():  # an unmounted disk, say, which must not look like an empty one
        raise ServiceError(Code.SERVICE_UNAVAILABLE, f"there is no storage directory {directory}")
    try:
        return DiskBlobs(directory)
    except OSError as error:
        message = f"cannot use the storage directory {directory}: {error.strerror}"
        raise ServiceError(Code.SERVICE_UNAVAILABLE, message) from error


def _open_bucket(options: S3Options) -> Blobs:
    from storage.s3 import S3Blobs  # noqa: PLC0415 (boto3 is for those who use it: 25 MB)

    try:
        return S3Blobs(options)
    except ValueError as error:
        raise ServiceError(Code.SERVICE_UNAVAILABLE, f"cannot use S3: {error}") from error
