"""What REST clients read when something is refused, in the shape of API A; other APIs give a function of their own. Pure.

    {"error": {"code": "ATTACHMENT_TOO_LARGE", "message": "the file exceeds …"}}

`code` is the domain's reason where there is one, else the key of the `Code`; the status is the `Code`'s. Errors are rendered
here, by the `Render` of each other API, and in `server/trpc/`.
"""

from collections.abc import Callable

import msgspec

from schemas import Code, RateLimited, ServiceError

Headers = list[tuple[bytes, bytes]]

RANGE_STATUS = 416
RETRY_AFTER_S = 5  # a full disk or a database that does not answer; clients that obey come back when it may be over

# Every JSON answer is of one caller and of now; and it is JSON, whatever a browser makes of what it holds.
JSON_HEADERS: Headers = [
    (b"content-type", b"application/json"),
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
]
CLOSE = (b"connection", b"close")
_CODE_HEADERS: dict[Code, Headers] = {
    Code.UNAUTHORIZED: [(b"www-authenticate", b'Bearer realm="api"')],  # a 401 must name a scheme (RFC 9110, 11.6.1)
}
_encoder = msgspec.json.Encoder()


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why something was refused: a name for programs, and what to mend for people."""

    code: str
    message: str


class ErrorAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The body of every error."""

    error: Refusal


class Reply(msgspec.Struct, frozen=True):
    """A whole answer; `headers` has everything but Content-Length."""

    status: int
    headers: Headers
    body: bytes


def json_reply(status: int, value: object, headers: Headers | None = None) -> Reply:
    """An answer of `value` as JSON."""
    return Reply(status, JSON_HEADERS + headers if headers else JSON_HEADERS, _encoder.encode(value))


class RangeRefused(ServiceError):  # noqa: N818 (it says what happened; that it is an error its base says)
    """416, which tRPC has no code for; the client learns the size of the file (RFC 9110, 15.5.17)."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(Code.BAD_REQUEST, f"the range lies outside the file of {size_bytes} bytes")
        self.size_bytes = size_bytes


# The answer that tells the client of an error, in the shape of an API.
Render = Callable[[ServiceError], Reply]


def error_reply(error: ServiceError) -> Reply:
    """The answer that tells the client of an error."""
    if isinstance(error, RangeRefused):
        return _refusal(RANGE_STATUS, "RANGE_NOT_SATISFIABLE", error.message, error_headers(error))
    return _refusal(error.code.http_status, error.reason or error.code.name, error.message, error_headers(error))


def error_headers(error: ServiceError) -> Headers:
    """The headers that HTTP wants with an error, whatever the shape of its body."""
    if (seconds := retry_after_s(error)) is not None:
        return [(b"retry-after", b"%d" % seconds)]
    if isinstance(error, RangeRefused):
        return [(b"content-range", b"bytes */%d" % error.size_bytes)]
    return _CODE_HEADERS.get(error.code, [])


def retry_after_s(error: ServiceError) -> int | None:
    """After how many seconds the client may try again what failed so; None when that would not help."""
    if isinstance(error, RateLimited):
        return error.retry_after_s
    return RETRY_AFTER_S if error.code is Code.SERVICE_UNAVAILABLE else None


def method_not_allowed(method: str, allow: bytes, render: Render = error_reply) -> Reply:
    """405: the path exists, not for this method; `allow` lists those it has (RFC 9110, 15.5.6)."""
    message = f"{method[:20]} is not supported here, only {allow.decode()}"
    reply = render(ServiceError(Code.METHOD_NOT_SUPPORTED, message))
    return Reply(reply.status, [*reply.headers, (b"allow", allow)], reply.body)


def internal_error() -> ServiceError:
    """What a client learns of a bug or an outage: nothing; the log has the rest."""
    return ServiceError(Code.INTERNAL_SERVER_ERROR, "Internal server error")


def _refusal(status: int, code: str, message: str, headers: Headers) -> Reply:
    return json_reply(status, ErrorAnswer(error=Refusal(code=code, message=message)), headers)


INTERNAL_ERROR = error_reply(internal_error())
