"""tRPC over HTTP, reading: what a request asks for, before anything runs. Pure: bytes in, values or ServiceError out.

The order of the checks is that of `resolveResponse` and `getRequestInfo` in `@trpc/server` 11.25: escapes in the path, content
type, batch size, mixed kinds, `connectionParams`, JSONL without batch. Those fail the request as a whole. What concerns one
call (unknown path, wrong method, its input) is that call's outcome: `check_method` and `Inputs`.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal
from urllib.parse import unquote_to_bytes

import msgspec

from procedures import Kind, Procedure, no_procedure
from schemas import Code, ServiceError
from server.trpc.jsontext import read_json
from server.trpc.superjson import deserialize

JSON = b"application/json"
JSONL = b"application/jsonl"
FORM_DATA = b"multipart/form-data"
OCTET_STREAM = b"application/octet-stream"
_FILE_TYPES = (FORM_DATA, OCTET_STREAM)  # of bodies that only POST may have

_JSON_ESCAPES = tuple((f"%{ord(character):02X}".encode(), character.encode()) for character in '"{}:,[]')

Headers = Mapping[bytes, bytes]
AnswerForm = Literal["json", "jsonl", "sse"]
Find = Callable[[str], Procedure | None]


class Rules(msgspec.Struct, frozen=True):
    """What the operator set for the endpoint; the defaults are those of the settings."""

    max_batch_size: int = 100
    method_override: bool = True


class Request(msgspec.Struct, frozen=True):
    """What one HTTP request asks for: its calls as (path, procedure or None), and the still encoded `input` parameter.

    `connection_params` is what the client says of itself where it can set no headers. `file_type` is the media type of a body
    that is a file or a form, None when it is JSON. `answer` is the form of what goes back, and `last_event_id` what a client
    of server-sent events has seen last, None if it says nothing.
    """

    method: str
    is_batch: bool
    calls: list[tuple[str, Procedure | None]]
    query_input: bytes | None
    connection_params: dict[str, str] | None = None
    file_type: bytes | None = None
    answer: AnswerForm = "json"
    last_event_id: str | None = None


def parse_request(method: str, path: bytes, query: bytes, headers: Headers, find: Find, rules: Rules) -> Request:
    """The calls of a request; `path` and `query` are raw, the path without the endpoint's prefix. HEAD never comes here.

    Raises ServiceError when the request fails as a whole.
    """
    decoded = _decode_path(path)
    content_type = headers.get(b"content-type")
    if content_type is not None:
        content_type = content_type.split(b";", 1)[0].strip().lower()
    if content_type != JSON and (method != "GET" or content_type in _FILE_TYPES):
        if method == "POST" and content_type in _FILE_TYPES:
            if wants_jsonl(headers):
                _refuse_jsonl(is_batch=False)
            return Request(method, False, [(decoded, find(decoded))], None, file_type=content_type)  # tRPC looks for no batch
        raise _unreadable(content_type, headers)
    parameters = parse_query(query)
    is_batch = _decode_value(parameters.get(b"batch", b"")) == b"1"
    calls = _batch(decoded, find, rules) if is_batch else [(decoded, find(decoded))]
    connection_params = None
    if b"connectionParams" in parameters:
        connection_params = read_connection_params(_decode_value(parameters[b"connectionParams"]))
    query_input = parameters.get(b"input")
    if wants_jsonl(headers):
        _refuse_jsonl(is_batch)
        return Request(method, is_batch, calls, query_input, connection_params, answer="jsonl")
    if not is_batch and (procedure := calls[0][1]) is not None and procedure.kind == "subscription":
        event_id = last_event_id(headers, parameters)
        return Request(method, is_batch, calls, query_input, connection_params, answer="sse", last_event_id=event_id)
    return Request(method, is_batch, calls, query_input, connection_params)


def _decode_path(path: bytes) -> str:
    """The path with its escapes decoded as decodeURIComponent does: bad escapes and bad UTF-8 are errors, `+` is itself."""
    if b"%" not in path:
        return path.decode("latin-1")
    decoded = unquote_to_bytes(path)
    # unquote_to_bytes leaves what is no escape; then fewer escapes were decoded than there are percent signs.
    if len(path) - len(decoded) == 2 * path.count(b"%"):
        try:
            return decoded.decode()
        except UnicodeDecodeError:
            pass
    raise ServiceError(Code.BAD_REQUEST, f'Invalid URL-encoding in path "{path.decode("latin-1")}"')


def _unreadable(content_type: bytes | None, headers: Headers) -> ServiceError:
    """The error for a content type that procedures cannot be called with."""
    if content_type in _FILE_TYPES:
        message = f"Only POST requests are supported for {content_type.decode()} requests"
        return ServiceError(Code.METHOD_NOT_SUPPORTED, message)
    if content_type is None:
        return ServiceError(Code.UNSUPPORTED_MEDIA_TYPE, "Missing content-type header")
    sent = headers[b"content-type"].decode("latin-1")
    return ServiceError(Code.UNSUPPORTED_MEDIA_TYPE, f'Unsupported content-type "{sent}')


def _batch(path: str, find: Find, rules: Rules) -> list[tuple[str, Procedure | None]]:
    if path.count(",") >= rules.max_batch_size:
        raise ServiceError(Code.BAD_REQUEST, "Batch call exceeds maximum size")
    calls = [(part, find(part)) for part in path.split(",")]
    kinds: dict[Kind, None] = {procedure.kind: None for _, procedure in calls if procedure is not None}
    if len(kinds) > 1:
        raise ServiceError(Code.BAD_REQUEST, f"Cannot mix procedure types in call: {', '.join(kinds)}")
    return calls


def parse_query(query: bytes) -> dict[bytes, bytes]:
    """The parameters of a query string by decoded name, their values still encoded; the first of equal names counts.

    As URLSearchParams reads it: `&` separates, `;` does not, an empty part is nothing.
    """
    parameters: dict[bytes, bytes] = {}
    for part in query.split(b"&"):
        name, _, value = part.partition(b"=")
        if b"%" in name or b"+" in name:
            name = unquote_to_bytes(name.replace(b"+", b" "))
        if part:
            parameters.setdefault(name, value)
    return parameters


def _decode_value(value: bytes) -> bytes:
    """A parameter's value: `+` is a space, escapes are decoded once, a stray `%` stays."""
    if b"+" in value:
        value = value.replace(b"+", b" ")
    if b"%" in value:
        # What encodeURIComponent makes of JSON, most of it these seven, five times as fast this way. None of the characters
        # they stand for can be part of another escape, so nothing is decoded twice.
        for escape, character in _JSON_ESCAPES:
            value = value.replace(escape, character)
        if b"%" in value:
            value = unquote_to_bytes(value)
    return value


