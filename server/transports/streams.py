"""What streams share: what they are told of the request, and how often they let others run."""

import msgspec

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
