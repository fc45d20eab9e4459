"""One invocation of a procedure, and what it goes through."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, TypeVar

import msgspec

from procedures.context import Context
from schemas import Code, Reason

Kind = Literal["query", "mutation", "subscription"]
ReadInput = Callable[[], Awaitable[Any]]
F = TypeVar("F", bound=Callable[..., Any])


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


def raises(*errors: Code | Reason) -> Callable[[F], F]:
    """Declare what the decorated procedure or middleware raises on purpose, for the document of the procedures.

    What any call may meet goes without saying: a bad input, a server that cannot answer.
    """

    def declare(function: F) -> F:
        function.__dict__["raises"] = errors
        return function

    return declare


def declared_errors(*functions: Callable[..., Any]) -> tuple[Code | Reason, ...]:
    """What the functions were declared to raise, each once."""
    return tuple(dict.fromkeys(error for function in functions for error in getattr(function, "raises", ())))
