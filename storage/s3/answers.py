"""What a store says that it keeps, compared with what was sent: an answer that cannot be right is no acknowledgement."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from storage.s3.client import Where
from storage.s3.errors import WrongAnswerError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import CompletedPartTypeDef

_MD5 = re.compile(r"[0-9a-f]{32}")


def check_etag(answer: Mapping[str, Any], md5: bytes, what: str) -> None:
    """Compare the ETag of an object or a part, which is its MD5 unless a KMS has the key. Raises WrongAnswerError.

    With a KMS the ETag is something else, and that the store compared the Content-MD5 must do.
    Source: Amazon S3 API reference, Object: "ETag".
    """
    if str(answer.get("ServerSideEncryption", "")).startswith("aws:kms"):
        return
    if etag_of(answer) != md5.hex():
        raise WrongAnswerError(what="ETag", key=what, answer=f"{answer.get('ETag')} instead of {md5.hex()}")


def check_completed(
    client: "S3Client",
    where: Where,
    answer: Mapping[str, Any] | None,
    parts: "Sequence[CompletedPartTypeDef]",
    size: int,
) -> None:
    """Make sure that a multipart upload became an object; without an answer, or with a strange one, by looking at it.

    Each part was compared when it was sent. Raises WrongAnswerError.
    """
    if answer is not None and etag_of(answer) == _etag_of_parts(parts):
        return
    found = client.head_object(**where)
    if found["ContentLength"] != size or (
        answer is not None and etag_of(found) not in (etag_of(answer), _etag_of_parts(parts))
    ):
        message = f"{found['ContentLength']} bytes, {found['ETag']}, instead of {size} bytes in {len(parts)} parts"
        raise WrongAnswerError(what="object", key=where["Key"], answer=message)


def etag_of(answer: Mapping[str, Any]) -> str:
    """The ETag without its quotes."""
    return str(answer.get("ETag", "")).strip('"')


def _etag_of_parts(parts: "Sequence[CompletedPartTypeDef]") -> str:
    """What S3 makes of the MD5s of the parts; "" when their ETags are none."""
    etags = [etag_of(part) for part in parts]
    if not all(_MD5.fullmatch(etag) for etag in etags):
        return ""
    return f"{hashlib.md5(bytes.fromhex(''.join(etags)), usedforsecurity=False).hexdigest()}-{len(etags)}"
