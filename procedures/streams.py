"""What a procedure gives piece by piece.

A procedure that is an async generator streams: a subscription always, a query or mutation to clients that read JSON lines
(`httpBatchStreamLink`). A member of an output may be an `Awaitable` or an `AsyncIterator` as well; such clients get it when it
is there. Whoever goes away closes the generator, so that its `finally` runs.
"""

from schemas import Tracked

__all__ = ["Tracked"]
