"""The one error taxonomy: what a caller may be told, with its number and its HTTP status.

Every failure that a user can cause or must be told of is a `ServiceError` with a `Code`. It is raised
where the fact is known and rendered in exactly two places: `server/trpc/responses.py` and
`rest/replies.py`. Anything else that is raised is a bug or an outage: it is logged with its traceback
and the client reads "Internal server error".

Keys, numbers and statuses are those of `@trpc/server` 11.25 (`rpc/codes.ts`, `getHTTPStatusCode.ts`).
"""

import enum


class Code(enum.Enum):
    """A tRPC error code: `name` is its key on the wire, `number` its JSON-RPC number, `http_status` its status.

    Clients retry on 5xx, so none of those stands for a client's fault.
    """

    PARSE_ERROR = (-32700, 400)
    BAD_REQUEST = (-32600, 400)
    INTERNAL_SERVER_ERROR = (-32603, 500)
    NOT_IMPLEMENTED = (-32603, 501)
    BAD_GATEWAY = (-32603, 502)
    SERVICE_UNAVAILABLE = (-32603, 503)
    GATEWAY_TIMEOUT = (-32603, 504)
    UNAUTHORIZED = (-32001, 401)
    PAYMENT_REQUIRED = (-32002, 402)
    FORBIDDEN = (-32003, 403)
    NOT_FOUND = (-32004, 404)
    METHOD_NOT_SUPPORTED = (-32005, 405)
    TIMEOUT = (-32008, 408)
    CONFLICT = (-32009, 409)
    PRECONDITION_FAILED = (-32012, 412)
    PAYLOAD_TOO_LARGE = (-32013, 413)
    UNSUPPORTED_MEDIA_TYPE = (-32015, 415)
    UNPROCESSABLE_CONTENT = (-32022, 422)
    PRECONDITION_REQUIRED = (-32028, 428)
    TOO_MANY_REQUESTS = (-32029, 429)
    CLIENT_CLOSED_REQUEST = (-32099, 499)

    def __init__(self, number: int, http_status: int) -> None:
        self.number = number
        self.http_status = http_status


class Reason(enum.StrEnum):
    """A domain code that rides beside a `Code`: `data.reason` over tRPC, `error.code` over REST (API A)."""

    ATTACHMENT_TOO_LARGE = "ATTACHMENT_TOO_LARGE"
    INVALID_ATTACHMENT_TYPE = "INVALID_ATTACHMENT_TYPE"

    @property
    def code(self) -> Code:
        """The code that it rides beside."""
        return _REASON_CODES[self]


_REASON_CODES = {
    Reason.ATTACHMENT_TOO_LARGE: Code.PAYLOAD_TOO_LARGE,
    Reason.INVALID_ATTACHMENT_TYPE: Code.UNSUPPORTED_MEDIA_TYPE,
}


_MAX_CAUSE_CHARACTERS = 500


class Fault(enum.Enum):
    """What was wrong with a request, finer than the `Code`: for the APIs whose documents have a word of their own for it."""

    NOT_A_FORM = enum.auto()
    NO_FILE = enum.auto()
    TOO_MANY_FILES = enum.auto()
    NO_FILENAME = enum.auto()


class ServiceError(Exception):
    """A failure that the client is told of: `code`, a message that says what to mend, and a domain `reason` if one fits.

    The message names limits and ids and nothing secret; it reaches the client as it stands. `fault` is for those who render it.
    """

    def __init__(self, code: Code, message: str, *, reason: Reason | None = None, fault: Fault | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = reason
        self.fault = fault

    @property
    def origin(self) -> BaseException | None:
        """What a driver raised that this was made of, maybe by way of other errors of this kind; None if there was nothing."""
        found = self.__cause__
        while isinstance(found, ServiceError) and found.__cause__ is not None:
            found = found.__cause__
        return found

    @property
    def cause(self) -> str:
        """The origin in one line for the log; empty without one."""
        origin = self.origin
        if origin is None:
            return ""
        return f"{type(origin).__qualname__}: {' '.join(str(origin).split())[:_MAX_CAUSE_CHARACTERS]}"


class RateLimited(ServiceError):  # noqa: N818 (it says what happened; that it is an error its base says)
    """The caller asked too often; it may come again after `retry_after_s` seconds."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(Code.TOO_MANY_REQUESTS, f"too many requests: try again in {retry_after_s} seconds")
        self.retry_after_s = retry_after_s


class ClientDisconnected(ServiceError):  # noqa: N818 (it says what happened; that it is an error its base says)
    """The client went away before its request was read whole: logged at info, never a 500."""

    def __init__(self) -> None:
        super().__init__(Code.CLIENT_CLOSED_REQUEST, "the client closed the connection before the request was complete")
