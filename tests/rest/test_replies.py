"""The one shape of errors, with the codes and statuses of API A."""

import msgspec
import pytest

from rest.replies import INTERNAL_ERROR, RangeRefused, error_reply, json_reply, method_not_allowed
from schemas import Code, Reason, ServiceError


@pytest.mark.parametrize("code", Code)
def test_renders_every_code(code: Code) -> None:
    reply = error_reply(ServiceError(code, "what to mend"))
    assert reply.status == code.http_status
    assert msgspec.json.decode(reply.body) == {"error": {"code": code.name, "message": "what to mend"}}
    assert (b"content-type", b"application/json") in reply.headers


@pytest.mark.parametrize(
    ("code", "reason", "status"),
    [
        (Code.PAYLOAD_TOO_LARGE, Reason.ATTACHMENT_TOO_LARGE, 413),
        (Code.UNSUPPORTED_MEDIA_TYPE, Reason.INVALID_ATTACHMENT_TYPE, 415),
    ],
)
def test_the_reason_is_the_code_where_there_is_one(code: Code, reason: Reason, status: int) -> None:
    reply = error_reply(ServiceError(code, "m", reason=reason))
    assert reply.status == status
    assert msgspec.json.decode(reply.body) == {"error": {"code": reason.value, "message": "m"}}


def test_tells_when_to_come_back_and_how_to_authenticate() -> None:
    assert (b"retry-after", b"5") in error_reply(ServiceError(Code.SERVICE_UNAVAILABLE, "m")).headers
    assert (b"www-authenticate", b'Bearer realm="api"') in error_reply(ServiceError(Code.UNAUTHORIZED, "m")).headers


def test_tells_the_allowed_methods_and_the_size() -> None:
    reply = method_not_allowed("BREW", b"GET, HEAD")
    assert (reply.status, reply.headers[-1]) == (405, (b"allow", b"GET, HEAD"))
    reply = error_reply(RangeRefused(10))
    assert (reply.status, reply.headers[-1]) == (416, (b"content-range", b"bytes */10"))


def test_an_internal_error_says_nothing() -> None:
    assert INTERNAL_ERROR.status == 500
    assert INTERNAL_ERROR.body == b'{"error":{"code":"INTERNAL_SERVER_ERROR","message":"Internal server error"}}'


def test_no_reply_changes_the_headers_of_the_next() -> None:
    before = json_reply(200, {}).headers.copy()
    error_reply(ServiceError(Code.UNAUTHORIZED, "m"))
    assert json_reply(200, {}).headers == before
