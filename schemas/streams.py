"""Items of streams."""

from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")


class Tracked(msgspec.Struct, Generic[T], frozen=True):
    """An item of a subscription with an id, tRPC's `tracked(id, data)`.

    The client sends the newest id back when it connects again, as the input's `lastEventId`. The id is not empty and has no
    line end and no NUL, which server-sent events cannot carry.
    """

    id: str
    data: T
