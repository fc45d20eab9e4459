"""Declaring procedures, and the frozen map that a server calls.

    member = procedure.use(authenticated)            # a base: middleware and metadata, as tRPC's `publicProcedure.use`

    attachments = Router()

    @attachments.query(member)
    async def get(ctx: MemberContext, input: GetInput) -> Attachment: ...

    app = Router()
    app.mount("attachments", attachments)             # nested by dotted path: attachments.get
    procedures = app.freeze()                         # immutable; what cannot work fails here, with a sentence

Rules:
1. The types come from the annotations: `input: None`, or no `input`, takes no input; the return annotation is the output. An
   async generator streams, see `procedures/streams.py`; a mutation whose input is a `FileInput` takes a body.
2. The order is tRPC's: middleware first, from the outside in, then the input is read and decoded, then the function runs. So
   an anonymous caller with a malformed body is told 401, not 400.
3. Everything that can be decided at start is: decoders are built and chains are composed by `freeze`.
"""

import inspect
import re
import typing
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec

from procedures.calls import Call, Kind, Middleware, Next, declared_errors
from procedures.context import Context
from procedures.signatures import Function, resolver, signature_of
from schemas import Code, Reason, ServiceError

# A name a client can write as a member of `client.a.b`; tRPC's client proxy answers `then` and `call` itself.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_RESERVED = frozenset({"then", "call", "apply"})
F = TypeVar("F", bound=Function)


class Base(msgspec.Struct, frozen=True):
    """What procedures declared on it share: middleware, outermost first, and metadata."""

    middleware: tuple[Middleware, ...] = ()
    meta: Mapping[str, object] = MappingProxyType({})

    def use(self, *middleware: Middleware) -> "Base":
        """A base with these middleware inside the ones it has."""
        return Base((*self.middleware, *middleware), self.meta)

    def with_meta(self, **meta: object) -> "Base":
        """A base with these metadata over the ones it has; middleware reads them as `call.meta`."""
        return Base(self.middleware, MappingProxyType({**self.meta, **meta}))


procedure = Base()


class Procedure(msgspec.Struct, frozen=True):
    """A procedure of a frozen map; for its types and `streams` see `Signature`, for `errors` see `raises`.

    `run` takes a call through its middleware, decodes the input and gives the output, of one that streams the async generator.
    """

    path: str
    kind: Kind
    input_type: Any
    output_type: Any
    streams: bool
    tracked: bool
    meta: Mapping[str, object]
    doc: str
    errors: tuple[Code | Reason, ...]
    run: Next


class Declaration(msgspec.Struct, frozen=True):
    """A procedure as it was declared, before `freeze` makes one of it."""

    kind: Kind
    base: Base
    function: Function


class Router:
    """Procedures and other routers, by name. Declare at import time, `freeze` at start."""

    def __init__(self) -> None:
        self.declarations: dict[str, Declaration] = {}

    def query(self, base: Base = procedure, *, name: str | None = None) -> Callable[[F], F]:
        """Declare the decorated async function as a query, named after it unless `name` is given."""
        return self._declare("query", base, name)

    def mutation(self, base: Base = procedure, *, name: str | None = None) -> Callable[[F], F]:
        """Declare the decorated async function as a mutation, named after it unless `name` is given."""
        return self._declare("mutation", base, name)

    def subscription(self, base: Base = procedure, *, name: str | None = None) -> Callable[[F], F]:
        """Declare the decorated async generator function as a subscription, named after it unless `name` is given."""
        return self._declare("subscription", base, name)

    def _declare(self, kind: Kind, base: Base, name: str | None) -> Callable[[F], F]:
        def declare(function: F) -> F:
            self._add(name or function.__name__.rstrip("_"), Declaration(kind, base, function))
            return function

        return declare

    def mount(self, prefix: str, router: "Router") -> None:
        """Take all of another router's procedures under `prefix.`."""
        for path, declared in router.declarations.items():
            self._add(f"{prefix}.{path}", declared)

    def merge(self, router: "Router") -> None:
        """Take all of another router's procedures under the names they have."""
        for path, declared in router.declarations.items():
            self._add(path, declared)

    def _add(self, path: str, declared: Declaration) -> None:
        if path in self.declarations:
            raise TypeError(f"two procedures are declared at {path!r}")
        for part in path.split("."):
            if not _NAME.match(part) or part in _RESERVED:
                raise TypeError(f"{part!r} in {path!r} cannot be a procedure's name: a client could not write it")
        self.declarations[path] = declared

    def freeze(self, *, check_outputs: bool = False) -> "Procedures":
        """The immutable map. With `check_outputs` every output is validated against its annotation (for development).

        Raises TypeError with a sentence for a missing annotation, a type that cannot be decoded, a function that is not
        async, and a path that is both a procedure and a router.
        """
        for path in self.declarations:
            for other in self.declarations:
                if other.startswith(f"{path}."):
                    raise TypeError(f"{path!r} is both a procedure and the router of {other!r}")
        return Procedures({path: _build(path, declared, check_outputs) for path, declared in self.declarations.items()})


class Procedures:
    """A frozen map from dotted path to procedure, and a caller for Python."""

    def __init__(self, procedures: dict[str, Procedure]) -> None:
        self._procedures = MappingProxyType(procedures)
        self.get = self._procedures.get

    def __iter__(self) -> typing.Iterator[Procedure]:
        """The procedures in the order of their declaration."""
        return iter(self._procedures.values())

    def __len__(self) -> int:
        """How many there are."""
        return len(self._procedures)

    async def call(self, path: str, input: object = None, *, ctx: Context) -> Any:
        """The output of a procedure, called from Python through its whole middleware and decoding.

        `input` is a value of the input type, or what its JSON would decode to. Raises ServiceError NOT_FOUND for an
        unknown path and BAD_REQUEST for an input that does not fit, and whatever the procedure raises.
        """
        found = self.get(path)
        if found is None:
            raise no_procedure(path)

        async def read_input() -> object:
            return msgspec.to_builtins(input) if isinstance(input, msgspec.Struct) else input

        return await found.run(Call(path, found.kind, ctx, read_input, found.meta))


def no_procedure(path: str) -> ServiceError:
    """The error for an unknown path, in tRPC's words."""
    return ServiceError(Code.NOT_FOUND, f'No procedure found on path "{path}"')


def _build(path: str, declared: Declaration, check_outputs: bool) -> Procedure:
    signature = signature_of(path, declared.kind, declared.function)
    return Procedure(
        path=path,
        kind=declared.kind,
        input_type=signature.input_type,
        output_type=signature.output_type,
        streams=signature.streams,
        tracked=signature.tracked,
        meta=declared.base.meta,
        doc=inspect.getdoc(declared.function) or "",
        errors=declared_errors(*declared.base.middleware, declared.function),
        run=_compose(declared.base.middleware, resolver(declared.function, signature, check_output=check_outputs)),
    )


def _compose(middleware: tuple[Middleware, ...], innermost: Next) -> Next:
    run = innermost
    for outer in reversed(middleware):
        run = _around(outer, run)
    return run


def _around(middleware: Middleware, inner: Next) -> Next:
    def run(call: Call) -> Awaitable[Any]:
        return middleware(call, inner)

    return run
