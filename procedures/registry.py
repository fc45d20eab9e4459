"""Declaring procedures, and the frozen map that a server calls.

    member = procedure.use(authenticated)            # a base: middleware and metadata, as tRPC's `publicProcedure.use`

    attachments = Router()

    @attachments.query(member)
    async def get(ctx: MemberContext, input: GetInput) -> Attachment: ...

    app = Router()
    app.mount("attachments", attachments)             # nested by dotted path: attachments.get
    procedures = app.freeze()                         # immutable; what cannot work fails here, with a sentence

Rules:
1. The types come from the annotations: `input: None`, or no `input`, takes no input; the return annotation is the output.
2. The order is tRPC's: middleware first, from the outside in, then the input is read and decoded, then the function runs. So
   an anonymous caller with a malformed body is told 401, not 400.
3. Everything that can be decided at start is: decoders are built and chains are composed by `freeze`.
"""

import inspect
import re
import typing
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, TypeVar

import msgspec

from procedures.context import Context
from schemas import Code, ServiceError

Kind = Literal["query", "mutation"]
Function = Callable[..., Awaitable[Any]]
ReadInput = Callable[[], Awaitable[Any]]
# A name a client can write as a member of `client.a.b`; tRPC's client proxy answers `then` and `call` itself.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_RESERVED = frozenset({"then", "call", "apply"})
F = TypeVar("F", bound=Function)


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
    """A procedure of a frozen map. `run` takes a call through its middleware, decodes the input and gives the output."""

    path: str
    kind: Kind
    input_type: Any
    output_type: Any
    meta: Mapping[str, object]
    doc: str
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
    input_type, output_type = _types(path, declared.function)
    innermost = _resolver(declared.function, input_type, output_type if check_outputs else None)
    return Procedure(
        path=path,
        kind=declared.kind,
        input_type=input_type,
        output_type=output_type,
        meta=declared.base.meta,
        doc=inspect.getdoc(declared.function) or "",
        run=_compose(declared.base.middleware, innermost),
    )


def _types(path: str, function: Function) -> tuple[Any, Any]:
    """The input and output types of a function; the input type is None when it takes no input."""
    if not inspect.iscoroutinefunction(function):
        raise TypeError(f"procedure {path!r} is not an async function")
    hints = typing.get_type_hints(function, include_extras=True)
    parameters = list(inspect.signature(function).parameters)
    if not 1 <= len(parameters) <= 2 or parameters[1:] not in ([], ["input"]):
        raise TypeError(f"procedure {path!r} must take (ctx) or (ctx, input), not ({', '.join(parameters)})")
    if missing := [name for name in [*parameters[1:], "return"] if name not in hints]:
        raise TypeError(f"procedure {path!r} lacks the annotation of {' and '.join(missing)}")
    input_type = hints.get("input", type(None)) if len(parameters) == 2 else type(None)
    for what, type_ in (("input", input_type), ("output", hints["return"])):
        try:
            msgspec.json.Decoder(type_)
        except TypeError as error:
            raise TypeError(f"the {what} type of procedure {path!r} cannot be decoded: {error}") from error
    return (None if input_type is type(None) else input_type), hints["return"]


def _resolver(function: Function, input_type: Any, checked_output: Any) -> Next:
    """The inside of the chain: read the input, decode it, run the function, and in development check what it gives."""
    decode = None if input_type is None else _decoder(input_type)
    without = (None,) * (len(inspect.signature(function).parameters) - 1)

    async def run(call: Call) -> Any:
        if decode is None:  # what was sent is not even looked at, as in tRPC
            output = await function(call.ctx, *without)
        else:
            output = await function(call.ctx, decode(await call.read_input()))
        if checked_output is not None:
            _check_output(call.path, output, checked_output)
        return output

    return run


def _decoder(input_type: Any) -> Callable[[Any], Any]:
    """What turns a raw input into a value of the type. Undefined is None to every type that has no place for undefined."""
    convert = msgspec.convert
    try:
        undefined = convert(msgspec.UNSET, input_type)
    except msgspec.ValidationError:
        undefined = None

    def decode(raw: Any) -> Any:
        try:
            return convert(undefined if raw is msgspec.UNSET else raw, input_type)
        except (msgspec.ValidationError, RecursionError) as error:
            raise _bad_input(error, raw) from error

    return decode


def _bad_input(error: Exception, raw: object) -> ServiceError:
    """The error for an input of the wrong shape: says where and what was expected."""
    if raw is None or raw is msgspec.UNSET:
        return ServiceError(
            Code.BAD_REQUEST, "the input is missing: send it as ?input=… with GET or as the JSON body with POST"
        )
    return ServiceError(Code.BAD_REQUEST, f"the input is not valid: {error}")


def _check_output(path: str, output: object, type_: Any) -> None:
    try:
        msgspec.convert(msgspec.to_builtins(output), type_)
    except msgspec.ValidationError as error:
        raise TypeError(f"the output of procedure {path!r} does not fit its annotation: {error}") from error


def _compose(middleware: tuple[Middleware, ...], innermost: Next) -> Next:
    run = innermost
    for outer in reversed(middleware):
        run = _around(outer, run)
    return run


def _around(middleware: Middleware, inner: Next) -> Next:
    def run(call: Call) -> Awaitable[Any]:
        return middleware(call, inner)

    return run
