r"""JSON Schemas of the types that cross the wire, and one list of those that have names. Pure.

The limits of `Meta`, defaults and docstrings are in them, because msgspec puts them there. Patterns are rewritten: JSON Schema
has those of ECMA 262, which knows neither `\A` nor `\Z`, and whose `$` lets no final newline through.
"""

import inspect
import typing
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping
from typing import Any

import msgspec

Schema = dict[str, Any]

_REFERENCE = "#/components/schemas/{name}"
_LATER = (Awaitable, AsyncIterator)
# What these are in superjson; the schema of a bare input is msgspec's.
_BESIDE: tuple[tuple[str, str, Schema], ...] = (
    ("contentEncoding", "base64", {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 255}}),
    ("format", "decimal", {"type": "number"}),
)
_ROOMS = ("schemas", "storage", "procedures", "rest", "server")


class Schemas:
    """Collects types; the schemas that `of` gives are filled in by `finish`, when all types are known."""

    def __init__(self) -> None:
        self._asked: list[tuple[Any, Schema]] = []

    def of(self, type_: Any) -> Schema:
        """The schema of a type, empty until `finish`."""
        schema: Schema = {}
        self._asked.append((type_, schema))
        return schema

    def finish(self) -> dict[str, Schema]:
        """Fill in the schemas; gives those of the named types, which they refer to."""
        types = [type_ for type_, _ in self._asked]
        found, named = msgspec.json.schema_components(types, schema_hook=_unknown, ref_template=_REFERENCE)
        short = _short_names(named)
        for (_, schema), filled in zip(self._asked, found, strict=True):
            schema.update(_rewritten(filled, short))
        return {short.get(name, name): _rewritten(named[name], short) for name in sorted(named)}


def _short_names(named: Iterable[str]) -> dict[str, str]:
    """The names of our types without their modules, which msgspec adds to types of one name: a plugin must not rename ours."""
    ours = [name for name in named if "." in name and name.partition(".")[0] in _ROOMS]
    last = {name: name.rpartition(".")[2] for name in ours}
    return {name: short for name, short in last.items() if list(last.values()).count(short) == 1}


def _unknown(type_: Any) -> Schema:
    """The schema of a type that msgspec does not know."""
    origin = typing.get_origin(type_)
    if origin in _LATER:
        return {"description": "Comes later, to clients that read JSON lines."}
    return {"description": f"As superjson writes a {getattr(type_, '__name__', 'value')}."}


def _rewritten(schema: Any, short: Mapping[str, str]) -> Any:
    if isinstance(schema, list):
        return [_rewritten(item, short) for item in schema]
    if not isinstance(schema, dict):
        return schema
    written = {key: _rewritten_member(key, value, short) for key, value in schema.items()}
    for keyword, value, on_the_wire in _BESIDE:
        if schema.get(keyword) == value:
            return {"anyOf": [written, on_the_wire]}
    return written


def _rewritten_member(key: str, value: Any, short: Mapping[str, str]) -> Any:
    if not isinstance(value, str):  # of a keyword; or the schema of a member that is called like one
        return _rewritten(value, short)
    match key:
        case "$ref":
            prefix, _, name = value.rpartition("/")
            return f"{prefix}/{short.get(name, name)}"
        case "pattern":
            return value.replace(r"\A", "^").replace(r"\Z", "$")
        case "description":
            return inspect.cleandoc(value)
        case _:
            return value
