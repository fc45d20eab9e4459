"""Writing: Python values to JSON and annotations, as superjson's `serialize` says them without `dedupe`.

A loop over a stack of open containers, because a value may be nested deeper than Python calls. Like superjson, a
container is written once and its copy reused; inside itself it is null; where it stands more than once, the
referential equalities say so. Only what can change counts: Python's immutable values have no identity to tell.
"""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from server.trpc.superjson.fields import dataclass_members, struct_members
from server.trpc.superjson.leaves import LEAF_TYPES, write_leaf
from server.trpc.superjson.paths import FORBIDDEN_KEYS, escape_key
from server.trpc.superjson.values import ErrorValue, Url

# The parts of a container by their keys, as lists go by index.
Parts = Iterable[tuple[str, object]]
# A leaf [annotation, children?], or an object of paths, or None where plain JSON says all.
Tree = list[object] | dict[str, object] | None
Written = tuple[object, Tree]
# A chain: the path of the parent, and the last key. None is the root.
Path = tuple["Path", str] | None


def serialize(value: object) -> tuple[Any, dict[str, Any] | None]:
    """`value` as JSON for msgspec to encode, and superjson's `meta`, None when there is nothing to annotate.

    Structs go by their encoded names, without UNSET members and omitted defaults. A dict with string keys is an
    object, any other a map; integers beyond ±(2**53-1) are bigints. Raises TypeError for a value that is no data,
    and ValueError for a datetime without time zone or an annotation that clients would refuse.
    """
    writer = _Writer()
    written, tree = writer.write(value)
    equalities = writer.equalities()
    meta: dict[str, Any] = {} if tree is None else {"values": tree}
    if equalities is not None:
        meta["referentialEqualities"] = equalities
    return written, {**meta, "v": 1} if meta else None


class _Open:
    """A container that is being written: what it is made of, and what of it is written already."""

    def __init__(self, value: object, path: Path, out: Any, parts: Parts, annotation: object = None) -> None:
        self.value, self.path, self.out, self.annotation = value, path, out, annotation
        self.parts = iter(parts)
        self.key = ""
        self.inner: dict[str, object] = {}

    def put(self, written: object, tree: Tree) -> None:
        """Take the written part at `key` and its annotations."""
        if isinstance(self.out, list):
            self.out.append(written)
        else:
            self.out[self.key] = written
        if tree is None:
            return
        if self.key in FORBIDDEN_KEYS:
            raise ValueError(f"no client reads annotations of a member named {self.key}")
        key = escape_key(self.key)
        self.inner.update({key: tree} if isinstance(tree, list) else {f"{key}.{path}": leaf for path, leaf in tree.items()})

    @property
    def tree(self) -> Tree:
        if self.annotation is None:
            return self.inner or None
        return [self.annotation, self.inner] if self.inner else [self.annotation]


class _Writer:
    def __init__(self) -> None:
        # By the id of the container, which is kept alive beside what it became; None while it is open.
        self._written: dict[int, tuple[object, Written] | None] = {}
        self._paths: dict[int, list[Path]] = {}

    def write(self, value: object) -> Written:
        begun = self._begin(value, None)
        stack: list[_Open] = []
        while True:
            if isinstance(begun, _Open):
                stack.append(begun)
            elif stack:
                stack[-1].put(*begun)
            else:
                return begun
            begun = self._continue(stack)

    def _continue(self, stack: list[_Open]) -> "Written | _Open":
        """Begin the next part of the innermost container; when it has none left, close it."""
        current = stack[-1]
        for key, part in current.parts:
            current.key = key
            return self._begin(part, (current.path, key))
        stack.pop()
        written = (current.out, current.tree)
        self._written[id(current.value)] = (current.value, written)
        return written

    def _begin(self, value: object, path: Path) -> "Written | _Open":
        """`value` written, if that can be done at once; else the container to write part by part."""
        # Most values are leaves of a known type; asking for that first halves the time of a table of strings (2026-11).
        opened = None if type(value) in LEAF_TYPES else _open(value, path)
        if opened is None:
            written, annotation = write_leaf(value)
            return written, None if annotation is None else [annotation]
        if isinstance(value, tuple | frozenset):
            return opened
        self._paths.setdefault(id(value), []).append(path)
        if id(value) not in self._written:
            self._written[id(value)] = None
            return opened
        done = self._written[id(value)]
        return done[1] if done else (None, None)

    def equalities(self) -> dict[str, Any] | list[Any] | None:
        """Which paths lead to the same container: the shortest path first, the root apart."""
        root: list[str] | None = None
        others: dict[str, list[str]] = {}
        for places in self._paths.values():
            if len(places) > 1:
                shortest, *rest = sorted((_keys(place) for place in places), key=len)
                equal = [_join(keys) for keys in rest if FORBIDDEN_KEYS.isdisjoint(keys)]
                if not shortest:
                    root = equal
                elif equal and FORBIDDEN_KEYS.isdisjoint(shortest):
                    others[_join(shortest)] = equal
        if root is None:
            return others or None
        return [root, others] if others else [root]


def _open(value: object, path: Path) -> _Open | None:
    """`value` ready to be written part by part; None for a leaf."""
    out: list[object] | dict[str, object] = []
    parts: Parts
    annotation: object = None
    match value:
        case dict() if all(isinstance(key, str) and not isinstance(key, Url) for key in value):
            out, parts = {}, ((str(key), part) for key, part in value.items())
        case dict():
            parts, annotation = _numbered(value.items()), "map"
        case list() | tuple():
            parts = _numbered(value)
        case set() | frozenset():
            parts, annotation = _numbered(value), "set"
        case msgspec.Struct() if value.__struct_config__.array_like:
            parts = _numbered(member for _, member in struct_members(value))
        case msgspec.Struct():
            out, parts, annotation = {}, struct_members(value), "Error" if isinstance(value, ErrorValue) else None
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            out, parts = {}, dataclass_members(value)
        case _:
            return None
    return _Open(value, path, out, parts, annotation)


def _numbered(parts: Iterable[object]) -> Iterator[tuple[str, object]]:
    return ((str(index), part) for index, part in enumerate(parts))


def _keys(path: Path) -> list[str]:
    keys: list[str] = []
    while path is not None:
        path, key = path
        keys.append(key)
    return keys[::-1]


def _join(keys: list[str]) -> str:
    return ".".join(map(escape_key, keys))
