"""A collector of traces: an HTTP server that takes OTLP as protobuf (opentelemetry-proto), on a port of its own."""

import gzip
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse

PATH = "/v1/traces"
TIMEOUT_S = 30.0


class Span:
    """A span that came: its ids in hexadecimal digits, its attributes by name."""

    def __init__(self, span: Any) -> None:
        self.name: str = span.name
        self.kind: int = span.kind
        self.trace_id: str = span.trace_id.hex()
        self.id: str = span.span_id.hex()
        self.parent_id: str = span.parent_span_id.hex()
        self.attributes = {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}
        self.is_error: bool = span.status.code == 2
        self.events = list(span.events)
        self.seconds: float = (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: one that is slow is left by its clients, which is what it is for."""


class Collector:
    """Takes spans until the end of the context. Answers with `status`, after `pause_s`."""

    def __init__(self, *, status: int = 200, pause_s: float = 0.0) -> None:
        self.spans: list[Span] = []
        self.resource: dict[str, str] = {}
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                time.sleep(pause_s)
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                if self.path == PATH and status == 200:
                    collector.take(dict(self.headers), body)
                self.send_response(status)
                self.send_header("content-type", "application/x-protobuf")
                self.end_headers()
                self.wfile.write(ExportTraceServiceResponse().SerializeToString())

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}{PATH}"

    def take(self, headers: dict[str, str], body: bytes) -> None:
        """Decode what came."""
        self.headers.append({name.lower(): value for name, value in headers.items()})
        self.bodies.append(body)
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resource = {each.key: each.value.string_value for each in group.resource.attributes}
            self.spans += [Span(span) for scope in group.scope_spans for span in scope.spans]

    def until(self, holds: Callable[[list[Span]], bool]) -> list[Span]:
        """The spans, once something holds for them."""
        deadline = time.monotonic() + TIMEOUT_S
        while not holds(self.spans):
            assert time.monotonic() < deadline, [(span.name, span.attributes) for span in self.spans]
            time.sleep(0.05)
        return self.spans

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
