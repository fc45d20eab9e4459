"""Reading: decoded JSON and its annotations to Python values, as superjson's `deserialize` applies them.

Everything here is a loop over a stack of its own: how deep a payload is nested is the client's choice.
Work is bounded twice. `_Budget` bounds the steps along paths, which an annotation tree could otherwise make
quadratic. `_weigh` bounds what referential equalities build: they only alias, but ten lines of aliases already say
a value of gigabytes to whoever writes it out.
"""

from typing import Any, Final

import msgspec

from server.trpc.superjson.paths import Slot, find_slot, parse_path, read_slot, write_slot
from server.trpc.superjson.transforms import PATTERN_COST, restore
from server.trpc.superjson.values import ErrorDraft, ErrorValue, MapDraft, SetDraft, refusal

# Keys stepped along for one payload: 14,000 dates five keys deep fill a body of 1 MiB and take 70,000.
_MAX_STEPS: Final = 500_000
# How many times heavier than the JSON that was sent a value may become by aliases, and what is always allowed.
_MAX_GROWTH: Final = 10
_FREE_WEIGHT: Final = 100_000
_DRAFTS: Final = (SetDraft, MapDraft, ErrorDraft)
_CONTAINERS: Final = (list, dict, *_DRAFTS)
# An annotation tree, the path it stands at, and whether its children are applied already.
_Annotations = tuple[object, list[str], bool]


def deserialize(payload: object) -> object:
    """The input that `payload`, the decoded JSON of one input, stands for.

    An object with a "json" member is superjson's; anything else is the input itself. An undefined root gives
    msgspec.UNSET. The payload is used up: its containers become part of the result.
    Raises ServiceError(BAD_REQUEST), and nothing else, for annotations that cannot be applied.
    """
    if not isinstance(payload, dict) or "json" not in payload:
        return payload
    meta = payload.get("meta")
    if not isinstance(meta, dict):
        return payload["json"]
    return _Reader(payload["json"], meta.get("v")).read(meta.get("values"), meta.get("referentialEqualities"))


