"""What the annotations of a procedure's function say, and the function made callable with what came over the wire."""

import inspect
import typing
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from typing import Any

import msgspec

from procedures.calls import Call, Kind, Next
from procedures.files import FileInput
from procedures.streams import Tracked
from schemas import Code, ServiceError

Function = Callable[..., Any]  # a coroutine function, or an async generator function

_STREAMS = (AsyncGenerator, AsyncIterable, AsyncIterator)


class Signature(msgspec.Struct, frozen=True):
    """The types of a procedure.

    `input_type` is None when it takes no input, and FileInput when it takes a body. `output_type` is that of one item when the
    procedure `streams`, and of the data inside when the items are `tracked`.
    """

    input_type: Any
    output_type: Any
    streams: bool
    tracked: bool


def signature_of(path: str, kind: Kind, function: Function) -> Signature:
    """The types of a function that is declared at `path`. Raises TypeError with a sentence for what cannot work."""
    streams = inspect.isasyncgenfunction(function)
    if not streams and not inspect.iscoroutinefunction(function):
        raise TypeError(f"procedure {path!r} is not an async function")
    if kind == "subscription" and not streams:
        raise TypeError(f"subscription {path!r} is not an async generator: it must yield its items")
    hints = typing.get_type_hints(function, include_extras=True)
    parameters = list(inspect.signature(function).parameters)
    if not 1 <= len(parameters) <= 2 or parameters[1:] not in ([], ["input"]):
        raise TypeError(f"procedure {path!r} must take (ctx) or (ctx, input), not ({', '.join(parameters)})")
    if missing := [name for name in [*parameters[1:], "return"] if name not in hints]:
        raise TypeError(f"procedure {path!r} lacks the annotation of {' and '.join(missing)}")
    input_type = hints.get("input", type(None)) if len(parameters) == 2 else type(None)
    output_type, tracked = hints["return"], False
    if streams:
        output_type, tracked = _item_type(path, output_type)
    if input_type is FileInput:
        if kind != "mutation":
            raise TypeError(f"{kind} {path!r} takes a file, which only a mutation may")
    else:
        _check_decodable(path, "input", input_type)
    _check_decodable(path, "output", output_type)
    return Signature(None if input_type is type(None) else input_type, output_type, streams, tracked)


def _item_type(path: str, stream_type: Any) -> tuple[Any, bool]:
    """The type of the items of an async generator, and whether they are tracked."""
    arguments = typing.get_args(stream_type)
    if typing.get_origin(stream_type) not in _STREAMS or not arguments:
        raise TypeError(f"procedure {path!r} yields: annotate it with AsyncIterator[…], not {stream_type!r}")
    if typing.get_origin(arguments[0]) is Tracked:
        return typing.get_args(arguments[0])[0], True
    return arguments[0], False


def _check_decodable(path: str, what: str, type_: Any) -> None:
    try:
        msgspec.json.Decoder(type_)
    except TypeError as error:
        raise TypeError(f"the {what} type of procedure {path!r} cannot be decoded: {error}") from error


def resolver(function: Function, signature: Signature, *, check_output: bool) -> Next:
    """The inside of the chain: read the input, decode it, run the function, and in development check what it gives."""
    if signature.streams:
        return _stream_resolver(function, signature, check_output=check_output)
    decode = None if signature.input_type is None else _decoder(signature.input_type)
    without = _without_input(function)

    async def run(call: Call) -> Any:
        if decode is None:  # what was sent is not even looked at, as in tRPC
            output = await function(call.ctx, *without)
        else:
            output = await function(call.ctx, decode(await call.read_input()))
        if check_output:
            _check_output(call.path, output, signature.output_type)
        return output

    return run


def _stream_resolver(function: Function, signature: Signature, *, check_output: bool) -> Next:
    decode = None if signature.input_type is None else _decoder(signature.input_type)
    without = _without_input(function)

    async def run(call: Call) -> Any:
        items = function(call.ctx, *without) if decode is None else function(call.ctx, decode(await call.read_input()))
        return _checked_items(call.path, items, signature) if check_output else items

    return run


async def _checked_items(path: str, items: AsyncGenerator[Any, None], signature: Signature) -> AsyncGenerator[Any, None]:
    try:
        async for item in items:
            _check_output(path, item, Tracked[signature.output_type] if signature.tracked else signature.output_type)  # type: ignore[name-defined]  # a type made at run time
            yield item
    finally:
        await items.aclose()


def _without_input(function: Function) -> tuple[None, ...]:
    return (None,) * (len(inspect.signature(function).parameters) - 1)


def _decoder(input_type: Any) -> Callable[[Any], Any]:
    """What turns a raw input into a value of the type. Undefined is None to every type that has no place for undefined."""
    if input_type is FileInput:
        return _file
    convert = msgspec.convert
    try:
        undefined = convert(msgspec.UNSET, input_type)
    except msgspec.ValidationError:
        undefined = None

    def decode(raw: Any) -> Any:
        try:
            return convert(undefined if raw is msgspec.UNSET else raw, input_type)
        except (msgspec.ValidationError, RecursionError) as error:
            raise _bad_input(error, raw) from error

    return decode


def _file(raw: Any) -> FileInput:
    if not isinstance(raw, FileInput):
        message = "this procedure takes a file: send it as application/octet-stream or multipart/form-data"
        raise ServiceError(Code.BAD_REQUEST, message)
    return raw


def _bad_input(error: Exception, raw: object) -> ServiceError:
    """The error for an input of the wrong shape: says where and what was expected."""
    if raw is None or raw is msgspec.UNSET:
        return ServiceError(
            Code.BAD_REQUEST, "the input is missing: send it as ?input=… with GET or as the JSON body with POST"
        )
    return ServiceError(Code.BAD_REQUEST, f"the input is not valid: {error}")


def _check_output(path: str, output: object, type_: Any) -> None:
    # What JSON has no form for, such as an awaitable that is to be waited for, goes around it by a name.
    held: dict[object, object] = {}

    def hold(value: object) -> str:
        name = f"\0{len(held)}"
        held[name] = value
        return name

    def give(_type: type, name: object) -> object:
        return held.get(name, name) if isinstance(name, str) else name

    try:
        msgspec.convert(msgspec.to_builtins(output, enc_hook=hold), type_, dec_hook=give)
    except msgspec.ValidationError as error:
        raise TypeError(f"the output of procedure {path!r} does not fit its annotation: {error}") from error
