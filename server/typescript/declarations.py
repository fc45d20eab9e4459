"""The named types of a module: which there are, what they are called, and their text."""

import enum
import inspect
import itertools
import re
import typing
from collections.abc import Callable, Iterator
from typing import Any

from server.typescript.annotations import bare, class_of, union_parts, without_unset
from server.typescript.expressions import Expressions
from server.typescript.jsdoc import comment, literal, member_name, union
from server.typescript.members import Direction, Member, Shape, shape_of

Key = tuple[Any, Direction]
# Names that the module uses for something else: its own, and those of the language that its types are made of.
_TAKEN = frozenset(
    {
        *("AppRouter", "AppRouterRecord", "Inputs", "Outputs", "Root", "Tracked"),
        *("ErrorCode", "ErrorData", "ErrorNumber", "ErrorReason", "ErrorShape", "HttpStatus"),
        *("TRPCBuiltRouter", "TRPCMutationProcedure", "TRPCQueryProcedure", "TRPCSubscriptionProcedure"),
        *("inferRouterInputs", "inferRouterOutputs"),
        *("Array", "AsyncIterable", "Blob", "Date", "Error", "File", "FormData", "Map", "Partial", "Promise", "Record"),
        *("RegExp", "Set", "URL", "Uint8Array"),
        *("any", "bigint", "boolean", "never", "null", "number", "object", "string", "symbol", "undefined", "unknown", "void"),
    }
)
_WORDS = {"str": "String", "int": "Number", "float": "Number", "bool": "Boolean", "NoneType": "Null", "object": "Unknown"}


class Declarations:
    """Collects the classes that types refer to, in the order in which they are met, and renders them."""

    def __init__(self) -> None:
        self._references: dict[Key, list[Key]] = {}
        self._names: dict[Key, str] = {}

    def collect(self, annotation: Any, direction: Direction) -> None:
        """Take the classes that the annotation refers to, and those that these refer to."""
        self._collected(lambda expressions: expressions.render(annotation, direction))

    def _collected(self, render: Callable[[Expressions], object]) -> list[Key]:
        met: list[Key] = []

        def meet(type_: Any, direction: Direction) -> str:
            met.append((type_, direction))
            return "_"

        render(Expressions(meet))
        for key in met:
            if key not in self._references:
                self._references[key] = []
                self._references[key] = self._collected(lambda expressions, key=key: _body(key, expressions))  # type: ignore[misc]
        return met

    def name(self, type_: Any, direction: Direction) -> str:
        """The name of a collected class in that direction."""
        return self._names[type_, direction]

    def render(self) -> str:
        """All declarations. From here on `name` answers."""
        self._give_names()
        rendered: dict[str, str] = {}
        for key in self._references:
            expressions = Expressions(self.name)
            rendered.setdefault(self._names[key], _declaration(key, self._names[key], expressions))
        return "\n".join(rendered.values())

    def _give_names(self) -> None:
        different = self._different()
        taken = set(_TAKEN)
        for type_, direction in self._references:
            other: Key = (type_, "output" if direction == "input" else "input")
            if other in self._names and type_ not in different:
                self._names[type_, direction] = self._names[other]
                continue
            suffix = "Input" if direction == "input" and type_ in different else ""
            name = next(name for name in _candidates(type_, suffix) if name not in taken)
            taken.add(name)
            self._names[type_, direction] = name

    def _different(self) -> set[Any]:
        """The types that look different when they are sent and when they come."""
        both = [
            type_ for type_, direction in self._references if direction == "output" and (type_, "input") in self._references
        ]
        plain = Expressions(lambda type_, _: _base_name(type_))
        different = {type_ for type_ in both if _body((type_, "input"), plain) != _body((type_, "output"), plain)}
        while True:
            more = {
                type_
                for type_ in both
                if type_ not in different and any(part in different for part, _ in self._references[type_, "input"])
            }
            if not more:
                return different
            different |= more


