"""tRPC over WebSocket: the messages of `wsLink`, read and written. Pure: the payload of a frame in, values out, and back.

As `adapters/ws.ts` and `parseTRPCMessage` in `@trpc/server` 11.25 do it. A payload holds one message or an array of them, whose
answers are messages of their own. One message that cannot be read fails its whole payload, with PARSE_ERROR and `id: null`,
since whose answer it would be is not known; the connection goes on. The inputs are deserialised here, before anything is looked
up, so a malformed one is a PARSE_ERROR as well, unlike over HTTP.

Where we leave tRPC (tests/server/test_websocket_messages.py): an input that is missing or not wrapped by superjson is taken as
it stands, as over HTTP; tRPC refuses it.
"""

import json
from collections.abc import Callable
from typing import Any, Final

import msgspec

from procedures import Procedure, Tracked
from schemas import Code, ServiceError
from server.trpc import responses
from server.trpc.jsontext import read_json
from server.trpc.superjson import deserialize

PING: Final = b"PING"
PONG: Final = b"PONG"
RECONNECT: Final = b'{"id":null,"method":"reconnect"}'
STOP: Final = "subscription.stop"

_KINDS: Final = ("query", "mutation", "subscription")
_NO_ID: Final = b'{"id":null'
_encode = msgspec.json.Encoder().encode

Id = str | int | float


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What a client sent: a call, or the end of a subscription, whose `method` is STOP. Those without an id are refused.

    `head` begins each answer to it: the id as it was sent, and `jsonrpc` if that was sent too.
    """

    head: bytes
    id: Id | None
    method: str
    path: str = ""
    input: Any = msgspec.UNSET


class Received(msgspec.Struct, frozen=True):
    """The messages of one payload, and what is answered to those that cannot be taken: the head of the answer, the error."""

    messages: list[Message]
    refusals: list[tuple[bytes, ServiceError]]


def read_payload(payload: bytes, max_batch_size: int) -> Received:
    """The messages in the payload of a text frame. Raises UnicodeDecodeError when it is no UTF-8 (RFC 6455, 8.1)."""
    if not payload.isascii():
        payload.decode()
    try:
        parsed = _parse(payload)
        if type(parsed) is not list:
            items = [parsed]
        elif len(parsed) > max_batch_size:
            return Received([], _oversized(parsed))
        else:
            items = parsed
        messages = [_message(item) for item in items]
    except ServiceError as error:
        return Received([], [unreadable(error.message)])
    if None not in [message.id for message in messages]:
        return Received(messages, [])
    no_id = ServiceError(Code.PARSE_ERROR, "`id` is required")
    refusals = [(message.head, no_id) for message in messages if message.id is None]
    return Received([message for message in messages if message.id is not None], refusals)


def unreadable(reason: str) -> tuple[bytes, ServiceError]:
    """The refusal of a payload that is no message: without an id, and always a PARSE_ERROR."""
    return _NO_ID, ServiceError(Code.PARSE_ERROR, reason)


def refuse_connection(error: ServiceError) -> bytes:
    """The message that says why the connection is of no use; tRPC's client waits longer each time before it tries again."""
    return write_error(_NO_ID, error, None)


def read_connection_params(payload: bytes) -> dict[str, str] | None:
    """The parameters in the first message of a client that announced them. Raises PARSE_ERROR."""
    try:
        parsed = _parse(payload)
    except ServiceError as error:
        raise ServiceError(Code.PARSE_ERROR, f"Malformed TRPCConnectionParamsMessage: {error.message}") from error
    if not isinstance(parsed, dict):
        raise ServiceError(Code.PARSE_ERROR, "Malformed TRPCConnectionParamsMessage: it must be an object")
    params = parsed.get("data", msgspec.UNSET)
    if params is None:
        return None
    if not isinstance(params, dict) or not all(isinstance(value, str) for value in params.values()):
        raise ServiceError(Code.PARSE_ERROR, "Invalid connection params shape")
    return params


def _parse(payload: bytes) -> Any:
    if payload.startswith(b"\xef\xbb\xbf"):  # which JSON.parse takes no more than any other character before the value
        raise ServiceError(Code.PARSE_ERROR, "the message is not valid JSON: it begins with a byte order mark")
    return read_json(payload)


def _oversized(items: list[Any]) -> list[tuple[bytes, ServiceError]]:
    """The refusal of each call in an array of too many, so that no client waits for ever; of the array if it has no call."""
    error = ServiceError(Code.BAD_REQUEST, "Batch call exceeds maximum size")
    heads = [
        _head(item["id"], item.get("jsonrpc") == "2.0")
        for item in items
        if isinstance(item, dict) and item.get("method") != STOP and _is_id(item.get("id"))
    ]
    return [(head, error) for head in heads or [_NO_ID]]


