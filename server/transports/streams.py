"""What streams share: their limits, what they are told of the request, and whether who asked is still let in."""

import functools
from collections.abc import Mapping

import msgspec

from procedures import Context
from schemas import Code, ServiceError
from server.transports.calls import Calls

# A generator that never waits, and a client that reads as fast, would keep the event loop to themselves. After so many items
# a stream goes to the back of the queue, which costs a microsecond (2026-11).
ITEMS_A_TURN = 64


class Asked(msgspec.Struct, frozen=True):
    """The request: `route` is what the log calls it, `allow` what the header of that name says, empty without one."""

    method: str
    route: str
    request_id: str
    allow: bytes = b""

    def headers(self, headers: tuple[tuple[bytes, bytes], ...]) -> list[tuple[bytes, bytes]]:
        """The headers of the answer, these among them."""
        named = [*headers, (b"x-request-id", self.request_id.encode())]
        return [*named, (b"allow", self.allow)] if self.allow else named


class StreamLimits(msgspec.Struct, frozen=True):
    """What bounds streams, in seconds; 0 turns it off. The defaults are those of the settings."""

    ping_s: float = 2.0
    jsonl_ping_s: float = 10.0
    reconnect_after_inactivity_s: float = 5.0
    max_duration_s: float = 300.0
    max_subscriptions: int = 5000
    recheck_s: float = 10.0


class Credential:
    """What opened a stream: a context is made once, but a session ends and a key is revoked."""

    __slots__ = ("_context", "_look")

    def __init__(
        self,
        calls: Calls,
        method: str,
        headers: Mapping[bytes, bytes],
        request_id: str,
        params: Mapping[str, str] | None,
        context: Context | ServiceError,
    ) -> None:
        self._context = context
        self._look = functools.partial(calls.context, method, headers, request_id, params)

    @property
    def may_end(self) -> bool:
        """Whether there is anything to look after."""
        return isinstance(self._context, Context) and self._context.principal is not None

    async def refusal(self) -> ServiceError | None:
        """Why the stream cannot go on, None while it can; an outage of the store is no reason."""
        context, known = await self._look(), self._context
        if isinstance(context, ServiceError):
            goes_on = context.code.http_status >= Code.INTERNAL_SERVER_ERROR.http_status
        else:
            goes_on = isinstance(known, Context) and context.principal == known.principal
        return None if goes_on else ServiceError(Code.UNAUTHORIZED, "the credential of this stream is no longer valid")
