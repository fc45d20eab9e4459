"""The document of the HTTP API, OpenAPI 3.1, made of what serves it: procedures, routes, types, settings. Pure."""

from server.openapi.document import describe, render

__all__ = ["describe", "render"]
