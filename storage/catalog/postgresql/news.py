"""Telling other processes of commits, and hearing of theirs: LISTEN and NOTIFY.

Rules:
1. The log of events is the truth. A notification only says that it is worth reading now; one that is lost costs
   `events.poll_seconds`.
2. It is sent after the commit and not in its transaction: there NOTIFY takes a lock of the whole database, which commits one
   after the other. Commits within `PAUSE_S` share one.
3. Nobody listens before somebody wants to hear. From then on there is one connection for it, which is made anew when it breaks;
   what may have been missed meanwhile counts as news.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable

from storage.catalog.engine import Row
from storage.catalog.postgresql.connections import Connection
from storage.catalog.postgresql.jobs import Read
from storage.catalog.postgresql.pool import Lane, Pool

logger = logging.getLogger("attachd.database")

PAUSE_S = 0.02
AGAIN_S = 1.0  # between two attempts to listen
_CHANNEL = "attachd"
_NOTIFY = "SELECT pg_notify($1, $2)"


class News:
    """What this process tells and hears. `connect` makes the connection that listens."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]], pool: Pool, lane: Lane) -> None:
        self._connect = connect
        self._pool = pool
        self._lane = lane
        self._self = secrets.token_hex(8)  # in each notification: one's own are no news
        self._listener: Callable[[], None] | None = None
        self._listening: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._more = False
        self._deaf = False

    def on_commit(self, listener: Callable[[], None] | None) -> None:
        """Call `listener` after commits of this process and upon news of others', or nothing any more."""
        self._listener = listener
        if listener is not None and self._listening is None:
            self._listening = asyncio.get_running_loop().create_task(self._listen())

    def committed(self) -> None:
        """Tell everybody that this process has committed something."""
        if self._listener is not None:
            self._listener()
        self._more = True
        if self._timer is None:  # soon, and not now: the connection of the commit is about to be free
            self._timer = asyncio.get_running_loop().call_later(0, self._tell)

    def _tell(self) -> None:
        """Notify the others of what was committed since the last time."""
        self._timer = None
        if self._more:
            self._more = False
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(PAUSE_S, self._tell)
            told: asyncio.Future[list[Row]] = loop.create_future()
            told.add_done_callback(_look_at)
            self._pool.submit(self._lane, Read(told, _NOTIFY, (_CHANNEL, self._self)))

    def _heard(self, _connection: object, _pid: int, _channel: str, who: object) -> None:
        if who != self._self and self._listener is not None:
            self._listener()

    async def _listen(self) -> None:
        """Listen for ever, whatever fails; the log is told once of each outage."""
        while True:
            try:
                await self._listen_once()
            except Exception:  # also what the driver raises of a standby, or of a server that stops just now
                if not self._deaf:
                    logger.warning("cannot listen for changes of other processes; they are looked for meanwhile", exc_info=True)
                self._deaf = True
            await asyncio.sleep(AGAIN_S)

    async def _listen_once(self) -> None:
        """Listen until the connection ends."""
        connection = await self._connect()
        ended = asyncio.Event()
        try:
            connection.add_termination_listener(lambda _: ended.set())
            await connection.add_listener(_CHANNEL, self._heard)
            if self._deaf:
                self._deaf = False
                logger.info("changes of other processes are listened for again")
            if self._listener is not None:
                self._listener()
            await ended.wait()
        finally:
            connection.terminate()

    async def aclose(self) -> None:
        """Tell what is to be told, and stop listening."""
        if self._timer is not None:
            self._timer.cancel()
            self._tell()
            if self._timer is not None:
                self._timer.cancel()
        if self._listening is not None:
            self._listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._listening


def _look_at(told: asyncio.Future[list[Row]]) -> None:
    """A notification that could not be sent is no loss."""
    if not told.cancelled():
        told.exception()
