r"""Paths of annotations: `a.0.b`, with `\.` for a dot and `\\` for a backslash inside a key, and what they lead to.

Clients older than superjson 2 send no version and legacy paths, in which a lone backslash stands for itself.
"""

import re
from typing import Final

from server.trpc.superjson.values import ErrorDraft, MapDraft, SetDraft, refusal

# In JavaScript these reach an object's prototype: superjson refuses them in paths, so clients could not read ours either.
FORBIDDEN_KEYS: Final = frozenset({"__proto__", "prototype", "constructor"})
_TOKEN: Final = re.compile(r"\\\\|\\\.|[.\\]|[^.\\]+")
_LEGACY_TOKEN: Final = re.compile(r"\\\.|[.\\]|[^.\\]+")
# No list in a request is longer than nine digits say, and a longer number is not worth converting.
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,8}")
# How much of a path an error message quotes.
_SHOWN_CHARACTERS: Final = 80

Slot = tuple[dict[str, object], str] | tuple[list[object], int]


def parse_path(text: str, *, legacy: bool) -> list[str]:
    """The keys of `text`, at least one. Raises ServiceError for a stray backslash or a prototype-like key."""
    path = _unescape(text, legacy=legacy) if "\\" in text else text.split(".")
    for key in path:
        if key in FORBIDDEN_KEYS:
            raise refusal(f"{key} is not allowed in a path")
    return path


def _unescape(text: str, *, legacy: bool) -> list[str]:
    path, key = [], ""
    for piece in (_LEGACY_TOKEN if legacy else _TOKEN).findall(text):
        if piece == ".":
            path.append(key)
            key = ""
        elif piece == "\\" and not legacy:
            raise refusal(f"stray backslash in path {show(text)}")
        else:
            key += piece[1:] if piece in {"\\.", "\\\\"} else piece
    return [*path, key]


def escape_key(key: str) -> str:
    """`key` as one key of a path."""
    return key.replace("\\", "\\\\").replace(".", "\\.")


def find_slot(root: Slot, path: list[str]) -> Slot:
    """Where the value at `path` is kept, below the value in `root`: reading and replacing it is indexing.

    Raises ServiceError where the path leads nowhere.
    """
    slot, at = root, 0
    while at < len(path):
        found = _step(read_slot(slot), path, at)
        if found is None:
            raise refusal(f"path {show('.'.join(path))} points at nothing")
        slot, at = found
    return slot


def _step(node: object, path: list[str], at: int) -> tuple[Slot, int] | None:
    """One step from `node`: the slot that `path[at]` names, and where the path goes on; None if there is none."""
    key = path[at]
    if isinstance(node, ErrorDraft):
        node = node.members
    if isinstance(node, dict):
        return ((node, key), at + 1) if key in node else None
    if isinstance(node, MapDraft):
        return _step_into_map(node, path, at)
    if isinstance(node, SetDraft):
        node = node.members
    if isinstance(node, list) and (index := _index(key, len(node))) is not None:
        return (node, index), at + 1
    return None


def _step_into_map(node: MapDraft, path: list[str], at: int) -> tuple[Slot, int] | None:
    """A map takes two keys: the row, then 0 for its key or 1 for its value."""
    row, side = _index(path[at], len(node.rows)), _index(path[at + 1], 2) if at + 1 < len(path) else None
    return None if row is None or side is None else ((node.rows[row], side), at + 2)


def _index(key: str, length: int) -> int | None:
    return int(key) if _INDEX.fullmatch(key) and int(key) < length else None


def read_slot(slot: Slot) -> object:
    """The value in `slot`."""
    container, key = slot
    return container[key]  # type: ignore[index]


def write_slot(slot: Slot, value: object) -> None:
    """Replace the value in `slot`."""
    container, key = slot
    container[key] = value  # type: ignore[index]


def show(text: str) -> str:
    """`text` for an error message: short, quoted, and with what UTF-8 cannot say escaped."""
    cut = text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
    return f'"{cut.encode("utf-8", "backslashreplace").decode()}"'
