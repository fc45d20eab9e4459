"""tRPC over HTTP, writing: outcomes in, status and bytes out. Pure.

An outcome is the encoded data of a result, `{"json":…}`, or the error. Results are encoded once, where the output type is
known, and joined into their envelope as bytes.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from procedures import Procedure
from schemas import Code, ServiceError
from server.trpc.deferred import deferred_parts, discard
from server.trpc.superjson import is_plain, serialize

Outcome = bytes | ServiceError
MIXED = 207  # the status of a batch whose calls differ in theirs

_encode = msgspec.json.Encoder(decimal_format="number").encode


def encoder(procedure: Procedure) -> Callable[[Any], bytes]:
    """What encodes the outputs of a procedure as superjson: without a walk if the type needs no annotations."""
    return _encode_plain if is_plain(procedure.output_type) else encode_annotated


class StreamRequired(ServiceError):  # noqa: N818 (it says what is asked for; that it is an error its base says)
    """An answer in one piece cannot hold what is not there yet. Of a single call tRPC answers it for the whole request."""

    def __init__(self) -> None:
        message = "Cannot use stream-like response in non-streaming request - use httpBatchStreamLink"
        super().__init__(Code.UNSUPPORTED_MEDIA_TYPE, message)


def whole_encoder(procedure: Procedure) -> Callable[[Any], bytes]:
    """What encodes the outputs of a procedure for an answer in one piece. It raises StreamRequired for those that need more."""
    return _encode_whole if procedure.streams or not is_plain(procedure.output_type) else _encode_plain


def _encode_whole(output: Any) -> bytes:
    parts = deferred_parts(output)
    if not parts:
        return encode_annotated(output)
    for part in parts:
        discard(part)
    raise StreamRequired


def _encode_plain(output: Any) -> bytes:
    try:
        return b'{"json":' + _encode(output) + b"}"
    except UnicodeEncodeError:
        return _encode_escaped({"json": serialize(output)[0]})


def encode_annotated(output: Any) -> bytes:
    """Any value as superjson, with its annotations. Raises TypeError or ValueError for what is no data."""
    value, meta = serialize(output)
    return _encode_escaped({"json": value} if meta is None else {"json": value, "meta": meta})


def _encode_escaped(data: dict[str, Any]) -> bytes:
    try:
        return _encode(data)
    except UnicodeEncodeError:
        # Lone surrogates, which a client may have sent: UTF-8 has no bytes for them, but JSON has escapes.
        return json.dumps(data, separators=(",", ":"), default=msgspec.to_builtins).encode()


def internal(cause: Exception) -> ServiceError:
    """What a client is told of an unexpected exception: that there was one, and nothing more."""
    error = ServiceError(Code.INTERNAL_SERVER_ERROR, "Internal server error")
    error.__cause__ = cause
    return error


def render_error(error: ServiceError, path: str | None, stack: str | None = None) -> bytes:
    """The envelope of an error, wrapped by superjson.

    A failure of the whole request has no path; `stack` is for development.
    """
    return b'{"error":{"json":' + render_shape(error, path, stack) + b"}}"


def render_shape(error: ServiceError, path: str | None, stack: str | None = None) -> bytes:
    """The error shape of tRPC, not wrapped: message, number, and the data in which clients look."""
    data: dict[str, object] = {"code": error.code.name, "httpStatus": error.code.http_status}
    if stack is not None:
        data["stack"] = _encodable(stack)
    if path is not None:
        data["path"] = _encodable(path)
    if error.reason is not None:
        data["reason"] = error.reason
    return _encode({"message": _encodable(error.message), "code": error.code.number, "data": data})


def _encodable(text: str) -> str:
    """The text without lone surrogates, which a client may have put into what it repeats."""
    return text.encode("utf-8", "replace").decode()


def render_result(data: bytes) -> bytes:
    """The envelope of a result."""
    return b'{"result":{"data":' + data + b"}}"


def render_batch(envelopes: Sequence[bytes]) -> bytes:
    """A batch: also a batch of one is an array."""
    return b"[" + b",".join(envelopes) + b"]"


def status_of(outcomes: Sequence[Outcome]) -> int:
    """The common status of the calls, or 207 if they differ."""
    statuses = {200 if isinstance(outcome, bytes) else outcome.code.http_status for outcome in outcomes}
    return statuses.pop() if len(statuses) == 1 else MIXED
