"""What the settings of the bytes must keep together, and the options of the storage that they come to."""

import ipaddress
import re
from pathlib import Path
from urllib.parse import urlsplit

from server.upload_settings import UploadSettings
from storage import MEBIBYTE, S3Options

BACKENDS = ("local", "s3")
_ADDRESSING = ("auto", "path", "virtual")
_ENCRYPTION = ("", "AES256", "aws:kms")
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_MAX_EXPIRY_S = 7 * 86_400  # the most that signature version 4 allows
_MAX_PARTS = 10_000  # of one object (Amazon S3, multipart upload limits)
_PREFIX = re.compile(r"(?:(?!\.\.)[A-Za-z0-9._-]+/)*\Z")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{1,255}\Z")  # names, and ARNs of access points


def check_upload(upload: UploadSettings) -> None:
    """Raises ValueError with the setting's name and what to write instead."""
    if upload.backend not in BACKENDS:
        raise ValueError(f'upload.backend: unknown backend {upload.backend!r}; write "local" or "s3"')
    if not upload.directory.name:
        raise ValueError("upload.directory must name a folder of its own, such as ./data/blobs")
    if upload.max_image_size_mb > upload.max_file_size_mb:
        raise ValueError(
            f"upload.max_image_size_mb ({upload.max_image_size_mb}) is more than upload.max_file_size_mb "
            f"({upload.max_file_size_mb}); lower the first or raise the second"
        )
    if upload.fallback not in ("", *BACKENDS) or upload.fallback == upload.backend:
        raise ValueError('upload.fallback must be "local" or "s3", the one that upload.backend is not, or be left out')
    if "s3" in (upload.backend, upload.fallback):
        check_s3(upload)


def check_s3(upload: UploadSettings) -> None:
    """As `check_upload`, of what names the bucket."""
    if not _BUCKET.match(upload.s3_bucket):
        raise ValueError(
            'upload.s3_bucket must name a bucket when upload.backend is "s3", or the bytes are moved from or to it'
        )
    if bool(upload.s3_access_key) != bool(upload.s3_secret_key):
        raise ValueError("upload.s3_access_key and upload.s3_secret_key are needed together, or neither")
    if not _PREFIX.match(upload.s3_prefix):
        raise ValueError(
            'upload.s3_prefix must be folders of letters, digits and ._- with a slash behind each, such as "files/"'
        )
    _check_one_of("s3_addressing", upload.s3_addressing, _ADDRESSING)
    _check_one_of("s3_server_side_encryption", upload.s3_server_side_encryption, _ENCRYPTION)
    if upload.s3_kms_key_id and upload.s3_server_side_encryption != "aws:kms":
        raise ValueError('upload.s3_kms_key_id needs upload.s3_server_side_encryption = "aws:kms"')
    for name in ("s3_endpoint_url", "s3_public_endpoint_url"):
        _check_endpoint(name, getattr(upload, name), virtual=upload.s3_addressing == "virtual")
    url_expiry_s(upload)
    if upload.max_file_size_mb > upload.s3_part_size_mb * _MAX_PARTS:
        raise ValueError(
            f"upload.max_file_size_mb ({upload.max_file_size_mb}) is more than {_MAX_PARTS} parts of upload.s3_part_size_mb "
            f"({upload.s3_part_size_mb}); raise the second"
        )


def _check_one_of(key: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        listed = ", ".join(f'"{one}"' for one in known if one)
        raise ValueError(f"upload.{key}: unknown {value!r}; write one of {listed}")


def _check_endpoint(key: str, url: str, *, virtual: bool) -> None:
    if not url:
        return
    host = _host_of(url)
    if host is None:  # it is not shown: somebody may have written a password into it
        raise ValueError(f'upload.{key} must be the URL of an S3 endpoint, such as "https://s3.example.com"')
    if virtual and _is_address(host):
        raise ValueError(f'upload.{key}: a bucket cannot stand before an address; write upload.s3_addressing = "path"')


def _host_of(url: str) -> str | None:
    """The host of an endpoint's URL; None if it is none."""
    try:
        parts = urlsplit(url)
        usable = parts.port != 0 and parts.scheme in {"http", "https"}
    except ValueError:
        return None
    extra = parts.query or parts.fragment or parts.username or parts.password
    return parts.hostname if usable and not extra else None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def url_expiry_s(upload: UploadSettings) -> int:
    """`upload.s3_url_expiry` in seconds. Raises ValueError."""
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", upload.s3_url_expiry, re.ASCII)
    seconds = int(match[1]) * _UNITS_S[match[2]] if match else 0
    if not 0 < seconds <= _MAX_EXPIRY_S:
        raise ValueError(f'upload.s3_url_expiry must be such as "15m" or "24h", up to "7d", not {upload.s3_url_expiry!r}')
    return seconds


def s3_options(upload: UploadSettings) -> S3Options | None:
    """The bucket of the settings, which were checked; None when the bytes are in a folder."""
    return bucket_options(upload) if upload.backend == "s3" else None


def fallback_of(upload: UploadSettings) -> Path | S3Options | None:
    """Where bytes are read that are not yet where new ones go; None when they are not being moved."""
    return place_of(upload, upload.fallback) if upload.fallback else None


def place_of(upload: UploadSettings, backend: str) -> Path | S3Options:
    """The folder or the bucket of the settings, which were checked."""
    return bucket_options(upload) if backend == "s3" else upload.directory


def bucket_options(upload: UploadSettings) -> S3Options:
    """The bucket of the settings, used or not."""
    return S3Options(
        bucket=upload.s3_bucket,
        region=upload.s3_region,
        access_key=upload.s3_access_key,
        secret_key=upload.s3_secret_key,
        endpoint_url=upload.s3_endpoint_url,
        public_endpoint_url=upload.s3_public_endpoint_url,
        prefix=upload.s3_prefix,
        addressing=upload.s3_addressing,
        proxy=upload.s3_proxy,
        connections=upload.s3_connections,
        attempts=upload.s3_attempts,
        server_side_encryption=upload.s3_server_side_encryption,
        kms_key_id=upload.s3_kms_key_id,
        url_expiry_s=url_expiry_s(upload),
        part_bytes=upload.s3_part_size_mb * MEBIBYTE,
        spool_directory=Path(upload.s3_spool_directory) if upload.s3_spool_directory else None,
        connect_timeout_s=upload.s3_connect_timeout_seconds,
        read_timeout_s=upload.s3_read_timeout_seconds,
    )
