"""Where spans begin, and the thread that they leave by."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Final

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from schemas import ServiceError
from server.observing_settings import TracingSettings

# Spans that wait for the collector; past it they are dropped. Some 2 KB each.
QUEUE_SPANS: Final = 4096
BATCH_SPANS: Final = 512
EXPORT_DELAY_MS: Final = 1000
EXPORT_TIMEOUT_S: Final = 5
# How long the end of the process waits for the last of them.
FLUSH_TIMEOUT_S: Final = 5.0
_SERVER_ERROR: Final = 500

# The span of the request, which is the parent of its calls: those of a batch share a task, and what is current there is
# whichever of them began last.
REQUEST: Final[ContextVar[Span | None]] = ContextVar("attachd-request-span", default=None)
# What the request log notes.
TRACE_ID: Final[ContextVar[str]] = ContextVar("attachd-trace-id", default="")

Attributes = Mapping[str, str | int | float | bool]


class Tracing:
    """The tracer of a process. `headers` go with what is sent to the collector."""

    def __init__(self, settings: TracingSettings, headers: Mapping[str, str], version: str) -> None:
        exporter = OTLPSpanExporter(endpoint=settings.endpoint, headers=dict(headers), timeout=EXPORT_TIMEOUT_S)
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(settings.sample_ratio)),
            resource=Resource.create({"service.name": settings.service_name, "service.version": version}),
            shutdown_on_exit=False,  # `aclose` does, and does not wait for ever
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(
                exporter,
                max_queue_size=QUEUE_SPANS,
                max_export_batch_size=BATCH_SPANS,
                schedule_delay_millis=EXPORT_DELAY_MS,
            )
        )
        self._tracer = self._provider.get_tracer("attachd", version)

    def begin(self, name: str, kind: SpanKind, attributes: Attributes, parent: contexts.Context | None = None) -> Span:
        """A span that has begun; whoever asks ends it. Its parent is what is current unless it is given."""
        return self._tracer.start_span(name, parent, kind, attributes)

    @contextlib.contextmanager
    def current(
        self, name: str, kind: SpanKind, attributes: Attributes, parent: contexts.Context | None = None
    ) -> Iterator[Span]:
        """A span that is current until the block ends, and ends with it. What is raised is noted by its class or code alone."""
        span = self.begin(name, kind, attributes, parent)
        token = contexts.attach(trace.set_span_in_context(span))
        try:
            yield span
        except BaseException as error:
            note_failure(span, error)
            raise
        finally:
            contexts.detach(token)
            span.end()

    async def aclose(self) -> None:
        """Send what waits, as far as the collector takes it in time."""
        # A daemon: one that hangs must not keep the process.
        thread = threading.Thread(target=self._provider.shutdown, name="attachd-spans", daemon=True)
        thread.start()
        await asyncio.to_thread(thread.join, FLUSH_TIMEOUT_S)


def note_failure(span: Span, error: BaseException) -> None:
    """Note what was raised: a client's mistake is no error of this span's."""
    if isinstance(error, ServiceError):
        span.set_attribute("error.type", error.code.name)
        if error.code.http_status < _SERVER_ERROR:
            return
    else:
        span.set_attribute("error.type", type(error).__qualname__)
    span.set_status(Status(StatusCode.ERROR))


def is_traced() -> bool:
    """Whether there is a span that others may be in: work of no request is not traced."""
    return trace.get_current_span().is_recording()
