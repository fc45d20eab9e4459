"""What can be set of the bytes. A module of its own for length; `server/setting_types.py` says what settings are."""

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta


class UploadSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[upload]`: where the bytes are, and how many."""

    backend: Annotated[str, Meta(description="`local`: a folder; `s3`: a bucket of an S3-compatible store.")] = "local"
    directory: Annotated[Path, Meta(description="Folder of the bytes; made when missing.")] = Path("data/blobs")
    fallback: Annotated[
        str,
        Meta(
            description="Where bytes are read that are not yet at `backend`, while they are moved: `local`, `s3`, or neither."
        ),
    ] = ""
    max_file_size_mb: Annotated[int, Meta(ge=1, le=1_048_576, description="MiB of a file that is not an image.")] = 25
    max_image_size_mb: Annotated[int, Meta(ge=1, le=1_048_576, description="MiB of an image.")] = 10
    idle_timeout_seconds: Annotated[
        float, Meta(gt=0, le=3600, description="Seconds without a byte after which an upload is given up.")
    ] = 60.0
    s3_bucket: Annotated[str, Meta(description="Name of the bucket; needed with `s3`.")] = ""
    s3_region: Annotated[str, Meta(description="Its region, such as `eu-central-1`; by default boto3 looks for one.")] = ""
    s3_access_key: Annotated[
        str, Meta(description="Id of the access key; by default boto3 looks for one: environment, files, role of the machine.")
    ] = ""
    s3_secret_key: Annotated[str, Meta(description="Its secret.", extra={"secret": True})] = ""
    s3_url_expiry: Annotated[
        str, Meta(description="How long pre-signed URLs hold: a number with `s`, `m`, `h` or `d`, up to `7d`.")
    ] = "24h"
    s3_endpoint_url: Annotated[
        str, Meta(description="Where the store is, such as `https://s3.example.com`; by default AWS, in the region.")
    ] = ""
    s3_public_endpoint_url: Annotated[
        str, Meta(description="Where clients reach it, if elsewhere: pre-signed URLs begin with it, nothing else uses it.")
    ] = ""
    s3_prefix: Annotated[
        str, Meta(description="What keys begin with, such as `files/`, so that others can use the bucket, too.")
    ] = ""
    s3_addressing: Annotated[
        str,
        Meta(description="`path`, `virtual` (the bucket's name in the host's), or `auto`: `virtual` on AWS, else `path`."),
    ] = "auto"
    s3_proxy: Annotated[bool, Meta(description="Hand the bytes over instead of redirecting clients to pre-signed URLs.")] = (
        False
    )
    s3_part_size_mb: Annotated[
        int, Meta(ge=5, le=5120, description="MiB of a part; files of more than one are sent in several.")
    ] = 8
    s3_spool_directory: Annotated[
        str, Meta(description="Folder where parts wait until they are whole; by default the system's for temporary files.")
    ] = ""
    s3_connections: Annotated[int, Meta(ge=1, le=500, description="Calls to the store at once in each worker process.")] = 32
    s3_connect_timeout_seconds: Annotated[
        float, Meta(gt=0, le=300, description="Seconds to wait for a connection to the store.")
    ] = 5.0
    s3_read_timeout_seconds: Annotated[
        float, Meta(gt=0, le=300, description="Seconds to wait for the store's next byte, or for it to take one.")
    ] = 20.0
    s3_attempts: Annotated[int, Meta(ge=1, le=10, description="How often a call is made before it has failed.")] = 3
    s3_server_side_encryption: Annotated[
        str, Meta(description="Ask the store to encrypt: `AES256` or `aws:kms`; by default as the bucket has it.")
    ] = ""
    s3_kms_key_id: Annotated[str, Meta(description="Which key of the KMS; by default the bucket's.")] = ""
    direct_expiry_seconds: Annotated[
        int, Meta(ge=60, le=604_800, description="Seconds for which the URLs of a direct upload are good.")
    ] = 3_600
    direct_max_open: Annotated[int, Meta(ge=1, le=100_000, description="Direct uploads that a caller may have under way.")] = (
        100
    )
