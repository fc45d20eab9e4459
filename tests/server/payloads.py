"""Payloads as superjson writes them, for the tests of its reader."""

from collections.abc import Callable
from typing import Any


def wrapped(json: object, values: object = None, equalities: object = None, v: object = 1) -> dict[str, object]:
    meta = {"values": values, "referentialEqualities": equalities, "v": v}
    return {"json": json, "meta": {name: member for name, member in meta.items() if member is not None}}


def nested(depth: int, make: Callable[[Any], Any], innermost: object) -> Any:
    for _ in range(depth):
        innermost = make(innermost)
    return innermost
