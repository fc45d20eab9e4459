"""What can be set of the log, the metrics and the traces. The README's table is tested against it."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

LEVELS: Final = ("debug", "info", "warning", "error")
FORMATS: Final = ("json", "text")


class LogSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[log]`: what is written to standard error."""

    level: Annotated[
        str,
        Meta(description="`debug`, `info`, `warning` or `error`; above `info` only requests that failed with 5xx are written."),
    ] = "info"
    format: Annotated[str, Meta(description="`json`: an object a line; `text`: lines for a person at a terminal.")] = "json"


class MetricsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[metrics]`: `/metrics` for Prometheus."""

    enabled: Annotated[bool, Meta(description="Serve `/metrics`.")] = True
    token: Annotated[
        str,
        Meta(description="What a reader must send as `Authorization: Bearer`, from wherever it comes.", extra={"secret": True}),
    ] = ""
    allowed_addresses: Annotated[
        tuple[str, ...], Meta(description="Addresses or networks that may read the metrics while `metrics.token` is empty.")
    ] = ("127.0.0.1", "::1")


class TracingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[tracing]`: OpenTelemetry, with the extra `otel`."""

    endpoint: Annotated[
        str,
        Meta(description="URL that spans are sent to by OTLP/HTTP, such as `http://127.0.0.1:4318/v1/traces`; empty: none."),
    ] = ""
    headers: Annotated[
        tuple[str, ...],
        Meta(description="Headers to send with them, as `name=value`, such as a collector's key.", extra={"secret": True}),
    ] = ()
    service_name: Annotated[str, Meta(description="What the spans call this service.")] = "attachd"
    sample_ratio: Annotated[
        float, Meta(ge=0, le=1, description="Share of the requests that are traced, unless their `traceparent` says.")
    ] = 1.0
