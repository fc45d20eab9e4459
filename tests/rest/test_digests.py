"""Digest fields (RFC 9530), read as structured fields (RFC 9651)."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rest.digests import digest_field, sha256_of
from schemas import Code, ServiceError

SHA256 = hashlib.sha256(b'{"hello": "world"}').digest()
FIELD = b"sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"  # RFC 9530, B.1


def test_writes_the_example_of_the_rfc() -> None:
    assert digest_field(SHA256) == FIELD


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(FIELD, id="alone"),
        pytest.param(b"  " + FIELD + b" ", id="blanks around"),
        pytest.param(b"sha-512=:AAAA:, " + FIELD, id="after another"),
        pytest.param(FIELD + b"\t,\tmd5=:AAAA:", id="before another"),
        pytest.param(FIELD + b", sha-512", id="before a bare key"),
        pytest.param(FIELD + b";a;b=1;c=?0", id="parameters"),
        pytest.param(FIELD.replace(b"=:", b"=:", 1).replace(b"E=:", b"E:"), id="no padding"),
        pytest.param(b"sha-256=:AAAA:, ".replace(b"AAAA", b"A" * 43 + b"=") + FIELD, id="the last of one key counts"),
        pytest.param(b'a, b=?1, c="x\\"y", d=tok/en, e=-1.5, *f=7;g="h", ' + FIELD, id="any other items"),
    ],
)
def test_finds_sha256(value: bytes) -> None:
    assert sha256_of("Content-Digest", value) == SHA256


@pytest.mark.parametrize(
    "value", [b"", b"  ", b"sha-512=:AAAA:", b"md5=:AAAA:, crc32c=:AA==:", b"unixsum=1", b"sha-2567=:AAAA:"]
)
def test_ignores_other_algorithms(value: bytes) -> None:
    assert sha256_of("Content-Digest", value) is None


@pytest.mark.parametrize(
    "value",
    [
        b"sha-256",
        b"sha-256=",
        b"sha-256=::",
        b"sha-256=?1",
        b"sha-256=AAAA",
        b"sha-256=" + base64.b64encode(SHA256),
        b'sha-256="' + base64.b64encode(SHA256) + b'"',
        b"sha-256=:" + SHA256.hex().encode() + b":",
        b"sha-256=:" + base64.b64encode(SHA256[:31]) + b":",
        b"sha-256=:" + base64.b64encode(SHA256 + b"x") + b":",
        b"sha-256=:" + base64.urlsafe_b64encode(b"\xff" * 32) + b":",
        b"sha-256=:====:",
        b"sha-256=:A=AA:",
        b"sha-256=:A:",
        FIELD + b",",
        b"," + FIELD,
        FIELD + b" " + FIELD,
        FIELD.upper(),
        b"SHA-256=" + FIELD[8:],
        b"sha-256 = " + FIELD[8:],
        b"sha-512=(1 2), " + FIELD,
        FIELD + b"\0",
        b"\xff",
    ],
)
def test_refuses_the_malformed(value: bytes) -> None:
    with pytest.raises(ServiceError) as caught:
        sha256_of("Content-Digest", value)
    assert caught.value.code is Code.BAD_REQUEST
    assert caught.value.message == "Content-Digest is malformed: it must read `sha-256=:<base64 of 32 bytes>:`"


@given(st.binary(min_size=32, max_size=32))
def test_any_digest_survives_the_round_trip(digest: bytes) -> None:
    assert sha256_of("Repr-Digest", digest_field(digest)) == digest


@given(
    st.binary(max_size=40)
    | st.lists(st.sampled_from([FIELD, b"a", b"=", b":", b",", b" ", b";", b'"', b"?1", b"\\"]), max_size=10).map(b"".join)
)
def test_any_bytes_give_a_digest_none_or_an_error(value: bytes) -> None:
    try:
        found = sha256_of("Content-Digest", value)
    except ServiceError:
        return
    assert found is None or found == SHA256
