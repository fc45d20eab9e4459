"""Signatures of links, and the keys that make them: pure functions, and the key that the database keeps."""

import asyncio
import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import Code, ServiceError
from storage import Options, SigningKey, Store, fresh_id, is_signed, parse_key
from storage.signing import KeyRing, expiry
from tests.engines.backing import Backing
from tests.storage.conftest import caller, keep

NEW, OLD = SigningKey("new", b"n" * 32), SigningKey("old", b"o" * 32)
RING = KeyRing((NEW, OLD))
SUBJECT, EXPIRES_AT = "attachment/a", 2_000_000_000
LINK = RING.sign(SUBJECT, EXPIRES_AT, download=False)
SAVING = RING.sign(SUBJECT, EXPIRES_AT, download=True)


def code_of(query: str, *, subject: str = SUBJECT, now: float = EXPIRES_AT - 1, ring: KeyRing = RING) -> Code | None:
    """The code that the link is refused with, None if it is accepted."""
    try:
        ring.verify(subject, query.encode(), now)
    except ServiceError as error:
        return error.code
    return None


def test_a_link_is_three_parameters_and_the_flag() -> None:
    assert LINK.startswith(f"exp={EXPIRES_AT}&kid=new&sig=")
    assert len(LINK.rpartition("=")[2]) == 43
    assert SAVING.startswith(f"download=1&exp={EXPIRES_AT}&kid=new&sig=")
    assert RING.sign(SUBJECT, EXPIRES_AT, download=False) == LINK


def test_a_right_link_is_accepted_in_any_order_and_with_what_others_add() -> None:
    assert code_of(LINK) is None
    assert code_of(SAVING) is None
    assert code_of("&".join(reversed(SAVING.split("&")))) is None
    assert code_of(f"utm_source=mail&{LINK}&x=1&x=2") is None


def test_a_link_of_an_older_key_is_accepted_and_of_a_removed_one_not() -> None:
    old = KeyRing((OLD,)).sign(SUBJECT, EXPIRES_AT, download=False)
    assert code_of(old) is None
    assert code_of(old, ring=KeyRing((NEW,))) is Code.FORBIDDEN
    assert code_of(LINK, ring=KeyRing(())) is Code.FORBIDDEN


@pytest.mark.parametrize(
    ("late_s", "expected"), [(-1, None), (0, None), (0.999, None), (1, Code.UNAUTHORIZED), (1.5, Code.UNAUTHORIZED)]
)
def test_a_link_holds_until_its_second(late_s: float, expected: Code | None) -> None:
    assert code_of(LINK, now=EXPIRES_AT + late_s) is expected


SIGNATURE = LINK.rpartition("=")[2]
WRONG = {
    "truncated": LINK[:-1],
    "truncated-to-nothing": LINK[: -len(SIGNATURE)],
    "longer": f"{LINK}A",
    "padded": f"{LINK}=",
    "padded-in-percent": f"{LINK}%3D",
    "other-case": LINK.replace(SIGNATURE, SIGNATURE.swapcase()),
    "standard-alphabet": LINK.replace(SIGNATURE, "+/" * 21 + "A"),
    "not-ascii": LINK.replace(SIGNATURE, "%C3%A4" * 43),
    "other-expiry": LINK.replace(str(EXPIRES_AT), str(EXPIRES_AT + 1)),
    "leading-zero": LINK.replace("exp=", "exp=0"),
    "expiry-with-a-sign": LINK.replace("exp=", "exp=%2B"),
    "expiry-not-a-number": LINK.replace(str(EXPIRES_AT), "never"),
    "expiry-in-other-digits": LINK.replace(str(EXPIRES_AT), "%D9%A3" * 10),
    "expiry-too-long": LINK.replace(str(EXPIRES_AT), "9" * 400),
    "expiry-empty": LINK.replace(str(EXPIRES_AT), ""),
    "other-key": LINK.replace("kid=new", "kid=old"),
    "unknown-key": LINK.replace("kid=new", "kid=none"),
    "download-added": f"{LINK}&download=1",
    "download-removed": SAVING.removeprefix("download=1&"),
    "download-0": SAVING.replace("download=1", "download=0"),
    "signature-twice": f"{LINK}&sig={SIGNATURE}",
    "expiry-twice": f"{LINK}&exp={EXPIRES_AT}",
    "key-twice": f"kid=new&{LINK}",
    "download-twice": f"{SAVING}&download=1",
    "no-signature": LINK.partition("&sig=")[0],
    "no-key": LINK.replace("kid=new&", ""),
    "no-expiry": LINK.replace(f"exp={EXPIRES_AT}&", ""),
    "too-many-parameters": "&".join(["x=1"] * 40) + f"&{LINK}",
    "signed-by-another-secret": KeyRing((SigningKey("new", b"x" * 32),)).sign(SUBJECT, EXPIRES_AT, download=False),
    "of-another-subject": RING.sign("attachment/b", EXPIRES_AT, download=False),
    "empty": "",
}


