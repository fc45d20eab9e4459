"""The whole document. Pure."""

from collections.abc import Iterable
from typing import Any

import msgspec

from procedures import Procedure
from rest import OPERATIONS
from schemas import Code
from server.openapi.operations import HEADERS, operation_of
from server.openapi.procedures import operations_of
from server.openapi.schemas import Schema, Schemas
from server.settings import Settings

OPENAPI_VERSION = "3.1.0"
CREDENTIALS: list[Schema] = [{"session": []}, {"key": []}]  # one of them
LINK: list[Schema] = [{"link": []}]
_DESCRIPTION = """\
Procedures are tRPC's: `@trpc/client` with superjson speaks this protocol, and `attachd types` writes its types. A query is GET
with its input as JSON in the query string, a mutation POST with it as the body; inputs are taken as they are, or wrapped by
superjson as `{"json": …}`. Outputs and errors come wrapped: `{"result":{"data":{"json": …}}}`, `{"error":{"json": …}}`. Several
calls go in one request to `{prefix}first,second?batch=1`, which is answered with a list; with 207 where their statuses differ.
With the header `trpc-accept: application/jsonl` a batch is answered in lines, each as soon as it is there; and all of it is
spoken over a WebSocket too.

What is no procedure answers errors as `{"error":{"code","message"}}`. A request line and headers of more than 64 KiB are
answered 431 wherever they are sent.
"""


def describe(settings: Settings, procedures: Iterable[Procedure], prefix: str, version: str) -> dict[str, Any]:
    """The document of a server with these settings and procedures, which are below `prefix`; `version` is the program's."""
    schemas = Schemas()
    paths: dict[str, Schema] = {}
    for procedure in procedures:
        found = operations_of(procedure, schemas, method_override=settings.server.method_override)
        for operation in found.values():
            operation["security"] = CREDENTIALS if Code.UNAUTHORIZED in procedure.errors else []
        paths[f"{prefix}{procedure.path}"] = found
    for route in OPERATIONS:
        operation = operation_of(route, schemas)
        operation["security"] = [*({name: []} for name in route.credentials), *(LINK if route.by_link else [])]
        paths.setdefault(route.path, {})[route.method.lower()] = operation
    return {
        "openapi": OPENAPI_VERSION,
        "info": {
            "title": "attachd",
            "version": version,
            "summary": "Attachments of conversations and tickets.",
            "description": _DESCRIPTION.replace("{prefix}", prefix),
            "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": settings.server.base_url}],
        "paths": paths,
        "components": _components(settings, schemas),
    }


def render(document: dict[str, Any]) -> bytes:
    """The document as JSON."""
    return msgspec.json.encode(document)


def _components(settings: Settings, schemas: Schemas) -> Schema:
    return {
        "schemas": schemas.finish(),
        "headers": {name: {"description": doc, "schema": {"type": "string"}} for name, doc in HEADERS.items()},
        "securitySchemes": {
            "session": {
                "type": "apiKey",
                "in": "cookie",
                "name": settings.auth.session_cookie,
                "description": "A session's token. What changes something must come from an allowed origin.",
            },
            "key": {"type": "http", "scheme": "bearer", "description": "An API key."},
            "token": {
                "type": "apiKey",
                "in": "header",
                "name": "Authorization",
                "description": "An API key of a store or an admin, behind the word `Token`.",
            },
            "widget": {"type": "http", "scheme": "bearer", "description": "The token of a widget's session."},
            "link": {
                "type": "apiKey",
                "in": "query",
                "name": "sig",
                "description": "A signed link, which is followed as it was given.",
            },
        },
    }
