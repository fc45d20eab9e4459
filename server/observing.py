"""What looks on while a process serves: its log, its metrics, its traces."""

import logging
import platform
from importlib.metadata import version
from pathlib import Path

from starlette.types import Scope

from procedures import Procedures
from rest import NO_ROUTE, OPERATIONS
from server.metrics import (
    Cells,
    MeteredBlobs,
    MeteredDatabase,
    Meters,
    MetricsReport,
    PrivateCells,
    SharedCells,
    layout_of,
)
from server.metrics.endpoint import OUTBOX_TIMEOUT_S
from server.settings import Settings
from server.untraced import begin_traces
from storage import Blobs, Database, OutboxDepth, Store, Watch, is_postgresql

_logger = logging.getLogger("attachd")


class Observing:
    """Of one process. `shared` is the folder that all workers of the server are given, None for one that is alone."""

    def __init__(self, settings: Settings, procedures: Procedures, trpc_route: str, shared: Path | None = None) -> None:
        self._settings = settings
        paths = [trpc_route, *dict.fromkeys(operation.path for operation in OPERATIONS)]
        names = [procedure.path for procedure in procedures if procedure.kind != "subscription"]
        self._layout = layout_of(paths, names)
        self._cells = self._take_cells(shared)
        self.meters = Meters(self._layout, self._cells.own, paths, trpc_route, names)
        self.traces = begin_traces(settings)
        self.log = self.traces.log(paths, trpc_route)
        self._beginnings = {f"/{path.split('/')[1]}" for path in paths}

    def _take_cells(self, shared: Path | None) -> Cells:
        if shared is not None and self._settings.metrics.enabled:
            try:
                return SharedCells(shared, self._layout)
            except OSError:
                _logger.exception("the metrics of this worker are not seen by the others")
        return PrivateCells(self._layout)

    def route(self, scope: Scope) -> str:
        """What log and metrics call a request: the pattern of its route.

        Of a path that is none there is at most the beginning that routes have, such as `/chat/…`: what follows may be most of a
        link that somebody cut or added to, with its secret and the name of its file.
        """
        if "route" in scope:
            pattern: str = scope["route"].path
            return pattern
        beginning = "/".join(scope["path"].split("/", 2)[:2])
        return f"{beginning}{NO_ROUTE}" if beginning in self._beginnings else NO_ROUTE

    def watch(self) -> Watch:
        """What counts and traces what the store does."""

        def database(database: Database) -> Database:
            return self.traces.database(MeteredDatabase(database, self.meters))

        def blobs(blobs: Blobs) -> Blobs:
            return self.traces.blobs(MeteredBlobs(blobs, self.meters))

        return Watch(database, blobs)

    def report(self, store: Store) -> MetricsReport:
        """What `/metrics` tells."""

        async def outbox() -> list[OutboxDepth]:
            return await store.outbox.depths(OUTBOX_TIMEOUT_S)

        build = {
            "version": version("attachd"),
            "python": platform.python_version(),
            "database": "postgresql" if is_postgresql(self._settings.database.url) else "sqlite",
            "storage": self._settings.upload.backend,
        }
        return MetricsReport(self._layout, self._cells, build, outbox)

    async def aclose(self) -> None:
        """Write and send what is left."""
        if self.log is not None:
            self.log.flush()
        await self.traces.aclose()
