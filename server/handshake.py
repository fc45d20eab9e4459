"""The opening handshake of WebSocket (RFC 6455, 4.2.1): which requests are taken. Pure.

picows checks it too, but refuses what browsers send (`Connection: keep-alive, Upgrade`), so it is checked here, on what the
HTTP parser has read, and picows is given the plain form.
"""

import base64
import binascii
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from schemas import Code, ServiceError
from server.trpc.responses import render_error

_VERSION: Final = b"13"
_KEY_BYTES: Final = 16
_PLAIN: Final = (
    b"GET / HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: %b\r\n\r\n"
)


def plain_request(headers: Mapping[bytes, bytes]) -> bytes:
    """The request as picows takes it. Raises ServiceError for one that is no handshake of this version; see `refusal`."""
    if headers.get(b"sec-websocket-version") != _VERSION:
        raise ServiceError(Code.BAD_REQUEST, "the version of WebSocket must be 13")
    key = headers.get(b"sec-websocket-key", b"")
    try:
        is_key = len(base64.b64decode(key, validate=True)) == _KEY_BYTES
    except binascii.Error:
        is_key = False
    if not is_key or b"host" not in headers:
        raise ServiceError(Code.BAD_REQUEST, "a handshake needs Host, and a Sec-WebSocket-Key of 16 bytes in base64")
    return _PLAIN % key


def refusal(error: ServiceError, request_id: str) -> bytes:
    """The whole answer to a handshake that is refused; the connection closes behind it."""
    status = HTTPStatus(error.code.http_status)
    body = render_error(error, None)
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        f"sec-websocket-version: {_VERSION.decode()}",
        f"x-request-id: {request_id}",
        "connection: close",
    ]
    if error.code is Code.SERVICE_UNAVAILABLE:
        lines.append("retry-after: 1")
    return "\r\n".join([*lines, "", ""]).encode() + body
