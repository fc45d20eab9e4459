"""The members of everything that has members: Structs, dataclasses, TypedDicts and named tuples."""

import dataclasses
import typing
from typing import Any, Literal, NamedTuple

import msgspec

from server.typescript.annotations import class_of, may_be_unset

Direction = Literal["input", "output"]


class Member(NamedTuple):
    """A member by its name on the wire. `default` is NODEFAULT where there is none to tell."""

    name: str
    annotation: Any
    may_lack: bool  # when it is sent to the server
    may_be_left_out: bool  # when it comes from the server
    default: object = msgspec.NODEFAULT

    def is_optional(self, direction: Direction) -> bool:
        """Whether the member may be absent."""
        return self.may_lack if direction == "input" else self.may_be_left_out


class Shape(NamedTuple):
    """What a class is on the wire: an object with these members, or an array of them; `tag` is a member of its own."""

    members: list[Member]
    is_array: bool = False
    tag: tuple[str, str | int] | None = None


def shape_of(annotation: Any) -> Shape | None:
    """The shape of a class or of a generic one with its arguments; None for what has no members."""
    cls = class_of(annotation)
    if not isinstance(cls, type):
        return None
    if issubclass(cls, msgspec.Struct):
        return _struct(annotation, cls)
    if dataclasses.is_dataclass(cls):
        hints = _hints(annotation, cls)
        return Shape([_dataclass_member(field, hints[field.name]) for field in dataclasses.fields(cls)])
    if typing.is_typeddict(cls):
        hints = _hints(annotation, cls)
        required: frozenset[str] = getattr(cls, "__required_keys__", frozenset())
        return Shape([Member(name, hint, name not in required, name not in required) for name, hint in hints.items()])
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        hints, defaults = _hints(annotation, cls), getattr(cls, "_field_defaults", {})
        return Shape(
            [Member(name, hints.get(name, Any), name in defaults, False) for name in getattr(cls, "_fields", ())], is_array=True
        )
    return None


def _struct(annotation: Any, cls: type[msgspec.Struct]) -> Shape:
    config = cls.__struct_config__
    members = [
        Member(
            name=field.encode_name,
            annotation=field.type,
            may_lack=not field.required,
            may_be_left_out=not config.array_like
            and (may_be_unset(field.type) or (config.omit_defaults and not field.required)),
            default=field.default,
        )
        for field in msgspec.structs.fields(annotation)
    ]
    tag = None if config.tag_field is None or config.tag is None else (config.tag_field, config.tag)
    return Shape(members, config.array_like, tag)


def _dataclass_member(field: "dataclasses.Field[Any]", hint: Any) -> Member:
    required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    default = msgspec.NODEFAULT if field.default is dataclasses.MISSING else field.default
    return Member(field.name, hint, not required, may_be_unset(hint), default)


def _hints(annotation: Any, cls: type) -> dict[str, Any]:
    """The annotations of a class's members, with the arguments of a generic one in the place of its parameters."""
    hints = typing.get_type_hints(cls, include_extras=True)
    arguments = dict(zip(getattr(cls, "__parameters__", ()), typing.get_args(annotation), strict=False))
    return {name: _substituted(hint, arguments) for name, hint in hints.items()}


def _substituted(hint: Any, arguments: dict[Any, Any]) -> Any:
    if hint in arguments:
        return arguments[hint]
    parameters = getattr(hint, "__parameters__", ())
    return hint[tuple(arguments.get(parameter, Any) for parameter in parameters)] if parameters else hint
