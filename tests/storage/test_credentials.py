"""Sessions and API keys: made, recognised, revoked, never kept in clear."""

import pytest

from schemas import Principal
from storage import Credentials, Store
from storage.credentials import KEY_PREFIX
from tests.engines.backing import Backing


@pytest.fixture
def credentials(store: Store) -> Credentials:
    return store.credentials


async def session(credentials: Credentials, ttl_s: float = 60) -> str:
    return await credentials.create_session(user_id="u", organization_id="o", role="admin", ttl_s=ttl_s)


async def test_a_session_is_recognised(credentials: Credentials) -> None:
    expected = Principal(kind="session", user_id="u", organization_id="o", role="admin")
    token = await session(credentials)
    assert await credentials.session_principal(token) == expected
    assert await credentials.session_principal(token) == expected  # from memory


@pytest.mark.parametrize("token", ["", "x", "\ud800", "x" * 10_000, "a" * 43])
async def test_an_unknown_token_is_nobody(credentials: Credentials, token: str) -> None:
    assert await credentials.session_principal(token) is None
    assert await credentials.key_principal(token) is None


async def test_a_session_is_no_key_and_a_key_no_session(credentials: Credentials) -> None:
    token = await session(credentials)
    _, secret = await credentials.create_key(organization_id="o", role="store", name="n")
    assert await credentials.session_principal(token)
    assert await credentials.key_principal(token) is None
    assert await credentials.key_principal(secret)
    assert await credentials.session_principal(secret) is None


async def test_an_expired_session_is_nobody(credentials: Credentials) -> None:
    assert await credentials.session_principal(await session(credentials, ttl_s=-1)) is None


async def test_a_key_owns_what_it_does(credentials: Credentials) -> None:
    info, secret = await credentials.create_key(organization_id="o", role="member", name="import script")
    assert secret.startswith(KEY_PREFIX)
    expected = Principal(kind="key", user_id=info.id, organization_id="o", role="member")
    assert await credentials.key_principal(secret) == expected
    assert await credentials.list_keys() == [info]


async def test_revoking_ends_a_key_and_a_session_here_at_once(credentials: Credentials) -> None:
    info, secret = await credentials.create_key(organization_id="o", role="member", name="n")
    token = await session(credentials)
    assert await credentials.key_principal(secret)
    assert await credentials.session_principal(token)
    assert await credentials.revoke_key(info.id)
    assert await credentials.revoke_session(token)
    assert await credentials.key_principal(secret) is None
    assert await credentials.session_principal(token) is None
    assert not await credentials.revoke_key(info.id)
    assert not await credentials.revoke_session(token)
    [kept] = await credentials.list_keys()
    assert kept.revoked_at is not None


@pytest.mark.parametrize(("cache_s", "remembered"), [(0, False), (3600, True)])
async def test_a_revocation_elsewhere_is_felt_after_the_cache_time(
    backing: Backing, credentials: Credentials, cache_s: float, remembered: bool
) -> None:
    token = await session(credentials)
    async with await backing.open_store(credential_cache_s=cache_s) as other:
        assert await other.credentials.session_principal(token)
        await credentials.revoke_session(token)
        assert (await other.credentials.session_principal(token) is not None) is remembered


async def test_no_token_is_kept_in_clear(credentials: Credentials, backing: Backing) -> None:
    token = await session(credentials)
    _, secret = await credentials.create_key(organization_id="o", role="member", name="n")
    for raw in backing.database.dump():
        assert token.encode() not in raw
        assert secret.removeprefix(KEY_PREFIX).encode() not in raw


async def test_the_cache_is_bounded(credentials: Credentials, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.credentials.CACHE_ENTRIES", 3)
    tokens = [await session(credentials) for _ in range(5)]
    for token in tokens:
        assert await credentials.session_principal(token)
    assert len(credentials._cache) == 3  # noqa: SLF001 (the bound is the point)
