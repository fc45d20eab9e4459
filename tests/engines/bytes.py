"""Where attachd keeps bytes in tests, seen and touched beside the program."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


class Bytes(Protocol):
    """A place for bytes of a test's own. Keys are those of the program's blobs."""

    settings: dict[str, str]

    def kept(self) -> set[str]:
        """All that is kept, unfinished uploads too."""
        ...

    def read(self, key: str) -> bytes:
        """The bytes of a blob."""
        ...

    def write(self, key: str, content: bytes) -> None:
        """Keep a blob, over what is there."""
        ...

    def remove(self, key: str) -> None:
        """Lose a blob."""
        ...


class LocalBytes:
    """A folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = {"ATTACHD_UPLOAD_DIRECTORY": str(folder)}

    def kept(self) -> set[str]:
        """See `Bytes`."""
        found: set[str] = set()
        for folder, _, names in os.walk(self.folder):  # unlike Path.rglob, it passes over what goes away meanwhile
            found.update(str(Path(folder, name).relative_to(self.folder)) for name in names)
        return found

    def read(self, key: str) -> bytes:
        """See `Bytes`."""
        return (self.folder / key).read_bytes()

    def write(self, key: str, content: bytes, age_s: float = 0) -> None:
        """See `Bytes`; last written so many seconds ago."""
        path = self.folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (time.time() - age_s,) * 2)

    def remove(self, key: str) -> None:
        """See `Bytes`."""
        (self.folder / key).unlink()


class S3Bytes:
    """What begins with a prefix in a bucket. The server hands the bytes over, as the tests of every API expect them; redirects
    have tests of their own.
    """

    def __init__(self, client: "S3Client", settings: dict[str, str]) -> None:
        self.settings = {**settings, "ATTACHD_UPLOAD_S3_PROXY": "true"}
        self._client = client
        self._bucket, self._prefix = settings["ATTACHD_UPLOAD_S3_BUCKET"], settings["ATTACHD_UPLOAD_S3_PREFIX"]

    def kept(self) -> set[str]:
        """See `Bytes`; an unfinished multipart upload has its id behind its key."""
        found: set[str] = set()
        for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix):
            found.update(item["Key"] for item in page.get("Contents", ()))
        for part in self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self._bucket, Prefix=self._prefix):
            found.update(f"{item['Key']}?uploadId={item['UploadId']}" for item in part.get("Uploads", ()))
        return {key.removeprefix(self._prefix) for key in found}

    def read(self, key: str) -> bytes:
        """See `Bytes`."""
        return self._client.get_object(Bucket=self._bucket, Key=self._prefix + key)["Body"].read()

    def write(self, key: str, content: bytes) -> None:
        """See `Bytes`."""
        self._client.put_object(Bucket=self._bucket, Key=self._prefix + key, Body=content)

    def remove(self, key: str) -> None:
        """See `Bytes`."""
        self._client.delete_object(Bucket=self._bucket, Key=self._prefix + key)
