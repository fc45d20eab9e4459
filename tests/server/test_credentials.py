"""Who asks: cookies, keys, and the refusal of cross-site requests."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from schemas import Code, ServiceError
from server.credentials import Authenticator, cookie_value
from storage import Store
from tests.engines.backing import Backing

BASE = "https://files.example.com"
FRIEND = "https://app.example.com"
HOST = {b"host": b"files.example.com"}


@pytest.fixture
async def store(backing: Backing) -> AsyncIterator[Store]:
    async with await backing.open_store() as opened:
        yield opened


@pytest.fixture
async def session(store: Store) -> bytes:
    token = await store.credentials.create_session(user_id="u", organization_id="o", role="member", ttl_s=60)
    return f"session={token}".encode()


def authenticator(store: Store) -> Authenticator:
    return Authenticator(store.credentials, "session", [BASE, FRIEND])


@pytest.mark.parametrize(
    ("cookies", "value"),
    [
        pytest.param(b"session=abc", "abc", id="alone"),
        pytest.param(b"a=1; session=abc; b=2", "abc", id="among-others"),
        pytest.param(b"a=1;session=abc", "abc", id="no-space"),
        pytest.param(b"session=abc; session=def", "abc", id="first-wins"),
        pytest.param(b'session="abc"', "abc", id="quoted"),
        pytest.param(b"session=a=b==", "a=b==", id="equals-in-value"),
        pytest.param(b"xsession=abc", None, id="other-name-with-this-end"),
        pytest.param(b"session", None, id="no-equals"),
        pytest.param(b"Session=abc", None, id="names-have-case"),
        pytest.param(b"", None, id="empty"),
        pytest.param(b";;=;=x;", None, id="junk"),
        pytest.param(b"session=\xff", "\xff", id="not-ascii"),
    ],
)
def test_cookies(cookies: bytes, value: str | None) -> None:
    assert cookie_value(cookies, b"session") == value


@pytest.mark.parametrize(
    ("method", "headers", "allowed"),
    [
        pytest.param("POST", {}, True, id="no-header-is-no-browser"),
        pytest.param("POST", {b"sec-fetch-site": b"same-origin"}, True, id="same-origin"),
        pytest.param("POST", {b"sec-fetch-site": b"none"}, True, id="typed-by-the-user"),
        pytest.param("POST", {b"sec-fetch-site": b"same-site"}, False, id="same-site-is-another-origin"),
        pytest.param("POST", {b"sec-fetch-site": b"cross-site"}, False, id="cross-site"),
        pytest.param("POST", {b"sec-fetch-site": b"cross-site", b"origin": FRIEND.encode()}, True, id="allowed-origin"),
        pytest.param("POST", {b"sec-fetch-site": b"cross-site", b"origin": b"https://evil.example"}, False, id="evil"),
        pytest.param("POST", {b"origin": BASE.encode()}, True, id="old-browser-base-url"),
        pytest.param("POST", {b"origin": b"http://files.example.com"}, True, id="old-browser-behind-a-proxy"),
        pytest.param("POST", {b"origin": b"https://evil.example"}, False, id="old-browser-cross-origin"),
        pytest.param("POST", {b"origin": b"null"}, False, id="opaque-origin"),
        pytest.param("GET", {b"sec-fetch-site": b"cross-site"}, True, id="get-is-safe"),
        pytest.param("HEAD", {b"origin": b"https://evil.example"}, True, id="head-is-safe"),
        pytest.param("DELETE", {b"sec-fetch-site": b"cross-site"}, False, id="any-unsafe-method"),
    ],
)
async def test_cross_site_requests_with_a_cookie(
    store: Store, session: bytes, method: str, headers: dict[bytes, bytes], allowed: bool
) -> None:
    request = authenticator(store).principal(method, {**HOST, b"cookie": session, **headers})
    if allowed:
        assert await request is not None
        return
    with pytest.raises(ServiceError) as caught:
        await request
    assert caught.value.code is Code.FORBIDDEN


async def test_a_cross_site_request_without_a_known_session_is_anonymous(store: Store) -> None:
    headers = {b"cookie": b"session=unknown", b"sec-fetch-site": b"cross-site"}
    assert await authenticator(store).principal("POST", headers) is None


async def test_a_key_needs_no_origin_and_is_preferred(store: Store, session: bytes) -> None:
    info, secret = await store.credentials.create_key(organization_id="o", role="member", name="n")
    for scheme in ("Bearer", "bearer", "BEARER"):
        headers = {b"authorization": f"{scheme} {secret}".encode(), b"cookie": session, b"sec-fetch-site": b"cross-site"}
        principal = await authenticator(store).principal("POST", headers)
        assert principal is not None
        assert (principal.kind, principal.user_id) == ("key", info.id)


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="nothing"),
        pytest.param({b"authorization": b"Bearer wrong"}, id="unknown-key"),
        pytest.param({b"authorization": b"Bearer "}, id="empty-key"),
        pytest.param({b"authorization": b"Basic dTpw"}, id="other-scheme"),
        pytest.param({b"cookie": b"session=wrong"}, id="unknown-session"),
        pytest.param({b"cookie": b"other=1"}, id="other-cookie"),
    ],
)
async def test_nobody(store: Store, headers: dict[bytes, bytes]) -> None:
    assert await authenticator(store).principal("GET", headers) is None
    scope = {"type": "http", "method": "GET", "headers": list(headers.items())}
    with pytest.raises(ServiceError) as caught:
        await authenticator(store).required(scope)
    assert caught.value.code is Code.UNAUTHORIZED
    assert "send the session cookie or an API key" in caught.value.message


async def test_a_wrong_key_is_not_saved_by_a_cookie(store: Store, session: bytes) -> None:
    """What the client chose to send counts; a stale key must be noticed."""
    headers = {b"authorization": b"Bearer wrong", b"cookie": session}
    assert await authenticator(store).principal("GET", headers) is None


async def test_a_revoked_session_is_remembered_no_longer_than_allowed(backing: Backing, store: Store, session: bytes) -> None:
    for cache_s in (0.0, 0.3):
        async with await backing.open_store(credential_cache_s=cache_s) as other:
            token = await other.credentials.create_session(user_id="u", organization_id="o", role="member", ttl_s=60)
            headers = {b"cookie": f"session={token}".encode()}
            asking = authenticator(other)
            until = time.monotonic() + 0.2
            while time.monotonic() < until:  # both caches are warm, and were warmed at different times
                assert await asking.principal("GET", headers) is not None
                await asyncio.sleep(0.01)
            await store.credentials.revoke_session(token)
            await asyncio.sleep(cache_s + 0.02)
            assert await asking.principal("GET", headers) is None


async def test_remembered_cookie_headers_are_bounded(store: Store, session: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.credentials._SEEN_ENTRIES", 3)
    asking = authenticator(store)
    for number in range(9):
        assert await asking.principal("GET", {b"cookie": b"n=%d; %b" % (number, session)}) is not None
    assert len(asking._seen) == 3  # noqa: SLF001 (the bound is the point)
