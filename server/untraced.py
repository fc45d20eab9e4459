"""What traces stand around, as it is without them. `server/tracing` has the other kind; only those who trace import it."""

from collections.abc import Collection
from typing import Any

from starlette.types import ASGIApp

from server.log import RequestLog
from server.log_lines import encode_line, encode_text
from server.settings import Settings
from server.transports import Calls
from storage import Blobs, Database


class Untraced:
    """Nothing is traced; nothing stands in the way of anything."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def app(self, app: ASGIApp) -> ASGIApp:
        """The application, as it is to be called for a request."""
        return app

    def calls(self, *arguments: Any, **options: Any) -> Calls:
        """What runs the procedures; see `Calls`."""
        return Calls(*arguments, **options)

    def database(self, database: Database) -> Database:
        """The database."""
        return database

    def blobs(self, blobs: Blobs) -> Blobs:
        """The place for blobs."""
        return blobs

    def log(self, _paths: Collection[str], _trpc_route: str) -> RequestLog | None:
        """The log of requests, None when the settings want none."""
        return RequestLog(**self.log_options()) if self.settings.server.request_log else None

    def log_options(self) -> dict[str, Any]:
        """How its lines are written."""
        log = self.settings.log
        encode = encode_text if log.format == "text" else encode_line
        return {"encode": encode, "errors_only": log.level not in {"debug", "info"}}

    async def aclose(self) -> None:
        """Send what is left."""


def begin_traces(settings: Settings) -> Untraced:
    """Traces as the settings want them."""
    if not settings.tracing.endpoint:
        return Untraced(settings)
    from server.tracing import Traced  # noqa: PLC0415 (for those who trace: it takes the extra `otel`, and 5 MB)

    return Traced(settings)