def _declaration(key: Key, name: str, expressions: Expressions) -> str:
    type_, _ = key
    cls = class_of(type_)
    body = _body(key, expressions)
    keyword = f"interface {name}" if body.startswith("{") else f"type {name} ="
    end = "" if body.startswith("{") else ";"
    return f"{comment(_doc(cls))}export {keyword} {body}{end}\n"


def _body(key: Key, expressions: Expressions) -> str:
    type_, direction = key
    shape = shape_of(type_)
    if shape is None:
        return union([literal(member.value) for member in type_])
    return _tuple(shape, direction, expressions) if shape.is_array else _object(shape, direction, expressions)


def _object(shape: Shape, direction: Direction, expressions: Expressions) -> str:
    lines = [f"  {member_name(shape.tag[0])}: {literal(shape.tag[1])};\n"] if shape.tag else []
    for member in shape.members:
        optional = member.is_optional(direction)
        type_ = union([expressions.render(part, direction) for part in without_unset(member.annotation)])
        if optional and direction == "input":  # superjson sends undefined as such, and we take it for absent
            type_ = union([type_, "undefined"])
        lines.append(comment(_member_doc(member, direction), "  "))
        lines.append(f"  {member_name(member.name)}{'?' if optional else ''}: {type_};\n")
    return "{\n" + "".join(lines) + "}"


def _tuple(shape: Shape, direction: Direction, expressions: Expressions) -> str:
    parts = [literal(shape.tag[1])] if shape.tag else []
    for index, member in enumerate(shape.members):
        # What stands before a member that must be there cannot be left out.
        optional = "?" if all(later.is_optional(direction) for later in shape.members[index:]) else ""
        label = re.sub(r"\W|^(?=\d)", "_", member.name)
        parts.append(f"{label}{optional}: {expressions.render(member.annotation, direction)}")
    return f"[{', '.join(parts)}]"


def _member_doc(member: Member, direction: Direction) -> str:
    plain = bare(member.annotation)
    lines = [plain.description]
    if direction == "input":
        what = "Length" if plain.type is str else "Items"
        tags = {"minimum": "ge", "maximum": "le", f"min{what}": "min_length", f"max{what}": "max_length"}
        bounds = [(tag, getattr(meta, name)) for meta in plain.meta for tag, name in tags.items()]
        lines += [f"@{tag} {bound}" for tag, bound in bounds if bound is not None]
        default = member.default.value if isinstance(member.default, enum.Enum) else member.default
        if isinstance(default, str | int | float):
            lines.append(f"@default {literal(default)}")
    return "\n".join(filter(None, lines))


def _doc(cls: type) -> str:
    """The docstring that the class has itself: not one that dataclasses and named tuples make, nor an inherited one."""
    doc = cls.__dict__.get("__doc__") or ""
    return "" if doc.startswith(f"{cls.__name__}(") else inspect.cleandoc(doc)


def _candidates(type_: Any, suffix: str) -> Iterator[str]:
    """Names for a class, the best first: its own, with more and more of its module before it, with a number behind it."""
    name = _base_name(type_)
    yield name + suffix
    cls = class_of(type_)
    prefix = ""
    for part in reversed(re.findall(r"[A-Za-z][A-Za-z0-9]*", cls.__module__)):
        prefix = part[0].upper() + part[1:] + prefix
        yield prefix + name + suffix
    for number in itertools.count(2):
        yield f"{name}{number}{suffix}"


def _base_name(type_: Any) -> str:
    """The name of a class, of a generic one with those of its arguments: `PageOfAttachment`."""
    arguments = "And".join(_word(argument) for argument in typing.get_args(type_))
    cls = class_of(type_)
    return re.sub(r"\W", "", f"{cls.__name__}Of{arguments}" if arguments else cls.__name__)


def _word(annotation: Any) -> str:
    """An annotation as part of a name."""
    type_ = bare(annotation).type
    parts = union_parts(type_)
    if parts is not None:
        return "Or".join(map(_word, parts))
    if typing.get_origin(type_) is typing.Literal:
        return "Literal"
    name = _base_name(type_) if isinstance(class_of(type_), type) else "Unknown"
    return _WORDS.get(name, name[:1].upper() + name[1:])
