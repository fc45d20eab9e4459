"""The settings of a bucket: what cannot be used stops the start with one line, the rest comes to the storage as meant."""

from pathlib import Path

import pytest

from server.settings import SettingsError, load_settings
from server.upload_rules import s3_options
from storage import S3Options

S3 = {"ATTACHD_UPLOAD_BACKEND": "s3", "ATTACHD_UPLOAD_S3_BUCKET": "files"}
SECRET = "hunter2-hunter2"


def options(**settings: str) -> S3Options:
    """What comes of these settings of `[upload]`, named without `s3_`."""
    environ = S3 | {f"ATTACHD_UPLOAD_S3_{key.upper()}": value for key, value in settings.items()}
    found = s3_options(load_settings(None, environ).upload)
    assert found is not None
    return found


def test_a_folder_is_no_bucket() -> None:
    assert s3_options(load_settings(None, {}).upload) is None


def test_the_defaults() -> None:
    assert options() == S3Options(bucket="files")


def test_every_setting_comes_to_the_storage() -> None:
    found = options(
        region="eu-central-1",
        access_key="id",
        secret_key=SECRET,
        url_expiry="15m",
        endpoint_url="https://s3.example.com:9000/storage/v1/s3",
        public_endpoint_url="http://files.example.com",
        prefix="a/b-c/",
        addressing="virtual",
        proxy="true",
        part_size_mb="5",
        spool_directory="/var/spool/attachd",
        connections="7",
        connect_timeout_seconds="1.5",
        read_timeout_seconds="2.5",
        attempts="4",
        server_side_encryption="aws:kms",
        kms_key_id="key",
    )
    assert found == S3Options(
        bucket="files",
        region="eu-central-1",
        access_key="id",
        secret_key=SECRET,
        url_expiry_s=900,
        endpoint_url="https://s3.example.com:9000/storage/v1/s3",
        public_endpoint_url="http://files.example.com",
        prefix="a/b-c/",
        addressing="virtual",
        proxy=True,
        part_bytes=5 * 2**20,
        spool_directory=Path("/var/spool/attachd"),
        connections=7,
        connect_timeout_s=1.5,
        read_timeout_s=2.5,
        attempts=4,
        server_side_encryption="aws:kms",
        kms_key_id="key",
    )
    assert SECRET not in repr(found)


@pytest.mark.parametrize(("text", "seconds"), [("1s", 1), ("15m", 900), ("24h", 86_400), ("7d", 604_800)])
def test_how_long_links_hold(text: str, seconds: int) -> None:
    assert options(url_expiry=text).url_expiry_s == seconds


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param({"bucket": "a b"}, "upload.s3_bucket must name a bucket", id="bucket"),
        pytest.param({"secret_key": SECRET}, "upload.s3_access_key and upload.s3_secret_key are needed together", id="no-id"),
        pytest.param({"access_key": "id"}, "upload.s3_access_key and upload.s3_secret_key are needed together", id="no-secret"),
        *[
            pytest.param({"url_expiry": text}, 'upload.s3_url_expiry must be such as "15m" or "24h", up to "7d"', id=text)
            for text in ("0s", "8d", "168h1m", "24", "h", "-1h", "٣h")
        ],
        *[
            pytest.param(
                {key: url},
                f"upload.s3_{key} must be the URL of an S3 endpoint, such as",
                id=f"{key.split('_', maxsplit=1)[0]}-{url}",
            )
            for key in ("endpoint_url", "public_endpoint_url")
            for url in (
                f"https://u:{SECRET}@s3",
                "s3.example.com",
                "ftp://s3",
                "https://",
                "https://s3?x",
                "https://s3:x",
                "http://[",
            )
        ],
        pytest.param(
            {"endpoint_url": "http://127.0.0.1:1", "addressing": "virtual"},
            'upload.s3_endpoint_url: a bucket cannot stand before an address; write upload.s3_addressing = "path"',
            id="virtual-address",
        ),
        pytest.param({"addressing": "x"}, 'upload.s3_addressing: unknown \'x\'; write one of "auto", "path"', id="addressing"),
        pytest.param({"server_side_encryption": "x"}, "upload.s3_server_side_encryption: unknown 'x'", id="encryption"),
        pytest.param({"kms_key_id": "x"}, 'upload.s3_kms_key_id needs upload.s3_server_side_encryption = "aws:kms"', id="kms"),
        *[
            pytest.param({"prefix": prefix}, "upload.s3_prefix must be", id=prefix)
            for prefix in ("a", "/", "/a/", "a//", "../", "ä/")
        ],
        pytest.param({"part_size_mb": "4"}, "ATTACHD_UPLOAD_S3_PART_SIZE_MB must be a whole number from 5 to 5120", id="part"),
    ],
)
def test_what_cannot_be_used(settings: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        options(**settings)
    assert str(caught.value).startswith(message)
    assert SECRET not in str(caught.value)


def test_a_file_has_at_most_ten_thousand_parts() -> None:
    environ = S3 | {"ATTACHD_UPLOAD_S3_PART_SIZE_MB": "5", "ATTACHD_UPLOAD_MAX_FILE_SIZE_MB": "50001"}
    with pytest.raises(SettingsError, match=r"upload\.max_file_size_mb \(50001\) is more than 10000 parts"):
        load_settings(None, environ)
    load_settings(None, environ | {"ATTACHD_UPLOAD_S3_PART_SIZE_MB": "6"})