class _Budget:
    def __init__(self) -> None:
        self._left = _MAX_STEPS

    def spend(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise refusal("the annotations take too long to apply")


class _Reader:
    """One payload: its value sits in a list of its own, so that the root is a slot like any other."""

    def __init__(self, value: object, version: object) -> None:
        self._root: list[object] = [value]
        self._slot: Slot = (self._root, 0)
        self._legacy = version is None or (isinstance(version, int | float) and version < 1)
        self._budget = _Budget()
        self._has_drafts = False

    def read(self, values: object, equalities: object) -> object:
        if values:
            self._apply_values(values)
        if equalities:
            limit = _MAX_GROWTH * _weigh(self._root) + _FREE_WEIGHT
            self._apply_equalities(equalities)
            if _weigh(self._root, limit) > limit:
                raise refusal("referential equalities make the value too large")
        if self._has_drafts:
            _finish(self._root)
        return self._root[0]

    def _parse(self, text: str) -> list[str]:
        path = parse_path(text, legacy=self._legacy)
        self._budget.spend(len(path))
        return path

    def _apply_values(self, tree: object) -> None:
        """Apply an annotation tree: an object of paths, or a leaf [annotation, children?], children before their parent."""
        todo: list[_Annotations] = [(tree, [], False)]
        while todo:
            node, path, is_ready = todo.pop()
            if not isinstance(node, list):
                todo.extend(self._children(node, path))
            elif is_ready:
                self._apply_leaf(node, path)
            else:
                todo.append((node, path, True))
                if len(node) > 1:
                    todo.extend(self._children(node[1], path))

    def _children(self, node: object, path: list[str]) -> list[_Annotations]:
        """The subtrees of an object of paths, the last one first."""
        node = node or {}
        if not isinstance(node, dict):
            raise refusal("annotations must be an object of paths")
        children: list[_Annotations] = []
        for key, child in reversed(node.items()):
            self._budget.spend(len(path))
            children.append((child, [*path, *self._parse(key)], False))
        return children

    def _apply_leaf(self, leaf: list[object], path: list[str]) -> None:
        if not leaf:
            raise refusal("an annotation must not be empty")
        slot = find_slot(self._slot, path)
        self._budget.spend(len(path))
        value = read_slot(slot)
        if leaf[0] == "regexp" and isinstance(value, str):
            self._budget.spend(PATTERN_COST * len(value))
        restored = restore(value, leaf[0])
        self._has_drafts |= restored is msgspec.UNSET or isinstance(restored, _DRAFTS)
        write_slot(slot, restored)

    def _apply_equalities(self, equalities: object) -> None:
        """Apply {path: [equal paths]}, or [[paths equal to the root], {…}?]."""
        others = equalities
        if isinstance(equalities, list):
            self._alias(self._root[0], equalities[0])
            others = equalities[1] if len(equalities) > 1 else None
        others = others or {}
        if not isinstance(others, dict):
            raise refusal("referential equalities must be an object of paths")
        for path, equal_paths in others.items():
            self._alias(read_slot(find_slot(self._slot, self._parse(path))), equal_paths)

    def _alias(self, value: object, paths: object) -> None:
        if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
            raise refusal("equal paths must be an array of strings")
        for path in paths:
            write_slot(find_slot(self._slot, self._parse(path)), value)


def _parts(node: object) -> list[object]:
    """What a container holds; nothing for any other value."""
    match node:
        case list():
            return node
        case dict():
            return list(node.values())
        case SetDraft():
            return node.members
        case MapDraft():
            return [part for row in node.rows for part in row]
        case ErrorDraft():
            return list(node.members.values())
        case _:
            return []


def _weigh(root: list[object], limit: float = float("inf")) -> int:
    """How many parts and characters `root` has written out, aliases counted each time; a cycle counts once.

    Stops counting a container's copies once `limit` is passed.
    """
    weights: dict[int, int] = {}
    todo: list[tuple[object, bool]] = [(root, False)]
    while todo:
        node, is_open = todo.pop()
        parts = _parts(node)
        if is_open:
            weights[id(node)] = sum(weights.get(id(part), 1) + _length(part) for part in parts) + 1
            if weights[id(node)] > limit:
                return weights[id(node)]
        elif id(node) not in weights:
            weights[id(node)] = 1
            todo.append((node, True))
            todo.extend((part, False) for part in parts if isinstance(part, _CONTAINERS))
    return weights[id(root)]


def _length(value: object) -> int:
    return len(value) if isinstance(value, str | bytes) else 0


def _finish(root: list[object]) -> None:
    """Turn the drafts below `root` into what they stand for, in place, and drop undefined members of objects.

    In two rounds, because aliases may make cycles: first every container gets its final object, then these are filled.
    """
    finals: dict[int, object] = {}
    found: list[object] = [root]
    for node in found:
        if id(node) not in finals:
            finals[id(node)] = _empty_final(node)
            found.extend(part for part in _parts(node) if isinstance(part, _CONTAINERS) and id(part) not in finals)
    try:
        for node in found:
            _fill(node, finals[id(node)], finals)
    except TypeError as error:
        raise refusal("members of a set and keys of a map must not be objects, arrays, sets or maps") from error


def _empty_final(node: object) -> object:
    match node:
        case SetDraft():
            return set()
        case MapDraft():
            return {}
        case ErrorDraft():
            return _error_value(node.members)
        case _:
            return node


def _error_value(members: dict[str, object]) -> ErrorValue:
    name, message = members.get("name", "Error"), members.get("message", "")
    if not isinstance(name, str) or not isinstance(message, str):
        raise refusal("name and message of an Error must be strings")
    return ErrorValue(name, message)


def _fill(node: object, final: Any, finals: dict[int, object]) -> None:
    def of(part: object) -> object:
        return finals.get(id(part), part)

    match node:
        case list():
            node[:] = [of(part) for part in node]
        case dict():
            for key, part in list(node.items()):
                node[key] = of(part)
                if part is msgspec.UNSET:
                    del node[key]
        case SetDraft():
            final.update(of(part) for part in node.members)
        case MapDraft():
            final.update((of(key), of(value)) for key, value in node.rows)
        case ErrorDraft():
            final.cause = of(node.members.get("cause", msgspec.UNSET))