def wants_jsonl(headers: Headers) -> bool:
    """Whether the client asks for JSON lines: `trpc-accept` decides if it is there, else an exact token of `accept`."""
    chosen = headers.get(b"trpc-accept")
    if chosen is not None:
        return chosen == JSONL
    accept = headers.get(b"accept")
    return accept is not None and JSONL in accept and any(token.strip() == JSONL for token in accept.split(b","))


def last_event_id(headers: Headers, parameters: Mapping[bytes, bytes]) -> str | None:
    """What an EventSource has seen last: its header, else the query string; None if neither says anything.

    EventSource writes the id as UTF-8 (HTML, 9.2.4), which tRPC's adapter for Node reads as Latin-1. White space around it is
    not part of a header (RFC 9110, 5.5), but the parser leaves what stands behind.
    """
    value = headers.get(b"last-event-id")
    if value is not None:
        value = value.strip(b" \t")
    else:
        encoded = parameters.get(b"lastEventId", parameters.get(b"Last-Event-Id"))
        value = None if encoded is None else _decode_value(encoded)
    return value.decode("utf-8", "replace") if value else None


def resumed(input: Any, event_id: str | None) -> Any:
    """The input of a subscription with the id that its client has seen last: in an object, or as one where there is none."""
    if not event_id:
        return input
    if isinstance(input, dict):
        return {**input, "lastEventId": event_id}
    return {"lastEventId": event_id} if input is None or input is msgspec.UNSET else input


