"""What stands around inputs, outputs and errors on tRPC's wire. Pure."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from schemas import Code, Reason
from server.openapi.schemas import Schema, Schemas
from server.trpc.superjson import is_plain

CodeName = Annotated[str, Meta(extra_json_schema={"enum": [code.name for code in Code]})]


class SuperjsonMeta(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """superjson's annotations of values that JSON has no form for, such as dates: which value of `json` is what."""

    values: Annotated[Any, Meta(description="Annotations by path, or the one of the whole value.")] = UNSET
    referential_equalities: Annotated[Any, Meta(description="Paths whose values are the same object.")] = UNSET
    v: Annotated[int | UnsetType, Meta(description="Version of the paths' syntax.")] = UNSET


class TrpcErrorData(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`path` is the procedure, `reason` says more than the code where there is more, `stack` is for development."""

    code: CodeName
    http_status: int
    path: str | UnsetType = UNSET
    reason: Reason | UnsetType = UNSET
    stack: str | UnsetType = UNSET


class TrpcErrorShape(msgspec.Struct, frozen=True, kw_only=True):
    """`message` says what to mend, `code` is JSON-RPC's number."""

    message: str
    code: int
    data: TrpcErrorData


class TrpcErrorJson(msgspec.Struct, frozen=True, kw_only=True):
    """An error as superjson wraps it."""

    json: TrpcErrorShape


class TrpcError(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of a procedure that failed."""

    error: TrpcErrorJson


def result(schemas: Schemas, type_: Any) -> Schema:
    """The answer of a procedure that gave an output of that type."""
    return _object("result", _object("data", superjson(schemas, type_)))


def superjson(schemas: Schemas, type_: Any) -> Schema:
    """A value of that type as superjson wraps it; with annotations if the type may need them."""
    wrapped = _object("json", schemas.of(type_))
    if not is_plain(type_):
        wrapped["properties"]["meta"] = schemas.of(SuperjsonMeta)
    return wrapped


def input_of(schemas: Schemas, type_: Any) -> Schema:
    """An input of that type: as it is, or wrapped by superjson (docs/decisions/0003)."""
    wrapped = _object("json", schemas.of(type_))
    wrapped["properties"]["meta"] = schemas.of(SuperjsonMeta)
    wrapped["description"] = "The same, wrapped by superjson, as tRPC's clients send it."
    return {"anyOf": [schemas.of(type_), wrapped]}


def is_optional(type_: Any) -> bool:
    """Whether a call may leave out an input of that type: undefined is None to it, or itself."""
    for absent in (UNSET, None):
        try:
            msgspec.convert(absent, type_)
        except msgspec.ValidationError:
            continue
        return True
    return False


def _object(name: str, schema: Schema) -> Schema:
    return {"type": "object", "required": [name], "properties": {name: schema}}
