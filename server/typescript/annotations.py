"""What an annotation says beside its type, and its type without that: Annotated, NewType, Required and the like."""

import types
import typing
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

_QUALIFIERS = frozenset({typing.Final, typing.Required, typing.NotRequired, typing.ClassVar})


class Bare(NamedTuple):
    """An annotation without its wrapping, and the constraints and descriptions that it was wrapped in, outermost first."""

    type: Any
    meta: tuple[msgspec.Meta, ...]

    @property
    def description(self) -> str:
        """The outermost description, of the whole or else of a part of a union; empty if there is none."""
        for meta in self.meta:
            if meta.description:
                return meta.description
        return next(filter(None, (bare(part).description for part in union_parts(self.type) or ())), "")


def bare(annotation: Any) -> Bare:
    """The annotation, unwrapped."""
    meta: list[msgspec.Meta] = []
    while True:
        origin = typing.get_origin(annotation)
        if origin is typing.Annotated:
            annotation, *metadata = typing.get_args(annotation)
            # The last one applied is the outermost.
            meta += [part for part in reversed(metadata) if isinstance(part, msgspec.Meta)]
        elif origin in _QUALIFIERS:
            (annotation,) = typing.get_args(annotation)
        elif isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        elif hasattr(annotation, "__value__"):  # `type X = …` of Python 3.12
            annotation = annotation.__value__
        else:
            return Bare(annotation, tuple(meta))


def class_of(annotation: Any) -> Any:
    """The class of a generic one with its arguments; anything else as it is."""
    origin: Any = typing.get_origin(annotation)
    return annotation if origin is None else origin


def union_parts(annotation: Any) -> Sequence[Any] | None:
    """The members of a union; None for anything else."""
    if typing.get_origin(annotation) in {typing.Union, types.UnionType}:
        return typing.get_args(annotation)
    return None


def may_be_unset(annotation: Any) -> bool:
    """Whether UNSET, on the wire an absent member, is a value of the type."""
    type_ = bare(annotation).type
    return type_ is msgspec.UnsetType or any(map(may_be_unset, union_parts(type_) or ()))


def without_unset(annotation: Any) -> list[Any]:
    """The members of the union, or the type itself, less UNSET."""
    type_ = bare(annotation).type
    parts = union_parts(type_)
    if parts is None:
        return [] if type_ is msgspec.UnsetType else [annotation]
    return [one for part in parts for one in without_unset(part)]
