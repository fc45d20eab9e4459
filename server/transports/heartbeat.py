"""What keeps a quiet stream alive, and ends one whose time is over: one timer for both."""

import asyncio
from collections.abc import Callable

from server.body_stream import BodyStream

_NEVER = float("inf")


class Heartbeat:
    """Writes `ping` into a body when nothing was written for `interval_s` seconds; 0 is never. `stop` it at the end.

    Whoever writes sets `wrote_at` to the loop's time. With `max_duration_s`, `on_end` is called when that time is over.
    """

    __slots__ = ("_body", "_deadline", "_interval_s", "_loop", "_on_end", "_ping", "_timer", "wrote_at")

    def __init__(
        self,
        body: BodyStream,
        ping: bytes,
        interval_s: float,
        *,
        max_duration_s: float = 0.0,
        on_end: Callable[[], None] | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._body = body
        self._ping = ping
        self._interval_s = interval_s
        self._on_end = on_end
        self.wrote_at = now = self._loop.time()
        self._deadline = now + max_duration_s if max_duration_s else _NEVER
        self._timer: asyncio.TimerHandle | None = None
        self._set()

    def stop(self) -> None:
        """Write no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self) -> None:
        at = min(self._deadline, self.wrote_at + self._interval_s if self._interval_s else _NEVER)
        self._timer = None if at == _NEVER else self._loop.call_at(at, self._tick)

    def _tick(self) -> None:
        now = self._loop.time()
        if now >= self._deadline and self._on_end is not None:
            self._timer = None
            self._on_end()
            return
        if self.wrote_at + self._interval_s <= now:
            self.wrote_at = now
            if not self._body.is_full:
                self._body.write(self._ping)
        self._set()
