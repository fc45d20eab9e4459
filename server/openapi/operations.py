"""Operations of routes as OpenAPI writes them, and the parts that those of procedures share. Pure."""

from collections.abc import Iterable, Mapping

from rest import Answer, Content, Operation, Parameter, Refused, RestError
from schemas import Code, Reason
from server.openapi.schemas import Schema, Schemas

_BYTES: Schema = {"type": "string", "format": "binary"}
NO_HEADERS: Mapping[RestError, str] = {}
HEADERS = {
    "accept-ranges": "`bytes`: ranges are served.",
    "content-digest": "SHA-256 of the body (RFC 9530).",
    "content-disposition": "The file's name, and whether a browser may show it.",
    "content-range": "Which bytes these are, and of how many.",
    "etag": "Names these bytes.",
    "last-modified": "Since when they are these.",
    "location": "Where the file is.",
    "repr-digest": "SHA-256 of the file (RFC 9530).",
    "retry-after": "Seconds after which to try again.",
    "www-authenticate": "How to authenticate.",
    "x-request-id": "What the log calls this request.",
}
_ERROR_HEADERS: Mapping[RestError, str] = {
    Code.UNAUTHORIZED: "www-authenticate",
    Code.SERVICE_UNAVAILABLE: "retry-after",
    "RANGE_NOT_SATISFIABLE": "content-range",
}


def operation_of(operation: Operation, schemas: Schemas) -> Schema:
    """The operation of a route."""
    summary, _, description = operation.doc.partition("\n\n")
    bodiless = operation.method == "HEAD"
    written: Schema = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": summary,
        "description": description or summary,
    }
    if operation.parameters:
        written["parameters"] = parameters(operation.parameters, schemas)
    if operation.body:
        written["requestBody"] = {"required": True, "content": _contents(operation.body, schemas)}
    answers = {str(status): _answer(answer, schemas, bodiless=bodiless) for status, answer in operation.answers.items()}
    body = None if bodiless else schemas.of(operation.error_type)
    written["responses"] = answers | responses(operation.errors, body, _ERROR_HEADERS)
    return written


def parameters(found: Iterable[Parameter], schemas: Schemas) -> list[Schema]:
    """Parameters of a request."""
    return [
        {
            "name": parameter.name,
            "in": parameter.place,
            "description": parameter.doc,
            "required": parameter.required,
            "schema": schemas.of(parameter.type),
        }
        for parameter in found
    ]


def responses(errors: Iterable[RestError], body: Schema | None, headers: Mapping[RestError, str] = NO_HEADERS) -> Schema:
    """The responses of errors by status: those of one status together, each named in the description.

    `headers` has those that come with an error.
    """
    by_status: dict[int, dict[RestError, None]] = {}
    for error in errors:
        by_status.setdefault(_status(error), {})[error] = None
    written = {}
    for status in sorted(by_status):
        names = dict.fromkeys(name for error in by_status[status] if (name := _header(error, headers)))
        written[str(status)] = {
            "description": ", ".join(error if isinstance(error, str) else error.name for error in by_status[status]) + ".",
            "headers": header_references(names),
        }
        if body is not None:
            written[str(status)]["content"] = {"application/json": {"schema": body}}
    return written


def form_schema(form: Content, schemas: Schemas) -> Schema:
    """The schema of a form."""
    properties = {
        name: {**_BYTES, "description": member.doc}
        if member.type is None
        else {"allOf": [schemas.of(member.type)], "description": member.doc}
        for name, member in form.members.items()
    }
    required = [name for name, member in form.members.items() if member.required]
    return {"type": "object", "required": required, "properties": properties}


def header_references(names: Iterable[str] = ()) -> Schema:
    """The headers of a response, the request's id among them."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in (*names, "x-request-id")}


def _header(error: RestError, headers: Mapping[RestError, str]) -> str:
    return error.header if isinstance(error, Refused) else headers.get(error, "")


def _status(error: RestError) -> int:
    if isinstance(error, Refused):
        return error.status
    if isinstance(error, Reason):
        return error.code.http_status
    return error.http_status if isinstance(error, Code) else 416


def _answer(answer: Answer, schemas: Schemas, *, bodiless: bool) -> Schema:
    written: Schema = {"description": answer.doc, "headers": header_references(answer.headers)}
    if answer.content and not bodiless:
        written["content"] = _contents(answer.content, schemas)
    return written


def _contents(contents: Mapping[str, Content], schemas: Schemas) -> Schema:
    return {media_type: {"schema": _schema(content, schemas)} for media_type, content in contents.items()}


def _schema(content: Content, schemas: Schemas) -> Schema:
    if content.members:
        return form_schema(content, schemas)
    if content.type is None:
        return dict(_BYTES)
    schema = schemas.of(content.type)
    return {"anyOf": [schema, {"description": "A file that holds JSON."}]} if content.or_file else schema
