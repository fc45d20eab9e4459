"""From the headers of a request to the principal who asks: session cookie, or `Authorization: Bearer` with an API key.

APIs C and D take an API key only, D as `Authorization: Token`. A widget of API B sends its session as `Authorization: Bearer`.

A browser sends cookies with requests that other sites made it send, so an unsafe request that a cookie authenticates must
come from this origin or an allowed one (Fetch Metadata, then `Origin`, as Go's net/http.CrossOriginProtection decides). A
request with neither header is not a browser's. API keys are never sent unasked, so they need no such check.
"""

import time
from collections.abc import Iterable, Mapping

from starlette.types import Scope

from procedures.middleware import AUTHENTICATION_REQUIRED
from schemas import Code, Principal, ServiceError
from storage import Credentials, is_widget_token

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_BEARER = b"bearer "
_TOKEN = b"token "
_SEEN_ENTRIES = 1024  # cookie headers that are remembered, each for `Credentials.remember_s`; about 0.5 MB


class Authenticator:
    """Recognises callers. An API key is preferred to a cookie: it is what the client chose to send."""

    def __init__(self, credentials: Credentials, cookie: str, trusted_origins: Iterable[str]) -> None:
        self._credentials = credentials
        self._cookie = cookie.encode("latin-1")
        self._seen: dict[bytes, tuple[float, Principal]] = {}
        self._trusted = frozenset(origin.encode("latin-1") for origin in trusted_origins)

    async def principal(
        self, method: str, headers: Mapping[bytes, bytes], connection_params: Mapping[str, str] | None = None
    ) -> Principal | None:
        """Who asks; None if the request bears no credential that is known.

        A client that can set no headers, as browsers' EventSource and WebSocket, may send `authorization` as one of tRPC's
        `connection_params`, with the same value. Raises FORBIDDEN for a cross-site request that only a cookie authenticates,
        SERVICE_UNAVAILABLE.
        """
        authorization = headers.get(b"authorization")
        if authorization is None and connection_params is not None and "authorization" in connection_params:
            authorization = connection_params["authorization"].encode("latin-1", "replace")
        if authorization is not None and authorization[:7].lower() == _BEARER:
            return await self._bearer(authorization[7:])
        cookies = headers.get(b"cookie")
        if cookies is None:
            return None
        seen = self._seen.get(cookies)
        principal = seen[1] if seen is not None and seen[0] > time.monotonic() else await self._session(cookies)
        if principal is not None and method not in _SAFE_METHODS and self._is_cross_site(headers):
            message = "cross-site request refused: its origin is neither this server's nor in server.allowed_origins"
            raise ServiceError(Code.FORBIDDEN, message)
        return principal

    async def _session(self, cookies: bytes) -> Principal | None:
        """Whose session the cookies hold; remembered by the whole header, which saves parsing and hashing it again."""
        token = cookie_value(cookies, self._cookie)
        principal = None if token is None else await self._credentials.session_principal(token)
        if principal is not None:
            if len(self._seen) >= _SEEN_ENTRIES:
                del self._seen[next(iter(self._seen))]
            self._seen[cookies] = (time.monotonic() + self._credentials.remember_s, principal)
        return principal

    async def required(self, scope: Scope) -> Principal:
        """Who asks. Raises UNAUTHORIZED when that is not known, and as `principal` does."""
        principal = await self.principal(scope["method"], dict(scope["headers"]))
        if principal is None:
            raise ServiceError(Code.UNAUTHORIZED, AUTHENTICATION_REQUIRED)
        return principal

    async def bearer(self, scope: Scope) -> Principal:
        """Whose API key the request bears as `Authorization: Bearer`, which alone counts. Raises UNAUTHORIZED."""
        return await self._required_key(scope, _BEARER)

    async def token(self, scope: Scope) -> Principal:
        """Whose API key the request bears as `Authorization: Token`, which alone counts. Raises UNAUTHORIZED."""
        return await self._required_key(scope, _TOKEN)

    async def _required_key(self, scope: Scope, scheme: bytes) -> Principal:
        authorization = dict(scope["headers"]).get(b"authorization", b"")
        is_of_scheme = authorization[: len(scheme)].lower() == scheme
        principal = await self._key(authorization[len(scheme) :]) if is_of_scheme else None
        if principal is None:
            name = scheme.decode().strip().title()
            raise ServiceError(Code.UNAUTHORIZED, f"authentication required: send an API key as `Authorization: {name} …`")
        return principal

    async def widget(self, scope: Scope) -> Principal:
        """Whose widget session the request bears as `Authorization: Bearer`, which alone counts. Raises UNAUTHORIZED."""
        authorization = dict(scope["headers"]).get(b"authorization", b"")
        principal = await self._bearer(authorization[7:]) if authorization[:7].lower() == _BEARER else None
        if principal is None or principal.kind != "widget":
            message = "authentication required: send the token of a widget session as `Authorization: Bearer …`"
            raise ServiceError(Code.UNAUTHORIZED, message)
        return principal

    async def _bearer(self, token: bytes) -> Principal | None:
        """Who has that API key or that session of a widget, which no cookie ever holds: pages of other sites embed widgets."""
        text = token.strip().decode("latin-1")
        return await (self._credentials.widget_principal if is_widget_token(text) else self._credentials.key_principal)(text)

    async def _key(self, token: bytes) -> Principal | None:
        return await self._credentials.key_principal(token.strip().decode("latin-1"))

    def _is_cross_site(self, headers: Mapping[bytes, bytes]) -> bool:
        origin = headers.get(b"origin")
        if origin is not None and origin in self._trusted:
            return False
        site = headers.get(b"sec-fetch-site")
        if site is not None:
            return site not in (b"same-origin", b"none")
        # A browser from before Fetch Metadata: the origin's host is this server's as the browser sees it.
        return origin is not None and origin.partition(b"://")[2] != headers.get(b"host")


def cookie_value(cookies: bytes, name: bytes) -> str | None:
    """The value of the first cookie of that name in a `Cookie` header (RFC 6265, 4.2.1); None if there is none."""
    for pair in cookies.split(b";"):
        key, equals, value = pair.partition(b"=")
        if equals and key.strip() == name:
            return value.strip(b' \t"').decode("latin-1")
    return None
