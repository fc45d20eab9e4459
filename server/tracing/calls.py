"""The spans of calls, each a child of its request's; a call over WebSocket has no request, and begins a trace."""

from typing import Any, Final

from opentelemetry.trace import Span, SpanKind, format_trace_id

from procedures import Context, Procedure, ReadInput
from server.tracing.requests import request_context
from server.tracing.tracer import TRACE_ID, Tracing, note_failure
from server.transports import Calls
from server.trpc.responses import Outcome

_SYSTEM: Final = "trpc"


class TracedCalls(Calls):
    """Runs procedures, each in a span."""

    def __init__(self, tracing: Tracing, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._tracing = tracing

    async def outcome(self, procedure: Procedure, context: Context, read_input: ReadInput, request_id: str) -> Outcome:
        """Run one call to its end, in a span."""
        parent = request_context()
        with self._tracing.current(procedure.path, _kind(parent), _attributes(procedure), parent) as span:
            _note_trace(span)
            outcome = await super().outcome(procedure, context, read_input, request_id)
            if not isinstance(outcome, bytes):
                note_failure(span, outcome)
            return outcome

    async def output(self, procedure: Procedure, context: Context, read_input: ReadInput, request_id: str) -> Any:
        """What a procedure gives, in a span, which ends when it is there; what is deferred comes after."""
        parent = request_context()
        with self._tracing.current(procedure.path, _kind(parent), _attributes(procedure), parent) as span:
            _note_trace(span)
            return await super().output(procedure, context, read_input, request_id)


def _kind(parent: object) -> SpanKind:
    return SpanKind.SERVER if parent is None else SpanKind.INTERNAL


def _attributes(procedure: Procedure) -> dict[str, str]:
    return {"rpc.system": _SYSTEM, "rpc.method": procedure.path, "attachd.procedure.kind": procedure.kind}


def _note_trace(span: Span) -> None:
    if span.is_recording():
        TRACE_ID.set(format_trace_id(span.get_span_context().trace_id))
