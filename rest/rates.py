"""How often a caller may come: windows that begin with the first request, counted by `limits` (docs/decisions/0022).

Counts are kept in the process, or in a Redis that all processes share.
"""

import math
import time
from collections.abc import Callable

from limits import RateLimitItem, parse
from limits.aio.strategies import FixedWindowRateLimiter
from limits.errors import StorageError
from limits.storage import storage_from_string

from schemas import Code, RateLimited, ServiceError

Rate = RateLimitItem
MEMORY = "memory://"
REDIS_SCHEMES = ("redis", "rediss")


def parse_rate(text: str) -> Rate:
    """The rate that is written such as `10/minute` or `100 per 2 hours`. Raises ValueError."""
    return parse(text)


class RateLimits:
    """The counts of a server. `storage_url` is `memory://`, or the URL of a Redis; `on_refused` is told whose limit it was."""

    def __init__(self, storage_url: str = MEMORY, on_refused: Callable[[str], None] = lambda _name: None) -> None:
        self._on_refused = on_refused
        storage = storage_from_string(f"async+{storage_url}", wrap_exceptions=True, implementation="redispy")
        self._limiter = FixedWindowRateLimiter(storage)

    async def check(self) -> bool:
        """Whether what counts answers."""
        try:
            return await self._limiter.storage.check()
        except StorageError:
            return False

    async def hit(self, name: str, rate: Rate, caller: str) -> None:
        """Count a request of the caller against the limit of that name.

        Raises RateLimited, with when to come again, and SERVICE_UNAVAILABLE.
        """
        try:
            if await self._limiter.hit(rate, name, caller):
                return
            stats = await self._limiter.get_window_stats(rate, name, caller)
        except StorageError as error:
            raise ServiceError(Code.SERVICE_UNAVAILABLE, "requests cannot be counted now, try again") from error
        self._on_refused(name)
        raise RateLimited(max(1, math.ceil(stats.reset_time - time.time())))
