"""What keeps a quiet stream alive, looks after its credential, and ends it when its time is over: one timer for all."""

import asyncio
from collections.abc import Callable

from server.body_stream import BodyStream

_NEVER = float("inf")


class Heartbeat:
    """Writes `ping` into a body when nothing was written for `interval_s` seconds; 0 is never. `stop` it at the end.

    Whoever writes sets `wrote_at` to the loop's time. `on_check` is called every `check_s` seconds, `on_end` once, after
    `max_duration_s`; 0 is never.
    """

    __slots__ = (
        *("_body", "_check_at", "_check_s", "_deadline", "_interval_s", "_loop"),
        *("_on_check", "_on_end", "_ping", "_timer", "wrote_at"),
    )

    def __init__(
        self,
        body: BodyStream,
        ping: bytes,
        interval_s: float,
        *,
        check_s: float,
        on_check: Callable[[], None],
        max_duration_s: float = 0.0,
        on_end: Callable[[], None] | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._body = body
        self._ping = ping
        self._interval_s = interval_s
        self._check_s = check_s
        self._on_check = on_check
        self._on_end = on_end
        self.wrote_at = now = self._loop.time()
        self._deadline = now + max_duration_s if max_duration_s else _NEVER
        self._check_at = now + check_s if check_s else _NEVER
        self._timer: asyncio.TimerHandle | None = None
        self._set()

    def stop(self) -> None:
        """Write no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self) -> None:
        at = min(self._deadline, self._check_at, self.wrote_at + self._interval_s if self._interval_s else _NEVER)
        self._timer = None if at == _NEVER else self._loop.call_at(at, self._tick)

    def _tick(self) -> None:
        now = self._loop.time()
        if now >= self._deadline and self._on_end is not None:
            self._timer = None
            self._on_end()
            return
        if now >= self._check_at:
            self._check_at = now + self._check_s
            self._on_check()
        if self._interval_s and self.wrote_at + self._interval_s <= now:
            self.wrote_at = now
            if not self._body.is_full:
                self._body.write(self._ping)
        self._set()
