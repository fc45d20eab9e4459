"""The procedures as HTTP operations: how tRPC puts calls into requests, for those that use no client of tRPC. Pure.

Queries are GET with `input` in the query string, by POST too when `server.method_override` is on; mutations are POST with the
input as the body. The operationId is the path of the procedure, which clients rely on anyway; that of a query by POST has
`.post` behind it, which no procedure can have.
"""

from collections.abc import Iterable
from typing import Any, Literal

from procedures import FileInput, Procedure
from rest import FILE_PARAMETERS, FORM, UPLOAD_ERRORS, Parameter
from schemas import Code, Reason
from server.openapi import envelopes
from server.openapi.operations import form_schema, header_references, parameters, responses
from server.openapi.schemas import Schema, Schemas

_FAILURES = (Code.INTERNAL_SERVER_ERROR, Code.SERVICE_UNAVAILABLE)
_BODY_ERRORS = (
    *(Code.BAD_REQUEST, Code.FORBIDDEN, Code.TIMEOUT, Code.PAYLOAD_TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE),
    *_FAILURES,
)
_QUERY_ERRORS = (Code.BAD_REQUEST, *_FAILURES)
_EVENTS = (
    "Server-sent events: `connected` first, then a message for each item, its data as superjson wraps it, with an id if the "
    "item is tracked; `ping` while nothing happens, `serialized-error` when it fails, `return` when it is over."
)
_LAST_EVENT = Parameter(name="lastEventId", place="query", doc="Id of the last item that came.")
_CONNECTION = Parameter(
    name="connectionParams",
    place="query",
    doc="A JSON object whose `authorization` stands for the header, for clients that can set none.",
)
_BATCH = Parameter(name="batch", place="query", doc="Streams go in batches.", type=Literal["1"], required=True)
_LINES = Parameter(name="trpc-accept", place="header", doc="JSON lines.", type=Literal["application/jsonl"], required=True)


def operations_of(procedure: Procedure, schemas: Schemas, *, method_override: bool) -> dict[str, Schema]:
    """The operations of a procedure by method, in lower case."""
    if procedure.kind == "mutation":
        return {"post": _operation(procedure, schemas, procedure.path, by_body=True)}
    operations = {"get": _operation(procedure, schemas, procedure.path, by_body=False)}
    if method_override:
        operations["post"] = _operation(procedure, schemas, f"{procedure.path}.post", by_body=True)
    return operations


def _operation(procedure: Procedure, schemas: Schemas, id: str, *, by_body: bool) -> Schema:
    operation: Schema = {
        "operationId": id,
        "tags": [procedure.path.rpartition(".")[0] or "procedures"],
        "summary": procedure.doc.split("\n", 1)[0] or procedure.path,
    }
    if procedure.doc:
        operation["description"] = procedure.doc
    if found := parameters(_parameters(procedure), schemas):
        operation["parameters"] = found
    if by_body:
        operation["requestBody"] = {"required": True, "content": _body(procedure, schemas)}
    elif procedure.input_type is not None:
        operation.setdefault("parameters", []).append(_input_parameter(procedure, schemas))
    answer = {
        "200": {"description": _description(procedure), "headers": header_references(), "content": _content(procedure, schemas)}
    }
    operation["responses"] = answer | responses(_errors(procedure, by_body=by_body), schemas.of(envelopes.TrpcError))
    return operation


def _parameters(procedure: Procedure) -> Iterable[Parameter]:
    if procedure.input_type is FileInput:
        yield from FILE_PARAMETERS
    if procedure.kind == "subscription":
        yield _CONNECTION
        if procedure.tracked:
            yield _LAST_EVENT
    elif procedure.streams:
        yield from (_BATCH, _LINES)


def _input(procedure: Procedure, schemas: Schemas) -> Schema:
    if procedure.input_type is None:
        return {"description": "Nothing is read of it."}
    schema = envelopes.input_of(schemas, procedure.input_type)
    if procedure.streams and procedure.kind != "subscription":
        return {"type": "object", "required": ["0"], "properties": {"0": schema}}
    return schema


def _input_parameter(procedure: Procedure, schemas: Schemas) -> Schema:
    return {
        "name": "input",
        "in": "query",
        "description": "The input as JSON, percent-encoded.",
        "required": not envelopes.is_optional(procedure.input_type),
        "content": {"application/json": {"schema": _input(procedure, schemas)}},
    }


def _body(procedure: Procedure, schemas: Schemas) -> dict[str, Schema]:
    if procedure.input_type is FileInput:
        return {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {"schema": form_schema(FORM, schemas)},
        }
    return {"application/json": {"schema": _input(procedure, schemas)}}


def _description(procedure: Procedure) -> str:
    if procedure.kind == "subscription":
        return _EVENTS
    return "The items, as JSON lines of tRPC." if procedure.streams else "The output, wrapped by superjson."


def _content(procedure: Procedure, schemas: Schemas) -> dict[str, Schema]:
    output: Any = procedure.output_type
    if not procedure.streams:
        return {"application/json": {"schema": envelopes.result(schemas, output)}}
    media_type = "text/event-stream" if procedure.kind == "subscription" else "application/jsonl"
    # OpenAPI 3.1 has no schema for an item of a stream; 3.2 will call it itemSchema.
    return {media_type: {"schema": {"type": "string"}, "x-item-schema": envelopes.superjson(schemas, output)}}


def _errors(procedure: Procedure, *, by_body: bool) -> tuple[Code | Reason, ...]:
    """What a call may be answered with. What a subscription fails with stands in its events, as in tRPC."""
    if procedure.kind == "subscription":
        return (Code.BAD_REQUEST, Code.UNSUPPORTED_MEDIA_TYPE) if by_body else (Code.BAD_REQUEST,)
    if procedure.input_type is FileInput:
        return (*UPLOAD_ERRORS, *procedure.errors)
    return (*(_BODY_ERRORS if by_body else _QUERY_ERRORS), *procedure.errors)