@pytest.mark.parametrize("query", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_link_is_refused(query: str) -> None:
    assert code_of(query) is Code.FORBIDDEN


@given(st.binary(max_size=200))
def test_any_query_is_refused_and_no_more(query: bytes) -> None:
    with pytest.raises(ServiceError):
        RING.verify(SUBJECT, query, 0)


def test_subjects_cannot_be_shifted_into_other_fields() -> None:
    link = RING.sign("a\n1", EXPIRES_AT, download=False)
    assert code_of(link, subject="a") is Code.FORBIDDEN


@pytest.mark.parametrize(
    ("query", "expected"), [(b"sig=x", True), (b"a=1&sig", True), (b"sig=", True), (b"", False), (b"design=1&x=sig", False)]
)
def test_what_looks_signed(query: bytes, expected: bool) -> None:
    assert is_signed(query) is expected


def test_links_of_a_window_expire_together_and_never_early() -> None:
    assert {expiry(now, 100, 60) for now in (600, 600.9, 659.99)} == {760}
    assert expiry(660, 100, 60) == 820


SECRET = base64.b64encode(bytes(range(32))).decode()


@pytest.mark.parametrize("text", [f"k:{SECRET}", f"k:{SECRET.rstrip('=')}", f"k:{SECRET.replace('+', '-').replace('/', '_')}"])
def test_keys_are_read_in_every_usual_base64(text: str) -> None:
    assert parse_key(text) == SigningKey("k", bytes(range(32)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(SECRET, "kid:base64secret", id="no-id"),
        pytest.param(f":{SECRET}", "kid:base64secret", id="empty-id"),
        pytest.param(f"a b:{SECRET}", "kid:base64secret", id="id-with-a-space"),
        pytest.param(f"{'k' * 33}:{SECRET}", "kid:base64secret", id="long-id"),
        pytest.param("k:c2VjcmV0", "the secret of the key k is shorter than 32 bytes", id="short"),
        pytest.param("k:se cret!", "the secret of the key k is not base64", id="not-base64"),
        pytest.param("k:sécret", "the secret of the key k is not base64", id="not-ascii"),
    ],
)
def test_keys_that_cannot_be_used(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        parse_key(text)
    assert text.partition(":")[2] == "" or text.partition(":")[2] not in str(caught.value)


async def test_processes_agree_on_the_key_that_the_first_link_makes(backing: Backing, store: Store) -> None:
    id = await keep(store.attachments)
    async with await backing.open_store() as other:
        link = f"exp={EXPIRES_AT}&kid=x&sig=y".encode()
        with pytest.raises(ServiceError) as caught:  # before there is any key
            await other.attachments.follow(id, link)
        assert caught.value.code is Code.FORBIDDEN
        urls = await asyncio.gather(*(one.attachments.url(caller(), id, download=True) for one in (store, other, store)))
        assert len({signed.url for signed in urls}) == 1
        query = urls[0].url.partition("?")[2].encode()
        for one in (store, other):
            async with await one.attachments.follow(id.upper(), query) as download:
                assert download.record.id == id


async def test_a_link_to_another_file_a_foreign_one_and_a_deleted_one(store: Store) -> None:
    id, another = await keep(store.attachments), await keep(store.attachments)
    query = (await store.attachments.url(caller(), id, download=False)).url.partition("?")[2].encode()
    for wrong in (another, fresh_id(), "x"):
        with pytest.raises(ServiceError) as caught:
            await store.attachments.follow(wrong, query)
        assert caught.value.code is Code.FORBIDDEN
    with pytest.raises(ServiceError) as caught:
        await store.attachments.url(caller("org-2"), id, download=False)
    assert caught.value.code is Code.NOT_FOUND
    await store.attachments.delete(caller(), id)
    for attempt in (store.attachments.follow(id, query), store.attachments.url(caller(), id, download=False)):
        with pytest.raises(ServiceError) as caught:
            await attempt
        assert caught.value.code is Code.NOT_FOUND


async def test_links_begin_with_the_base_url_and_tell_when_they_expire(backing: Backing) -> None:
    options = Options(base_url="https://files.example/", signing_keys=(NEW,), url_expiry_s=60, url_window_s=3600)
    async with await backing.open_store(options=options) as store:
        id = await keep(store.attachments)
        signed = await store.attachments.url(caller(), id, download=False)
    assert signed.url.startswith(f"https://files.example/api/attachments/{id}/download?exp=")
    assert signed.expires_at.endswith(":01:00.000Z")  # a minute after the end of an hour
