"""A store on S3 and its direct uploads, for the tests of these: with small parts, and a part of the bucket of its own."""

import functools
from typing import TYPE_CHECKING, Any

from schemas import CreateUploadInput, FormUpload, PartsUpload, Principal
from storage import MEBIBYTE, Options, Policy, S3Options, Store, api_a, open_store
from tests.engines.backing import PATIENT
from tests.engines.s3 import SharedS3
from tests.engines.seaweedfs import BUCKET

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

PART = 5 * MEBIBYTE  # the smallest part that S3 allows but for the last
LIMIT = 64 * MEBIBYTE
POLICY = api_a(LIMIT, LIMIT)  # pictures may be of several parts
ME = Principal(kind="session", user_id="user-1", organization_id="org-1", role="member")


class Site:
    """The bucket as one test sees it, and stores on it; each store is as a process of its own would be."""

    def __init__(self, s3: SharedS3, database_url: str) -> None:
        self._settings = s3.fresh_prefix()
        self._shared = s3
        self._database_url = database_url

    @functools.cached_property
    def _s3(self) -> "S3Client":
        return self._shared.client()

    @property
    def prefix(self) -> str:
        """What the keys of this test begin with."""
        return self._settings["ATTACHD_UPLOAD_S3_PREFIX"]

    async def open(self, policy: Policy = POLICY, **options: Any) -> Store:
        """Open a store on it."""
        bucket = S3Options(
            bucket=BUCKET,
            prefix=self.prefix,
            endpoint_url=self._settings["ATTACHD_UPLOAD_S3_ENDPOINT_URL"],
            region=self._settings["ATTACHD_UPLOAD_S3_REGION"],
            access_key=self._settings["ATTACHD_UPLOAD_S3_ACCESS_KEY"],
            secret_key=self._settings["ATTACHD_UPLOAD_S3_SECRET_KEY"],
            part_bytes=PART,
        )
        return await open_store(
            database_url=self._database_url,
            bucket=bucket,
            database_options=PATIENT,
            policy=policy,
            options=Options(**options),
        )

    def keys(self) -> list[str]:
        """The keys of all objects, without the prefix."""
        listed = self._s3.list_objects_v2(Bucket=BUCKET, Prefix=self.prefix).get("Contents", [])
        return [one["Key"].removeprefix(self.prefix) for one in listed]

    def unfinished(self) -> list[str]:
        """The keys of all multipart uploads under way, without the prefix."""
        listed = self._s3.list_multipart_uploads(Bucket=BUCKET, Prefix=self.prefix).get("Uploads", [])
        return [one["Key"].removeprefix(self.prefix) for one in listed]

    def put(self, key: str, content: bytes) -> None:
        """Put an object there, as nobody but an operator can."""
        self._s3.put_object(Bucket=BUCKET, Key=self.prefix + key, Body=content)

    def begin_parts(self, key: str) -> None:
        """Begin a multipart upload, as nobody but an operator can."""
        self._s3.create_multipart_upload(Bucket=BUCKET, Key=self.prefix + key)

    def is_empty(self) -> bool:
        """Nothing is kept, whole or in parts."""
        return self.keys() == [] and self.unfinished() == []


async def plan(store: Store, size: int, filename: str = "a.png", who: Principal = ME, **more: Any) -> FormUpload | PartsUpload:
    """What `createUpload` answers."""
    return await store.attachments.direct.create(who, CreateUploadInput(filename=filename, size=size, **more))


async def read(store: Store, id: str) -> bytes:
    """The file of an attachment."""
    async with await store.attachments.download(ME, id) as download:
        return bytes(await download.read(0, download.record.size))


async def digest(store: Store, id: str) -> bytes:
    """The SHA-256 that the row of an attachment has."""
    async with await store.attachments.download(ME, id) as download:
        return download.record.sha256
