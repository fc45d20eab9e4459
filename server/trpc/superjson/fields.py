"""The members of structs and dataclasses as msgspec would encode them: encoded names, tag first, defaults left out."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

# What counts as a default when a factory makes it: msgspec compares by identity, and these by being empty.
_EMPTY_FACTORIES = frozenset({list, dict, set})


class _Field(NamedTuple):
    name: str
    encode_name: str
    default: object
    default_factory: object


def struct_members(value: msgspec.Struct) -> Iterator[tuple[str, object]]:
    """The members that the struct has in JSON, as an object, or as an array when it is `array_like`."""
    config = value.__struct_config__
    if config.tag_field is not None:
        yield config.tag_field, config.tag
    for field in _struct_fields(type(value)):
        member = getattr(value, field.name)
        if config.array_like or not (member is msgspec.UNSET or (config.omit_defaults and _is_default(member, field))):
            yield field.encode_name, member


@functools.cache
def _struct_fields(cls: type[msgspec.Struct]) -> tuple[_Field, ...]:
    return tuple(_Field(f.name, f.encode_name, f.default, f.default_factory) for f in msgspec.structs.fields(cls))


def _is_default(member: object, field: _Field) -> bool:
    if field.default is not msgspec.NODEFAULT:
        return member is field.default
    return type(member) is field.default_factory and field.default_factory in _EMPTY_FACTORIES and not member


def dataclass_members(value: Any) -> Iterator[tuple[str, object]]:
    """The members that the dataclass has in JSON."""
    for field in dataclasses.fields(value):
        member = getattr(value, field.name, msgspec.UNSET)
        if member is not msgspec.UNSET:
            yield field.name, member
