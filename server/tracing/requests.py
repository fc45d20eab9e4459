"""The span of a request: begun before anything looks at it, named when its line is logged."""

from collections.abc import Collection
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode, format_trace_id
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import ASGIApp, Receive, Scope, Send

from server.log import RequestLog
from server.tracing.tracer import REQUEST, TRACE_ID, Tracing

_PROPAGATOR: Final = TraceContextTextMapPropagator()
_CARRIED: Final = frozenset({b"traceparent", b"tracestate"})
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"})
_OTHER: Final = "_OTHER"  # semantic conventions for HTTP: a method that is none
_SERVER_ERROR: Final = 500


def traced(app: ASGIApp, tracing: Tracing) -> ASGIApp:
    """The application with a span around each request, a child of the one that its `traceparent` names (W3C)."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        carrier = {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in _CARRIED}
        method: str = scope["method"]
        attributes = {
            "http.request.method": method if method in _METHODS else _OTHER,
            "url.scheme": scope.get("scheme", "http"),
            "network.protocol.version": scope.get("http_version", "1.1"),
            "attachd.request_id": scope["request_id"],
        }
        parent = _PROPAGATOR.extract(carrier)
        with tracing.current(attributes["http.request.method"], SpanKind.SERVER, attributes, parent) as span:
            REQUEST.set(span)
            if span.is_recording():
                TRACE_ID.set(format_trace_id(span.get_span_context().trace_id))
            await app(scope, receive, send)

    return serve


class TracedLog(RequestLog):
    """The request log, which knows a request when it is over: its span is told what its line is, and the line its trace.

    `paths` are the patterns of routes that there are; what is no path is the name of procedures, which have `trpc_route`.
    """

    def __init__(self, paths: Collection[str], trpc_route: str, *, is_written: bool, **options: Any) -> None:
        super().__init__(**options)
        self._paths = frozenset(paths)
        self._trpc_route = trpc_route
        self._is_written = is_written

    def record(
        self,
        method: str,
        route: str,
        status: int,
        started: float,
        size_bytes: int,
        request_id: str,
        error: str = "",
        trace_id: str = "",
    ) -> None:
        """Note one answered request."""
        span = REQUEST.get()
        if span is not None:
            pattern = self._trpc_route if not route.startswith("/") else route if route in self._paths else ""
            if pattern:
                span.set_attribute("http.route", pattern)
                span.update_name(f"{method} {pattern}")
            span.set_attribute("http.response.status_code", status)
            span.set_attribute("http.response.body.size", size_bytes)
            if error or status >= _SERVER_ERROR:
                span.set_attribute("error.type", error or str(status))
                span.set_status(Status(StatusCode.ERROR))
        if self._is_written:
            super().record(method, route, status, started, size_bytes, request_id, error, trace_id or TRACE_ID.get())


def request_context() -> Any:
    """The context in which the span of the request is current, None outside of one."""
    span = REQUEST.get()
    return None if span is None else trace.set_span_in_context(span)
