"""Which answers of a store are an acknowledgement."""

import hashlib
from typing import Any

import pytest

from storage.s3.answers import check_etag
from storage.s3.errors import WrongAnswerError

MD5 = hashlib.md5(b"x", usedforsecurity=False).digest()
OTHER = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    "answer",
    [
        {"ETag": f'"{MD5.hex()}"'},
        {"ETag": MD5.hex()},
        {"ETag": f'"{MD5.hex()}"', "ServerSideEncryption": "AES256"},
        # A KMS has the key: the tag is none of the bytes, and the store has compared the Content-MD5.
        {"ETag": f'"{OTHER}"', "ServerSideEncryption": "aws:kms"},
        {"ETag": f'"{OTHER}"', "ServerSideEncryption": "aws:kms:dsse"},
    ],
)
def test_the_tag_is_the_md5_unless_a_kms_has_the_key(answer: dict[str, Any]) -> None:
    check_etag(answer, MD5, "x")


@pytest.mark.parametrize(
    "answer", [{}, {"ETag": ""}, {"ETag": f'"{OTHER}"'}, {"ETag": f'"{OTHER}"', "ServerSideEncryption": "AES256"}]
)
def test_another_tag_is_no_acknowledgement(answer: dict[str, Any]) -> None:
    with pytest.raises(WrongAnswerError, match=f"ETag of the part: .*instead of {MD5.hex()}"):
        check_etag(answer, MD5, "the part")
