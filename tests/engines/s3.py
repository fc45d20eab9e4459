"""One S3-compatible store for all tests of a run, with one bucket, and a prefix of its own in it for each test."""

import uuid
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from server.settings import load_settings
from server.upload_rules import s3_options
from storage import S3Options
from tests.engines.keeping import join
from tests.engines.seaweedfs import ACCESS_KEY, BUCKET, REGION, SECRET_KEY, client

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


class SharedS3:
    """The store of the run, as one worker sees it: started by the first that asks, stopped after the last."""

    def __init__(self, folder: Path) -> None:
        """`folder` is one that all workers of the run have in common."""
        self._folder = folder
        self._url = ""
        self._held: TextIO | None = None

    @property
    def url(self) -> str:
        """The endpoint; not to be stopped by a test, which starts a `SeaweedFS` of its own for that."""
        if not self._url:
            self._held, told = join(self._folder, "seaweedfs", "tests.engines.seaweedfs_keeper")
            self._url = told["url"]
        return self._url

    def client(self) -> "S3Client":
        """A client with all permissions."""
        return client(self.url)

    def fresh_prefix(self) -> dict[str, str]:
        """Settings, as variables of the environment, of a part of the bucket that nobody else uses."""
        return settings_of(self.url, f"{uuid.uuid4().hex}/")

    def close(self) -> None:
        """Need the store no more."""
        if self._held is not None:
            self._held.close()


def settings_of(url: str, prefix: str = "") -> dict[str, str]:
    """Settings, as variables of the environment, of the bucket at that endpoint."""
    upload = {
        "backend": "s3",
        "s3_endpoint_url": url,
        "s3_bucket": BUCKET,
        "s3_region": REGION,
        "s3_access_key": ACCESS_KEY,
        "s3_secret_key": SECRET_KEY,
        "s3_prefix": prefix,
    }
    return {f"ATTACHD_UPLOAD_{key}".upper(): value for key, value in upload.items()}


def options_of(settings: dict[str, str]) -> S3Options:
    """What the storage makes of such settings."""
    options = s3_options(load_settings(None, settings).upload)
    assert options is not None
    return options
