"""What every stream is told of the request it answers."""

import msgspec


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
