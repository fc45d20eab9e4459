"""Values that are not there yet: an awaitable, or an async iterator, as tRPC's outputs hold promises and async iterables. Pure.

As in tRPC they are found where they are the value itself or a member of it, not deeper: the wire names them by one key.
"""

import dataclasses
import inspect
from collections.abc import AsyncIterable, Iterator
from typing import Any

import msgspec

from server.trpc.superjson import ErrorValue
from server.trpc.superjson.fields import dataclass_members, struct_members

# What most members are; asking an abstract class takes ten times as long.
_NEVER = frozenset({str, int, float, bool, type(None), list, dict, bytes})


def is_awaitable(value: object) -> bool:
    """Whether the value comes once."""
    return type(value) not in _NEVER and inspect.isawaitable(value)


def is_iterable(value: object) -> bool:
    """Whether values come one after another."""
    return type(value) not in _NEVER and isinstance(value, AsyncIterable)


def members(value: object) -> Iterator[tuple[str, object]] | None:
    """The members of a value that is an object on the wire, by their encoded names; None for any other value."""
    match value:
        case dict() if all(isinstance(key, str) for key in value):
            return iter(value.items())
        case msgspec.Struct() if not value.__struct_config__.array_like and not isinstance(value, ErrorValue):
            return struct_members(value)
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return dataclass_members(value)
        case _:
            return None


def deferred_parts(value: object) -> list[object]:
    """What of a value is not there yet: the value itself, or members of it."""
    if is_awaitable(value) or is_iterable(value):
        return [value]
    parts = value if isinstance(value, list | tuple) else (part for _, part in members(value) or ())
    return [part for part in parts if is_awaitable(part) or is_iterable(part)]


def discard(part: Any) -> None:
    """Give up a part that nobody has begun to wait for."""
    if inspect.iscoroutine(part):
        part.close()
    elif is_awaitable(part) and hasattr(part, "cancel"):
        part.cancel()
