"""A JSON body, read whole into a value of the type that a handler takes."""

import sys
from typing import TypeVar

import msgspec

from rest.exchanges import Exchange
from schemas import Code, ServiceError

T = TypeVar("T")
BODY_HEADERS = frozenset({b"content-type"})


async def receive_json(
    exchange: Exchange, type_: type[T], max_bytes: int, idle_timeout_s: float, setting: str = "server.max_body_bytes"
) -> T:
    """The body as a value of the type; `setting` is what its length depends on.

    Raises UNSUPPORTED_MEDIA_TYPE when it is not said to be JSON, which no form of a page can say, BAD_REQUEST when it does not
    fit, PAYLOAD_TOO_LARGE, and what `Exchange.read` raises.
    """
    kind = exchange.headers.get(b"content-type", b"").partition(b";")[0].strip(b" \t").lower()
    if kind != b"application/json":
        raise ServiceError(Code.UNSUPPORTED_MEDIA_TYPE, "send JSON, with Content-Type: application/json")
    body = bytearray()
    _check_length(exchange.declared_bytes() or 0, max_bytes, setting)
    while (data := await exchange.read(sys.maxsize, idle_timeout_s)) is not None:
        body += data
        _check_length(len(body), max_bytes, setting)
    try:
        return msgspec.json.decode(body, type=type_)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ServiceError(Code.BAD_REQUEST, f"the body cannot be used: {error}") from error


def _check_length(length: int, max_bytes: int, setting: str) -> None:
    if length > max_bytes:
        raise ServiceError(Code.PAYLOAD_TOO_LARGE, f"the body exceeds {max_bytes} bytes ({setting})")
