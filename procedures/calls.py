"""One invocation of a procedure, and what it goes through."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal

import msgspec

from procedures.context import Context

Kind = Literal["query", "mutation", "subscription"]
ReadInput = Callable[[], Awaitable[Any]]


class Call(msgspec.Struct, frozen=True):
    """One invocation on its way through the middleware: replace `ctx` to hand more, or less, to what is inside."""

    path: str
    kind: Kind
    ctx: Context
    read_input: ReadInput
    meta: Mapping[str, object]

    def with_context(self, ctx: Context) -> "Call":
        """The same call with another context."""
        return Call(self.path, self.kind, ctx, self.read_input, self.meta)


Next = Callable[[Call], Awaitable[Any]]
Middleware = Callable[[Call, Next], Awaitable[Any]]
