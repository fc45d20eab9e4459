"""Traces by OpenTelemetry, for those who set `tracing.endpoint`. Nothing else imports this: it takes 5 MB and the extra `otel`.

A span for each request, within it one for each call, and within those one for each use of the database and the storage. They
name procedures, route patterns and the texts of statements, which have no values in them; never a path, a token, a file name,
an organization or a user. Spans leave by a thread of their own, from a queue that drops what does not fit: no request waits.
"""

from collections.abc import Collection
from importlib.metadata import version
from typing import Any

from starlette.types import ASGIApp

from server.log import RequestLog
from server.setting_rules import tracing_headers
from server.settings import Settings
from server.tracing.calls import TracedCalls
from server.tracing.places import TracedBlobs, TracedDatabase
from server.tracing.requests import TracedLog, traced
from server.tracing.tracer import Tracing
from server.transports import Calls
from server.untraced import Untraced
from storage import Blobs, Database, is_postgresql

__all__ = ["Traced"]


class Traced(Untraced):
    """Everything is traced; see `Untraced`."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._tracing = Tracing(settings.tracing, tracing_headers(settings.tracing.headers), version("attachd"))

    def app(self, app: ASGIApp) -> ASGIApp:
        """The application, with a span around each request."""
        return traced(app, self._tracing)

    def calls(self, *arguments: Any, **options: Any) -> Calls:
        """What runs the procedures, each call in a span."""
        return TracedCalls(self._tracing, *arguments, **options)

    def database(self, database: Database) -> Database:
        """The database, in spans."""
        system = "postgresql" if is_postgresql(self.settings.database.url) else "sqlite"
        return TracedDatabase(database, self._tracing, system)

    def blobs(self, blobs: Blobs) -> Blobs:
        """The place for blobs, in spans."""
        return TracedBlobs(blobs, self._tracing, self.settings.upload.backend)

    def log(self, paths: Collection[str], trpc_route: str) -> RequestLog | None:
        """The log of requests, which tells their spans."""
        is_written = self.settings.server.request_log
        return TracedLog(paths, trpc_route, is_written=is_written, **self.log_options())

    async def aclose(self) -> None:
        """Send what is left, as far as the collector takes it in time."""
        await self._tracing.aclose()
