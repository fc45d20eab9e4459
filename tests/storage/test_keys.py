"""Keys of links in the database: a rotation breaks no link before its end, in no process."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from schemas import Code, ServiceError
from storage import Options, Store, fresh_id
from storage import timestamp as at
from storage.clock import seconds_of
from storage.keys import REREAD_S
from storage.signing import KeyRing, SigningKey, key_id
from tests.engines.backing import Backing
from tests.storage.conftest import caller, keep

HOUR_S = 3600
OPTIONS = Options(url_expiry_s=HOUR_S, url_window_s=60)
LIFETIME_S = HOUR_S + 60


@pytest.fixture
async def store(backing: Backing) -> AsyncIterator[Store]:
    async with await backing.open_store(options=OPTIONS) as opened:
        yield opened


async def query_of(store: Store, id: str, expiry_s: int | None = None) -> bytes:
    """The query of a link in the way of API B."""
    return (await store.attachments.media_url(id, expiry_s)).url.partition("?")[2].encode()


async def opens(store: Store, id: str, query: bytes) -> bool:
    try:
        async with await store.attachments.follow_media(id, query):
            return True
    except ServiceError as error:
        return error.code not in (Code.FORBIDDEN, Code.UNAUTHORIZED)


async def moment() -> None:
    """A millisecond, and what this process has read is read anew."""
    await asyncio.sleep(0.002)


def age(backing: Backing, kid: str, seconds: float) -> None:
    """Make the key so much older."""
    ((created_at,),) = backing.query("SELECT created_at FROM signing_keys WHERE kid = ?", kid)
    backing.query("UPDATE signing_keys SET created_at = ? WHERE kid = ?", at(seconds_of(created_at) - seconds), kid)


async def test_a_new_key_signs_and_the_old_one_verifies(store: Store) -> None:
    id = await keep(store.attachments)
    before = await query_of(store, id)
    await moment()
    kid, removed = await store.signing.rotate()
    assert removed == []
    store.signing._read_at = float("-inf")  # noqa: SLF001 (a second passes)
    after = await query_of(store, id)
    assert (key_id(before) != kid, key_id(after)) == (True, kid)
    assert [info.state for info in await store.signing.describe()] == ["signs", "verifies"]
    for query in (before, after, b"&".join(after.split(b"&")[:2]), b"&".join(before.split(b"&")[:2])):
        assert await opens(store, id, query)


async def test_other_processes_know_a_new_key_at_once_and_sign_with_it_soon(store: Store, backing: Backing) -> None:
    id = await keep(store.attachments)
    async with await backing.open_store(options=OPTIONS) as other:
        old = await query_of(store, id)
        assert await opens(other, id, old)
        await moment()
        kid, _ = await store.signing.rotate()
        async with await backing.open_store(options=OPTIONS) as third:
            new = await query_of(third, id)
        assert key_id(new) == kid
        assert await opens(other, id, new), "met before it was read"
        assert await opens(other, id, b"&".join(new.split(b"&")[:2])), "without its name"
        other.signing._read_at -= REREAD_S  # noqa: SLF001 (a second passes)
        assert key_id(await query_of(other, id)) == kid
        assert await opens(other, id, old)


async def test_a_key_goes_when_its_last_link_has_expired(store: Store, backing: Backing) -> None:
    id = await keep(store.attachments)
    old = key_id(await query_of(store, id))
    assert old is not None
    await moment()
    second, _ = await store.signing.rotate()
    for kid in (old, second):  # both are made long ago, so that the first was replaced long ago
        age(backing, kid, LIFETIME_S)
    assert [info.state for info in await store.signing.describe()] == ["signs", "verifies"], "clocks may differ"
    for kid in (old, second):
        age(backing, kid, 61)
    await moment()
    states = await store.signing.describe()
    assert [info.state for info in states] == ["signs", "spare"]
    assert states[1].until is not None
    assert seconds_of(states[1].until) < time.time()
    third, removed = await store.signing.rotate()
    assert removed == [old]
    assert [info.kid for info in await store.signing.describe()] == [third, second]


async def test_a_key_is_kept_for_the_longest_that_anybody_signed_for(store: Store, backing: Backing) -> None:
    id = await keep(store.attachments)
    long = await query_of(store, id, 10 * HOUR_S)
    old = key_id(long)
    assert old is not None
    short = Options(url_expiry_s=60, url_window_s=1)
    async with await backing.open_store(options=short) as later:
        assert key_id(await query_of(later, id)) == old
        await moment()
        second, _ = await later.signing.rotate()
        for kid in (old, second):
            age(backing, kid, 9 * HOUR_S)
        assert (await later.signing.rotate())[1] == []
        assert await opens(later, id, long)


async def test_a_key_that_leaked_is_removed_with_its_links(store: Store) -> None:
    id = await keep(store.attachments)
    query = await query_of(store, id)
    old = key_id(query)
    assert old is not None
    with pytest.raises(ServiceError) as caught:
        await store.signing.remove(old)
    assert (caught.value.code, caught.value.message) == (Code.CONFLICT, f"the key {old} signs: rotate first")
    with pytest.raises(ServiceError) as caught:
        await store.signing.remove("none")
    assert (caught.value.code, caught.value.message) == (Code.NOT_FOUND, "there is no signing key none")
    await moment()
    await store.signing.rotate()
    await moment()
    await store.signing.remove(old)
    await moment()
    store.signing._read_at -= REREAD_S  # noqa: SLF001 (a second passes)
    assert not await opens(store, id, query)
    assert len(await store.signing.describe()) == 1


async def test_a_clock_behind_the_newest_key(store: Store, backing: Backing) -> None:
    kid, _ = await store.signing.rotate()
    age(backing, kid, -HOUR_S)
    with pytest.raises(ServiceError, match="which is not past: set this machine's clock") as caught:
        await store.signing.rotate()
    assert caught.value.code is Code.CONFLICT


async def test_keys_of_the_settings_are_rotated_there(backing: Backing) -> None:
    keys = (SigningKey("b", b"b" * 32), SigningKey("a", b"a" * 32))
    options = Options(signing_keys=keys)
    async with await backing.open_store(options=options) as store:
        assert [(info.kid, info.state) for info in await store.signing.describe()] == [("b", "signs"), ("a", "verifies")]
        for attempt in (store.signing.rotate(), store.signing.remove("a")):
            with pytest.raises(ServiceError, match=r"signing\.keys names the keys") as caught:
                await attempt
            assert caught.value.code is Code.CONFLICT
        id = await keep(store.attachments)
        old = KeyRing(keys[1:]).sign_upload(f"upload/{id}", int(time.time()) + 60)
        assert await opens(store, id, old.encode())
        assert key_id(await query_of(store, id)) == "b"


async def test_links_of_a_window_are_equal_and_hold_at_least_as_long_as_said(backing: Backing) -> None:
    options = Options(url_expiry_s=60, url_window_s=86_400, base_url="https://files.example/")
    async with await backing.open_store(options=options) as store:
        id, another = await keep(store.attachments), await keep(store.attachments)
        urls = {(await store.attachments.media_url(id.upper())).url for _ in range(3)}
        assert len(urls) == 1
        signed = await store.attachments.media_url(id)
        assert signed.url.startswith(f"https://files.example/uploads/{id}?sig=")
        assert signed.expires_at.endswith("T00:01:00.000Z"), "a minute after the end of a day"
        query = signed.url.partition("?")[2].encode()
        assert await opens(store, id.upper(), query)
        for wrong in (another, fresh_id(), "x"):
            assert not await opens(store, wrong, query)
        download = (await store.attachments.url(caller(), id, download=False)).url.partition("?")[2].encode()
        assert not await opens(store, id, download), "of the other kind"
        with pytest.raises(ServiceError):
            await store.attachments.follow(id, query)
