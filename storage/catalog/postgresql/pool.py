"""The connections of a process, and the work that waits for one.

Rules:
1. Work is handed to a connection, not a connection to the work: a task for each connection takes one job after the other.
   Nobody borrows anything, so nobody can forget to give it back, and a caller that is cancelled leaves no query half read.
2. Jobs are of lanes, and a lane has a limit of connections that it may use at once. Writes that wait for a lock and searches
   that take seconds leave connections to the look-ups.
3. A connection is opened when there is work and none is free, and replaced when it is broken. After one could not be opened,
   none is for `DOWN_S`: a database that is down is not asked a thousand times a second. What was to be done on it is left to
   the others, as when a role has reached its limit of connections; when there are none, jobs fail at once.
4. A job waits at most the `wait_s` of its lane for a connection.

asyncpg's own pool resets a connection each time it is given back, a round trip more than the query (docs/decisions/0027).
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

import asyncpg

from schemas import ServiceError
from storage.catalog.engine import unavailable
from storage.catalog.postgresql.connections import Connection

DOWN_S = 0.25
ATTEMPTS = 5  # of one job: after a deadlock, or on a connection that turned out to be broken
CLOSE_S = 5.0  # for connections to say goodbye

_LOST = (
    OSError,  # TimeoutError is one of these: the connection is then in an unknown state
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,  # a standby now: the next connection may find who writes
)
_IN_THE_WAY = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)


class Job(Protocol):
    """Something to do on a connection."""

    @property
    def repeatable(self) -> bool:
        """Whether nothing of it can have been done yet, so that it may be run again."""
        ...

    async def run(self, connection: Connection) -> None:
        """Do it. What the database raises is raised here, and the connection is then not in a transaction."""
        ...

    def fail(self, error: Exception) -> None:
        """Tell who waits that it was not done."""
        ...


class _Waiting(NamedTuple):
    until: float
    job: Job


class Lane:
    """Jobs of one kind; at most `limit` at once, and each waits for at most `wait_s` seconds."""

    def __init__(self, limit: int, wait_s: float) -> None:
        self.limit = limit
        self.wait_s = wait_s
        self.running = 0
        self.waiting: deque[_Waiting] = deque()
        self.timer: asyncio.TimerHandle | None = None


_Taken = tuple[Lane, Job, float | None]  # and until when the job may wait, if it has waited


class _Parked(NamedTuple):
    """A connection that is free, and where its next job goes; None to end it."""

    work: asyncio.Future[_Taken | None]
    connection: Connection


class Pool:
    """At most `size` connections, made by `connect`. Belongs to one event loop."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]], size: int) -> None:
        self._connect = connect
        self._size = size
        self._lanes: list[Lane] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._working = 0  # tasks that take jobs, or wait for one
        self._parked: list[_Parked] = []  # the last to be free is the first to get work
        self._down_until = 0.0
        self._why_down: ServiceError | None = None
        self._again: asyncio.TimerHandle | None = None
        self._closing = False

    def lane(self, limit: int, wait_s: float) -> Lane:
        """A new lane; those that are made first go first."""
        lane = Lane(max(limit, 1), wait_s)
        self._lanes.append(lane)
        return lane

    def submit(self, lane: Lane, job: Job) -> None:
        """Have the job done soon."""
        if self._closing:
            job.fail(asyncpg.InterfaceError("the database was closed"))
        elif lane.running < lane.limit and self._may_begin():
            lane.running += 1
            self._begin((lane, job, None))
        else:
            lane.waiting.append(_Waiting(time.monotonic() + lane.wait_s, job))
            if lane.timer is None:
                lane.timer = asyncio.get_running_loop().call_later(lane.wait_s, _expire, lane)

    def _may_begin(self) -> bool:
        """Whether a connection is free or may be opened; when there is none at all, a job must find out that it cannot."""
        return bool(self._parked) or (self._working < self._size and (not self._working or not self._is_down()))

    def _begin(self, taken: _Taken | None) -> None:
        """Give the job to a free connection or a new one; None to open one for what waits."""
        if self._parked:
            self._parked.pop().work.set_result(taken)
        else:
            self._working += 1
            task = asyncio.get_running_loop().create_task(self._work(taken))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _work(self, taken: _Taken | None) -> None:
        """One connection: the job, then what waits, then what comes."""
        connection: Connection | None = None
        try:
            if taken is None:
                with contextlib.suppress(ServiceError):  # who waits is told below
                    connection = await self._open()
            while True:
                if taken is not None:
                    try:
                        connection = await self._do(taken, connection)
                    finally:
                        taken[0].running -= 1
                if connection is None and self._leaves_to_others():
                    self._working -= 1
                    self._look_after_what_waits()
                    return
                taken = self._take()
                if taken is None:
                    if connection is None or self._closing:
                        self._working -= 1
                        return
                    parked = _Parked(asyncio.get_running_loop().create_future(), connection)
                    self._parked.append(parked)
                    taken = await parked.work
                    if taken is None:
                        return
        finally:
            if connection is not None and not connection.is_closed():
                await _close(connection)

    def _look_after_what_waits(self) -> None:
        """Have taken what waits, by connections that are free or, as soon as one may be opened, by another."""
        while self._parked and (taken := self._take()) is not None:
            self._begin(taken)
        if self._closing or not any(lane.waiting and lane.running < lane.limit for lane in self._lanes):
            return
        if self._may_begin():
            self._begin(None)
        elif self._again is None:
            self._again = asyncio.get_running_loop().call_later(DOWN_S, self._look_again)

    def _look_again(self) -> None:
        self._again = None
        self._look_after_what_waits()

    def _take(self) -> _Taken | None:
        """The next job that waits, of a lane that may use another connection."""
        for lane in self._lanes:
            if lane.waiting and lane.running < lane.limit:
                lane.running += 1
                waiting = lane.waiting.popleft()
                return lane, waiting.job, waiting.until
        return None

    def _is_down(self) -> bool:
        return time.monotonic() < self._down_until

    def _leaves_to_others(self) -> bool:
        """Whether one that has no connection now need not fail what waits: others work, or still find out that they cannot."""
        return self._working > 1 and self._is_down() and not self._closing

    def _put_back(self, taken: _Taken) -> bool:
        """Leave the job to the other connections, if there are any and it may still wait."""
        lane, job, until = taken
        now = time.monotonic()
        if not self._leaves_to_others() or (until is not None and until <= now):
            return False
        until = now + lane.wait_s if until is None else until
        if lane.waiting:  # the first of a lane is the first whose time is over
            until = min(until, lane.waiting[0].until)
        lane.waiting.appendleft(_Waiting(until, job))
        if lane.timer is not None:
            lane.timer.cancel()
        lane.timer = asyncio.get_running_loop().call_later(until - now, _expire, lane)
        return True

    async def _do(self, taken: _Taken, connection: Connection | None) -> Connection | None:
        """Run the job, again where that is right; gives the connection unless it is broken."""
        _, job, _ = taken
        for attempt in range(1, ATTEMPTS + 1):
            try:
                if connection is None or connection.is_closed():
                    connection = None
                    connection = await self._open()
                await job.run(connection)
                return connection
            except ServiceError as error:
                if connection is not None or not self._put_back(taken):
                    job.fail(error)
                return connection
            except Exception as error:  # noqa: BLE001 (not swallowed: who waits for the job is told)
                # asyncpg's error of a value that cannot be sent is an InterfaceError and a ValueError.
                lost = isinstance(error, _LOST) and not isinstance(error, ValueError)
                if lost and connection is not None:
                    connection.terminate()
                    connection = None
                    self._distrust()
                lost_before = lost and job.repeatable and not isinstance(error, TimeoutError)
                if not (lost_before or isinstance(error, _IN_THE_WAY)) or attempt == ATTEMPTS:
                    job.fail(error)
                    return connection
            except asyncio.CancelledError:
                if connection is not None:
                    connection.terminate()
                job.fail(asyncpg.InterfaceError("the database was closed"))
                raise
        return connection

    def _distrust(self) -> None:
        """Let go of the idle connections: what broke one has broken the others, too, and each would cost a job its time-out."""
        for parked in self._parked:
            parked.connection.terminate()
            parked.work.set_result(None)
        self._working -= len(self._parked)
        self._parked.clear()

    async def _open(self) -> Connection:
        if self._why_down is not None and self._is_down():
            raise unavailable() from self._why_down
        try:
            connection = await self._connect()
        except ServiceError as error:
            self._why_down = error
            self._down_until = time.monotonic() + DOWN_S
            raise unavailable() from error
        self._why_down = None
        return connection

    async def aclose(self, timeout_s: float) -> None:
        """Finish what was begun and what waits, for so long at most, and close."""
        self._closing = True
        for parked in self._parked:
            parked.work.set_result(None)
        self._parked.clear()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_S)
        for lane in self._lanes:
            if lane.timer is not None:
                lane.timer.cancel()
            while lane.waiting:
                lane.waiting.popleft().job.fail(asyncpg.InterfaceError("the database was closed"))


def _expire(lane: Lane) -> None:
    """Fail the jobs that have waited too long."""
    now = time.monotonic()
    while lane.waiting and lane.waiting[0].until <= now:
        lane.waiting.popleft().job.fail(TimeoutError("no free connection (database.pool_timeout_seconds)"))
    lane.timer = None
    if lane.waiting:
        lane.timer = asyncio.get_running_loop().call_later(lane.waiting[0].until - now, _expire, lane)


async def _close(connection: Connection) -> None:
    with contextlib.suppress(Exception):
        await connection.close(timeout=CLOSE_S)
        return
    connection.terminate()
