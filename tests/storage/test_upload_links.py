"""Signatures of links in the way of API B: pure functions."""

import hmac
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import Code, ServiceError
from storage import signing
from storage.signing import KeyRing, SigningKey, key_id

NEW, OLD = SigningKey("new", b"n" * 32), SigningKey("old", b"o" * 32)
RING = KeyRing((NEW, OLD))
SUBJECT, EXPIRES_AT = "upload/a", 2_000_000_000
LINK = RING.sign_upload(SUBJECT, EXPIRES_AT)
SIGNATURE = LINK.split("&")[0].removeprefix("sig=")
UNNAMED = LINK.replace("&kid=new", "")


def code_of(query: str, *, subject: str = SUBJECT, now: float = EXPIRES_AT - 1, ring: KeyRing = RING) -> Code | None:
    """The code that the link is refused with, None if it is accepted."""
    try:
        ring.verify_upload(subject, query.encode(), now)
    except ServiceError as error:
        return error.code
    return None


def test_a_link_begins_as_it_is_documented() -> None:
    assert f"sig={SIGNATURE}&exp={EXPIRES_AT}&kid=new" == LINK
    assert len(SIGNATURE) == 43


@pytest.mark.parametrize(
    "query",
    [
        LINK,
        UNNAMED,
        "&".join(reversed(LINK.split("&"))),
        f"utm_source=mail&{LINK}&x=1&x=2",
        f"{LINK}&download=1",
        f"{LINK}&download=0",
    ],
)
def test_a_right_link_is_accepted(query: str) -> None:
    assert code_of(query) is None
    assert code_of(query, ring=KeyRing((SigningKey("newer", b"x" * 32), NEW))) is None
    assert code_of(query, ring=KeyRing((OLD,))) is Code.FORBIDDEN
    assert code_of(query, ring=KeyRing(())) is Code.FORBIDDEN


@pytest.mark.parametrize(("late_s", "expected"), [(-1, None), (0, None), (0.999, None), (1, Code.UNAUTHORIZED)])
@pytest.mark.parametrize("query", [LINK, UNNAMED])
def test_a_link_holds_up_to_and_including_its_second(query: str, late_s: float, expected: Code | None) -> None:
    assert code_of(query, now=EXPIRES_AT + late_s) is expected


WRONG = {
    "truncated": LINK.replace(SIGNATURE, SIGNATURE[:-1]),
    "truncated-to-nothing": LINK.replace(SIGNATURE, ""),
    "longer": LINK.replace(SIGNATURE, f"{SIGNATURE}A"),
    "padded": LINK.replace(SIGNATURE, f"{SIGNATURE}="),
    "padded-in-percent": LINK.replace(SIGNATURE, f"{SIGNATURE}%3D"),
    "last-bits-changed": LINK.replace(SIGNATURE, SIGNATURE[:-1] + chr(ord(SIGNATURE[-1]) ^ 1)),
    "other-case": LINK.replace(SIGNATURE, SIGNATURE.swapcase()),
    "not-ascii": LINK.replace(SIGNATURE, "%C3%A4" * 43),
    "other-expiry": LINK.replace(str(EXPIRES_AT), str(EXPIRES_AT + 1)),
    "leading-zero": LINK.replace("exp=", "exp=0"),
    "expiry-with-a-sign": LINK.replace("exp=", "exp=%2B"),
    "expiry-not-a-number": LINK.replace(str(EXPIRES_AT), "never"),
    "expiry-a-fraction": LINK.replace(str(EXPIRES_AT), f"{EXPIRES_AT}.0"),
    "expiry-in-other-digits": LINK.replace(str(EXPIRES_AT), "%D9%A3" * 10),
    "expiry-too-long": LINK.replace(str(EXPIRES_AT), "9" * 400),
    "expiry-empty": LINK.replace(str(EXPIRES_AT), ""),
    "other-key": LINK.replace("kid=new", "kid=old"),
    "unknown-key": LINK.replace("kid=new", "kid=none"),
    "empty-key": LINK.replace("kid=new", "kid="),
    "signature-twice": f"{LINK}&sig={SIGNATURE}",
    "expiry-twice": f"{LINK}&exp={EXPIRES_AT}",
    "another-expiry-first": f"exp={EXPIRES_AT + 9}&{LINK}",
    "key-twice": f"kid=new&{LINK}",
    "no-signature": LINK.partition("&")[2],
    "no-expiry": LINK.replace(f"&exp={EXPIRES_AT}", ""),
    "too-many-parameters": "&".join(["x=1"] * 40) + f"&{LINK}",
    "signed-by-another-secret": KeyRing((SigningKey("new", b"x" * 32),)).sign_upload(SUBJECT, EXPIRES_AT),
    "of-another-file": RING.sign_upload("upload/b", EXPIRES_AT),
    "of-the-other-kind": RING.sign("attachment/a", EXPIRES_AT, download=False),
    "empty": "",
}


@pytest.mark.parametrize("query", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_link_is_refused(query: str) -> None:
    assert code_of(query) is Code.FORBIDDEN


@given(st.binary(max_size=200))
def test_any_query_is_refused_and_no_more(query: bytes) -> None:
    with pytest.raises(ServiceError):
        RING.verify_upload(SUBJECT, query, 0)


@pytest.mark.parametrize(
    "query", [LINK, UNNAMED, WRONG["truncated"], WRONG["truncated-to-nothing"], WRONG["last-bits-changed"]]
)
def test_signatures_are_compared_in_constant_time_with_each_key(query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return hmac.compare_digest(one, other)

    class Spy:
        digest = staticmethod(hmac.digest)
        compare_digest = staticmethod(compare)

    monkeypatch.setattr(signing, "hmac", Spy)
    code_of(query)
    assert len(compared) == (1 if "kid" in query else 2), "right or wrong, all are compared"


@pytest.mark.parametrize(
    ("query", "kid"),
    [(LINK, "new"), (UNNAMED, None), ("", None), ("kid=a&kid=b", None), ("&".join(["x=1"] * 40), None), ("kid=", "")],
)
def test_the_key_that_a_link_names(query: str, kid: Any) -> None:
    assert key_id(query.encode()) == kid
