"""What `/metrics` tells, and when it asks the database: for the outbox, not on the path of any other request."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from schemas import ServiceError
from server.metrics.cells import Layout
from server.metrics.exposition import Scrape, render
from server.metrics.shared import Cells
from storage import OutboxDepth

# How long the outbox's depth is remembered, so that many readers cost what one costs, and how long the database may take.
OUTBOX_SHARED_S: Final = 5.0
OUTBOX_TIMEOUT_S: Final = 2.0


class MetricsReport:
    """Makes the text. `outbox` reads how many messages wait, and raises ServiceError when the database fails."""

    def __init__(
        self,
        layout: Layout,
        cells: Cells,
        build: Mapping[str, str],
        outbox: Callable[[], Awaitable[Sequence[OutboxDepth]]],
    ) -> None:
        self._layout = layout
        self._cells = cells
        self._build = build
        self._outbox = outbox
        self._depths: Sequence[OutboxDepth] | None = None
        self._read_at = float("-inf")

    async def read(self, accept: str) -> tuple[str, bytes]:
        """Media type and body; without the outbox when the database does not answer."""
        depths = await self._outbox_depths()
        # Tens of milliseconds for many series: other requests go on meanwhile.
        return await asyncio.to_thread(self._render, depths, accept)

    async def _outbox_depths(self) -> Sequence[OutboxDepth] | None:
        if time.monotonic() - self._read_at >= OUTBOX_SHARED_S:
            try:
                async with asyncio.timeout(OUTBOX_TIMEOUT_S):
                    self._depths = await self._outbox()
            except (ServiceError, TimeoutError):
                self._depths = None
            self._read_at = time.monotonic()
        return self._depths

    def _render(self, depths: Sequence[OutboxDepth] | None, accept: str) -> tuple[str, bytes]:
        return render(Scrape(self._layout, self._cells, self._build, depths), accept)
