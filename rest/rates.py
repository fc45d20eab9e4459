"""How often a caller may come: windows that begin with the first request, counted by `limits` (docs/decisions/0022).

Counts are kept in the process, or in a Redis that all processes share.
"""

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from limits import RateLimitItem, parse
from limits.aio.strategies import FixedWindowRateLimiter
from limits.errors import StorageError
from limits.storage import storage_from_string

from schemas import Code, RateLimited, ServiceError

if TYPE_CHECKING:
    from redis.asyncio import ConnectionPool

Rate = RateLimitItem
MEMORY = "memory://"
REDIS_SCHEMES = ("redis", "rediss")
# How long a Redis gets to take a connection, and to answer; it answers in less than a millisecond. By itself redis-py (7.4)
# waits for ever for one that hangs, and comes back three times to one that is down, later each time.
REDIS_TIMEOUT_S = 1.0


def parse_rate(text: str) -> Rate:
    """The rate that is written such as `10/minute` or `100 per 2 hours`. Raises ValueError."""
    return parse(text)


def _connections(redis_url: str) -> "ConnectionPool":
    from redis.asyncio import ConnectionPool  # noqa: PLC0415 (an extra)
    from redis.asyncio.retry import Retry  # noqa: PLC0415
    from redis.backoff import NoBackoff  # noqa: PLC0415

    once_more = Retry(NoBackoff(), 1)  # for a connection that ended while it was idle, as those to a restarted Redis have
    return ConnectionPool.from_url(
        redis_url, socket_connect_timeout=REDIS_TIMEOUT_S, socket_timeout=REDIS_TIMEOUT_S, retry=once_more
    )


class RateLimits:
    """The counts of a server. `storage_url` is `memory://`, or the URL of a Redis; `on_refused` is told whose limit it was."""

    def __init__(self, storage_url: str = MEMORY, on_refused: Callable[[str], None] = lambda _name: None) -> None:
        self._on_refused = on_refused
        self._pool = None if storage_url == MEMORY else _connections(storage_url)
        options: dict[str, Any] = {} if self._pool is None else {"connection_pool": self._pool}
        storage = storage_from_string(f"async+{storage_url}", wrap_exceptions=True, implementation="redispy", **options)
        self._limiter = FixedWindowRateLimiter(storage)

    async def aclose(self) -> None:
        """Close the connections to a Redis."""
        if self._pool is not None:
            await self._pool.disconnect()

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