def _message(item: Any) -> Message:
    if type(item) is not dict:
        raise _refusal("a message must be an object")
    id = item.get("id", msgspec.UNSET)
    if id is not None and not _is_id(id):
        raise _refusal("`id` must be a string or a number")
    jsonrpc = item.get("jsonrpc", msgspec.UNSET)
    if jsonrpc is not msgspec.UNSET and jsonrpc != "2.0":
        raise _refusal('`jsonrpc` must be "2.0"')
    head = _head(id, jsonrpc is not msgspec.UNSET)
    method = item.get("method")
    if method == STOP:
        return Message(head=head, id=id, method=STOP)
    if method not in _KINDS:
        raise _refusal(f"`method` must be query, mutation, subscription or {STOP}")
    params = item.get("params")
    if type(params) is not dict:
        raise _refusal("`params` must be an object")
    path, event_id = params.get("path"), params.get("lastEventId", msgspec.UNSET)
    if type(path) is not str or (event_id is not msgspec.UNSET and type(event_id) is not str):
        raise _refusal("`params.path`, and `params.lastEventId` if it is there, must be strings")
    input = params.get("input", msgspec.UNSET)
    if input is not msgspec.UNSET:
        input = deserialize(input)
    if event_id is not msgspec.UNSET:
        input = _resumed(input, event_id)
    return Message(head=head, id=id, method=method, path=path, input=input)


def _refusal(text: str) -> ServiceError:
    return ServiceError(Code.PARSE_ERROR, text)


def _is_id(id: object) -> bool:
    return type(id) in (int, str, float)  # bool, which is an int to isinstance, is none


def _resumed(input: Any, event_id: str) -> Any:
    """The input with the id of the last event that the client has seen: in an object, or as one where there is none."""
    if isinstance(input, dict):
        return {**input, "lastEventId": event_id}
    return {"lastEventId": event_id} if input is None or input is msgspec.UNSET else input


def _head(id: Id | None, jsonrpc: bool) -> bytes:
    head = b'{"id":%d' % id if type(id) is int else b'{"id":' + _encode_text(id)
    return head + b',"jsonrpc":"2.0"' if jsonrpc else head


def _encode_text(text: Id | None) -> bytes:
    try:
        return _encode(text)
    except UnicodeEncodeError:  # lone surrogates, for which JSON has escapes
        return json.dumps(text).encode()


def item_encoder(procedure: Procedure) -> Callable[[Any], bytes]:
    """What encodes the items of a subscription, `data` of the message with its `id` where the items are tracked."""
    if not procedure.tracked:
        return responses.encoder(procedure)
    # The client is given both members of a tracked item, unlike over server-sent events.
    tracked = Tracked[procedure.output_type]  # type: ignore[name-defined]  # a type made at run time
    encode = responses.encoder(msgspec.structs.replace(procedure, output_type=tracked))
    return lambda item: encode(item) + b',"id":' + _encode_text(item.id)


def write_data(head: bytes, data: bytes) -> bytes:
    """The result of a query or mutation, or an item; `data` is encoded."""
    return head + b',"result":{"type":"data","data":' + data + b"}}"


def write_started(head: bytes) -> bytes:
    """The subscription runs."""
    return head + b',"result":{"type":"started"}}'


def write_stopped(head: bytes) -> bytes:
    """The subscription is over, and its id free again."""
    return head + b',"result":{"type":"stopped"}}'


def write_error(head: bytes, error: ServiceError, path: str | None, stack: str | None = None) -> bytes:
    """The failure of a call, or with the head of a refusal, that of a message."""
    return head + b"," + responses.render_error(error, path, stack)[1:]


def check_call(message: Message, find: Callable[[str], Procedure | None]) -> Procedure:
    """The procedure that the message calls. Raises NOT_FOUND also when it is of another kind, as tRPC does here."""
    procedure = find(message.path)
    if procedure is None or procedure.kind != message.method:
        raise ServiceError(Code.NOT_FOUND, f'No "{message.method}"-procedure on path "{message.path}"')
    return procedure


def no_stream(procedure: Procedure) -> ServiceError:
    """The error of a query or mutation that streams, which only JSON lines can carry."""
    message = f"Cannot return an async iterable or observable from a {procedure.kind} procedure with WebSockets"
    return ServiceError(Code.UNSUPPORTED_MEDIA_TYPE, message)
