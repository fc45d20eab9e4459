"""A Python annotation as a TypeScript type: what its values are behind superjson, in one direction."""

import datetime as dt
import decimal
import enum
import re
import typing
import uuid
from collections import abc
from collections.abc import Callable
from types import MappingProxyType, NoneType
from typing import Any, Final

import msgspec

from procedures import FileInput, Tracked
from server.trpc.superjson import ErrorValue, Url
from server.typescript.annotations import Bare, bare, class_of, union_parts
from server.typescript.jsdoc import array_of, literal, union
from server.typescript.members import Direction, shape_of

# The name of a class in a direction; whoever renders a module decides on it.
Namer = Callable[[Any, Direction], str]

_MAX_SAFE_INTEGER: Final = 2**53 - 1  # beyond, superjson writes a bigint
FILE: Final = "File | Blob | Uint8Array | FormData"
_LEAVES: Final = MappingProxyType(
    {
        Any: "unknown",
        object: "unknown",
        msgspec.Raw: "unknown",
        NoneType: "null",
        None: "null",
        msgspec.UnsetType: "undefined",
        bool: "boolean",
        float: "number",
        str: "string",
        bytes: "Uint8Array",
        bytearray: "Uint8Array",
        memoryview: "Uint8Array",
        dt.date: "string",
        dt.time: "string",
        dt.timedelta: "string",
        uuid.UUID: "string",
        Url: "URL",
        re.Pattern: "RegExp",
        ErrorValue: "Error",
        FileInput: FILE,
    }
)
_ARRAYS: Final = (list, abc.Sequence, abc.MutableSequence, abc.Collection, abc.Iterable)
_SETS: Final = (set, frozenset, abc.Set, abc.MutableSet)
_RECORDS: Final = (dict, abc.Mapping, abc.MutableMapping)
_LATER: Final = (abc.Awaitable, abc.Coroutine)
_ITERABLES: Final = (abc.AsyncIterable, abc.AsyncIterator, abc.AsyncGenerator)


class Expressions:
    """Renders annotations; asks `name` for what stands elsewhere in the module."""

    def __init__(self, name: Namer) -> None:
        self._name = name

    def render(self, annotation: Any, direction: Direction) -> str:
        """The TypeScript type of the annotation's values; `unknown` for a class that superjson knows nothing of."""
        plain = bare(annotation)
        parts = union_parts(plain.type)
        if parts is not None:
            return union([self.render(part, direction) for part in parts])
        leaf = _leaf(plain, direction)
        if leaf is not None:
            return leaf
        origin = class_of(plain.type)
        arguments = typing.get_args(plain.type)
        if origin is typing.Literal:
            return union([literal(value.value if isinstance(value, enum.Enum) else value) for value in arguments])
        if origin is Tracked:
            return f"Tracked<{self._argument(arguments, 0, direction)}>"
        if is_named(plain.type):
            return self._name(plain.type, direction)
        return self._container(origin, arguments, direction)

    def _container(self, origin: Any, arguments: tuple[Any, ...], direction: Direction) -> str:
        if origin is tuple:
            return self._tuple(arguments, direction)
        if origin in _RECORDS:
            return self._record(arguments, direction)
        item = self._argument(arguments, 0, direction)
        if origin in _ARRAYS:
            return array_of(item)
        if origin in _SETS:
            return f"Set<{item}>"
        if origin in _ITERABLES:
            return f"AsyncIterable<{item}, void, unknown>"
        if origin in _LATER:
            return f"Promise<{self._argument(arguments, -1, direction)}>"
        if isinstance(origin, typing.TypeVar) and origin.__bound__ is not None:
            return self.render(origin.__bound__, direction)
        return "unknown"

    def _tuple(self, arguments: tuple[Any, ...], direction: Direction) -> str:
        if not arguments or arguments[-1] is Ellipsis:
            return array_of(self._argument(arguments, 0, direction))
        return f"[{', '.join(self.render(argument, direction) for argument in arguments if argument != ())}]"

    def _record(self, arguments: tuple[Any, ...], direction: Direction) -> str:
        """A dict: an object when its keys are strings, else superjson's map, except that an empty one is an object."""
        key, value = arguments or (str, Any)
        values = self.render(value, direction)
        kinds = [_key_kind(part) for part in union_parts(bare(key).type) or [key]]
        if set(kinds) == {"any string"}:
            return f"Record<string, {values}>"
        keys = self.render(key, direction)
        if set(kinds) == {"literal"}:
            return f"Partial<Record<{keys}, {values}>>"
        return f"Map<{keys}, {values}> | Record<string, {'never' if set(kinds) == {'other'} else values}>"

    def _argument(self, arguments: tuple[Any, ...], index: int, direction: Direction) -> str:
        return self.render(arguments[index], direction) if arguments else "unknown"


def _key_kind(key: Any) -> str:
    """Whether a dict's key is any string, one of known strings, or something that makes a map of the dict; "maybe" for Any."""
    type_ = bare(key).type
    if type_ in {Any, object}:
        return "maybe"
    if typing.get_origin(type_) is typing.Literal:
        return "literal" if all(isinstance(value, str) for value in typing.get_args(type_)) else "other"
    if not isinstance(type_, type) or not issubclass(type_, str) or issubclass(type_, Url):
        return "other"
    return "literal" if issubclass(type_, enum.Enum) else "any string"


def is_named(type_: Any) -> bool:
    """Whether the type gets a name of its own in the module: a class with members, or an enum."""
    return shape_of(type_) is not None or (isinstance(type_, type) and issubclass(type_, enum.Enum))


def accepts_undefined(input_type: Any) -> bool:
    """Whether a call may be made without an input of this type."""
    type_ = bare(input_type).type
    if type_ in {None, NoneType, msgspec.UnsetType}:
        return True
    return any(map(accepts_undefined, union_parts(type_) or ()))


def _leaf(plain: Bare, direction: Direction) -> str | None:
    """The type of what has no parts, where only that and constraints count."""
    origin = class_of(plain.type)
    if origin is int:
        bounds = [bound for meta in plain.meta for bound in (meta.ge, meta.gt, meta.le, meta.lt) if bound is not None]
        return "number | bigint" if any(abs(bound) > _MAX_SAFE_INTEGER for bound in bounds) else "number"
    if origin is dt.datetime:  # without a zone it is no moment, and comes as text if at all
        return "string" if any(meta.tz is False for meta in plain.meta) else "Date"
    if origin is decimal.Decimal:
        return "number | string" if direction == "input" else "number"
    try:
        return _LEAVES.get(origin)
    except TypeError:  # unhashable: arguments of Literal and the like
        return None
