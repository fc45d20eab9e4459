"""The connections of a process, and the work that waits for one.

Rules:
1. Work is handed to a connection, not a connection to the work: a task for each connection takes one job after the other.
   Nobody borrows anything, so nobody can forget to give it back, and a caller that is cancelled leaves no query half read.
2. Jobs are of lanes, and a lane has a limit of connections that it may use at once. Writes that wait for a lock and searches
   that take seconds leave connections to the look-ups.
3. A connection is opened when there is work and none is free, and replaced when it is broken. After one could not be opened,
   jobs fail at once for `DOWN_S`: a database that is down is not asked a thousand times a second.
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


_Taken = tuple[Lane, Job]


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
        elif lane.running >= lane.limit or not self._begin(lane, job):
            lane.waiting.append(_Waiting(time.monotonic() + lane.wait_s, job))
            if lane.timer is None:
                lane.timer = asyncio.get_running_loop().call_later(lane.wait_s, _expire, lane)

    def _begin(self, lane: Lane, job: Job) -> bool:
        """Give the job to a free connection or a new one, if there may be one."""
        if self._parked:
            lane.running += 1
            self._parked.pop().work.set_result((lane, job))
            return True
        if self._working < self._size:
            lane.running += 1
            self._working += 1
            task = asyncio.get_running_loop().create_task(self._work(lane, job))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return True
        return False

    async def _work(self, lane: Lane, job: Job) -> None:
        """One connection: the job, then what waits, then what comes."""
        connection: Connection | None = None
        try:
            while True:
                try:
                    connection = await self._do(job, connection)
                finally:
                    lane.running -= 1
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
                lane, job = taken
        finally:
            if connection is not None and not connection.is_closed():
                await _close(connection)

    def _take(self) -> _Taken | None:
        """The next job that waits, of a lane that may use another connection."""
        for lane in self._lanes:
            if lane.waiting and lane.running < lane.limit:
                lane.running += 1
                return lane, lane.waiting.popleft().job
        return None

    async def _do(self, job: Job, connection: Connection | None) -> Connection | None:
        """Run the job, again where that is right; gives the connection unless it is broken."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                if connection is None or connection.is_closed():
                    connection = None
                    connection = await self._open()
                await job.run(connection)
                return connection
            except ServiceError as error:
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
        if self._why_down is not None and time.monotonic() < self._down_until:
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
