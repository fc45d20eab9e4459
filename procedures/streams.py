"""What a procedure gives piece by piece.

A procedure that is an async generator streams: a subscription always, a query or mutation to clients that read JSON lines
(`httpBatchStreamLink`). A member of an output may be an `Awaitable` or an `AsyncIterator` as well; such clients get it when it
is there. Whoever goes away closes the generator, so that its `finally` runs.
"""

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