def _refuse_jsonl(is_batch: bool) -> None:
    if not is_batch:
        raise ServiceError(Code.BAD_REQUEST, "Streaming requests must be batched (you can do a batch of 1)")


def read_connection_params(text: bytes) -> dict[str, str] | None:
    """The `connectionParams` in a query string, which tRPC requires to be null or an object of strings. Raises PARSE_ERROR."""
    try:
        parsed = read_json(text)
    except ServiceError as error:
        raise ServiceError(Code.PARSE_ERROR, "Not JSON-parsable query params") from error
    if parsed is None:
        return None
    if not isinstance(parsed, dict) or not all(isinstance(value, str) for value in parsed.values()):
        raise ServiceError(Code.PARSE_ERROR, "Invalid connection params shape")
    return parsed


def accepted_methods(kind: Kind, rules: Rules) -> str:
    """The methods that a procedure of that kind answers, as the `allow` header of a 405 lists them."""
    if kind == "mutation":
        return "POST"
    return "GET, POST" if rules.method_override else "GET"


def check_call(method: str, path: str, procedure: Procedure | None, rules: Rules, *, is_batch: bool = False) -> Procedure:
    """The procedure, if there is one and it may be called so. Raises NOT_FOUND, METHOD_NOT_SUPPORTED, BAD_REQUEST."""
    if procedure is None:
        raise no_procedure(path)
    kind = procedure.kind
    if not (method == "GET" and kind != "mutation") and not (
        method == "POST" and (kind == "mutation" or rules.method_override)
    ):
        raise ServiceError(Code.METHOD_NOT_SUPPORTED, f'Unsupported {method}-request to {kind} procedure at path "{path}"')
    if is_batch and kind == "subscription":
        raise ServiceError(Code.BAD_REQUEST, "Cannot batch subscription calls")
    return procedure


def refused_method(request: Request, rules: Rules) -> bytes:
    """What the `allow` header of a stream lists when the method is wrong for the kind of its calls; empty when it is right."""
    for path, procedure in request.calls:
        if procedure is not None:  # they are all of one kind
            try:
                check_call(request.method, path, procedure, rules)
            except ServiceError:
                return accepted_methods(procedure.kind, rules).encode()
            break
    return b""


class Inputs:
    """The inputs of a request's calls, decoded when the first call asks for its own, which is after authentication.

    `text` is the JSON text, or the error that kept it from being read; then every call that asks gets that error.
    """

    def __init__(self, text: bytes | ServiceError, is_batch: bool, count: int) -> None:
        self._text = text
        self._is_batch = is_batch
        self._count = count
        self._inputs: dict[int, Any] | None = None

    @property
    def unread(self) -> bool:
        """Whether the text could not be read to its end."""
        return isinstance(self._text, ServiceError)

    def of(self, index: int) -> Any:
        """The input of the call at that index; UNSET if it has none. Raises BAD_REQUEST."""
        if self._inputs is None:
            if isinstance(self._text, ServiceError):
                raise self._text
            self._inputs = self._read(self._text)
        return self._inputs.get(index, msgspec.UNSET)

    def _read(self, text: bytes) -> dict[int, Any]:
        if not text:
            return {}
        parsed = read_json(text)
        if not self._is_batch:
            return {0: deserialize(parsed)}
        if not isinstance(parsed, dict):
            raise ServiceError(Code.BAD_REQUEST, '"input" needs to be an object when doing a batch call')
        keys = ((index, str(index)) for index in range(self._count))
        return {index: deserialize(parsed[key]) for index, key in keys if key in parsed}


def query_inputs(request: Request) -> Inputs:
    """The inputs of a GET request, which come from the query string."""
    value = request.query_input
    return Inputs(_decode_value(value) if value else b"", request.is_batch, len(request.calls))
