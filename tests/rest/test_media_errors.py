"""The one shape of API B's errors, with its words and statuses."""

import msgspec
import pytest

from rest.media import render_media
from rest.replies import RangeRefused, internal_error
from schemas import ClientDisconnected, Code, RateLimited, ServiceError

DOCUMENTED = {
    Code.UNAUTHORIZED: (401, "AuthError"),
    Code.FORBIDDEN: (403, "PermissionError"),
    Code.BAD_REQUEST: (400, "InputError"),
    Code.UNSUPPORTED_MEDIA_TYPE: (400, "InputError"),
    Code.NOT_FOUND: (404, "NotFoundError"),
    Code.PAYLOAD_TOO_LARGE: (413, "TooLargeError"),
    Code.TOO_MANY_REQUESTS: (429, "RateLimitError"),
    Code.INTERNAL_SERVER_ERROR: (500, "GeneralError"),
    # Not documented: the word that fits, the status of HTTP.
    Code.METHOD_NOT_SUPPORTED: (405, "InputError"),
    Code.TIMEOUT: (408, "InputError"),
    Code.CONFLICT: (409, "InputError"),
    Code.PRECONDITION_FAILED: (412, "InputError"),
    Code.SERVICE_UNAVAILABLE: (503, "GeneralError"),
}


@pytest.mark.parametrize("code", DOCUMENTED)
def test_every_error(code: Code) -> None:
    status, error_type = DOCUMENTED[code]
    reply = render_media(ServiceError(code, "what to mend"))
    assert reply.status == status
    body = {"status": "error", "message": "what to mend", "data": None, "error_type": error_type}
    assert msgspec.json.decode(reply.body) == body
    assert list(msgspec.json.decode(reply.body)) == list(body), "in the documented order"
    assert (b"content-type", b"application/json") in reply.headers


def test_a_code_without_a_word_is_general() -> None:
    for code in set(Code) - set(DOCUMENTED):
        assert render_media(ServiceError(code, "m")).status == 500
    assert msgspec.json.decode(render_media(ClientDisconnected()).body)["error_type"] == "GeneralError"


def test_what_clients_learn_of_a_bug() -> None:
    reply = render_media(internal_error())
    assert reply.status == 500
    assert msgspec.json.decode(reply.body) == {
        "status": "error",
        "message": "Internal server error",
        "data": None,
        "error_type": "GeneralError",
    }


def test_headers_that_http_wants() -> None:
    assert (b"retry-after", b"7") in render_media(RateLimited(7)).headers
    assert (b"retry-after", b"5") in render_media(ServiceError(Code.SERVICE_UNAVAILABLE, "m")).headers
    assert (b"www-authenticate", b'Bearer realm="api"') in render_media(ServiceError(Code.UNAUTHORIZED, "m")).headers
    refused = render_media(RangeRefused(10))
    assert (refused.status, refused.headers[-1]) == (416, (b"content-range", b"bytes */10"))
