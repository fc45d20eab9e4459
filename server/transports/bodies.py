"""The body of a tRPC request that holds inputs: JSON, read whole, within limits."""

import asyncio
from collections.abc import Mapping

import msgspec
from starlette.types import Receive

from schemas import ClientDisconnected, Code, ServiceError
from server.metrics import RouteMeter


class Limits(msgspec.Struct, frozen=True):
    """What bounds a request: bytes of the body, and of a file in it, seconds between two pieces."""

    max_body_bytes: int
    max_file_bytes: int
    body_idle_s: float


async def read_body(
    headers: Mapping[bytes, bytes], receive: Receive, limits: Limits, meter: RouteMeter
) -> bytes | ServiceError:
    """The whole body, or the error of one that is too large or too slow. Raises ClientDisconnected."""
    limit = limits.max_body_bytes
    too_large = ServiceError(Code.PAYLOAD_TOO_LARGE, f"the body exceeds {limit} bytes (server.max_body_bytes)")
    declared = headers.get(b"content-length", b"0")
    if not declared.isdigit() or int(declared[:20]) > limit:
        return too_large
    pieces: list[bytes] = []
    size = 0
    while True:
        try:
            async with asyncio.timeout(limits.body_idle_s):
                message = await receive()
        except TimeoutError:
            return ServiceError(Code.TIMEOUT, f"the body stopped coming for {limits.body_idle_s:g} s")
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if size > limit:
            return too_large
        if not message.get("more_body", False):
            meter.received(size)
            return b"".join(pieces)
