"""Following the changes of conversations: a hub in each process between the log of events and those who subscribe.

Rules:
1. The log is the truth, the hub only saves reading it once for each subscriber. What was committed is told, in the order of the
   commits, once; what was not is never told.
2. New events are read once for all subscribers: at once after a commit of this process, and every `poll_s` seconds for those of
   others. While nobody subscribes nothing is read.
3. An event is one shared object for all its subscribers, so that a transport can encode it once.
4. A subscriber holds at most `QUEUED` changes. One that takes them more slowly falls behind: it keeps only its place in the log
   and reads on from there by itself. That is also how one that connects again catches up.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence

from schemas import Change, Code, ServiceError, Tracked
from storage.catalog import Event, EventTable
from storage.clock import timestamp

logger = logging.getLogger("attachd.changes")

QUEUED = 64  # changes that wait for one subscriber
AT_ONCE = 32  # events in one turn of the event loop: half a queue, so that who takes them in the next never falls behind

Key = tuple[str, str]  # organization and conversation
Numbered = tuple[int, Tracked[Change]]


class _Subscriber:
    """One subscription: the number of the last event it was given, and the changes that wait for it."""

    __slots__ = ("behind", "ended", "key", "limit", "missed_from", "place", "queue", "waiter")

    def __init__(self, key: Key, limit: int) -> None:
        self.key = key
        self.place = 0
        self.limit = limit
        self.behind = False
        self.missed_from = 0  # while behind: all up to here was given to it, or is about to be
        self.ended = False
        self.queue: list[Numbered] = []
        self.waiter: asyncio.Future[None] | None = None

    def push(self, id: int, change: Tracked[Change]) -> None:
        """Take the next change, or fall behind."""
        if self.behind:
            return
        if len(self.queue) >= self.limit:
            self.fall_behind(self.queue[0][0] - 1)
        else:
            self.queue.append((id, change))
        self.wake()

    def fall_behind(self, missed_from: int) -> None:
        """From now on know the place only, and read on from there."""
        self.missed_from = missed_from
        self.queue = []
        self.behind = True

    def wake(self) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    async def wait(self) -> None:
        """Until there is something to do."""
        if not (self.queue or self.behind or self.ended):
            self.waiter = asyncio.get_running_loop().create_future()
            try:
                await self.waiter
            finally:
                self.waiter = None


class Changes:
    """The hub of a process. `on_commit` registers what is called on the event loop after each commit of this process."""

    def __init__(
        self,
        table: EventTable,
        on_commit: Callable[[Callable[[], None] | None], None],
        poll_s: float,
        *,
        queued: int = QUEUED,
        at_once: int = AT_ONCE,
    ) -> None:
        self._table = table
        self._on_commit = on_commit
        self._poll_s = poll_s
        self._queued = queued
        self._at_once = at_once
        self._subscribers: dict[Key, set[_Subscriber]] = {}
        self._place: int | None = None  # the number of the last event that was handed out; None while nobody subscribes
        self._beginning = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._news = False
        self._failing = False  # the log cannot be read
        self._closed = False

    async def follow(
        self, organization_id: str, conversation_id: str, last_id: int | None
    ) -> AsyncGenerator[Tracked[Change], None]:
        """The changes of the conversation behind the event `last_id`, without end; without it `ready` and then new ones.

        Raises PRECONDITION_FAILED when the log does not have what came after `last_id`, or never had `last_id`, and
        SERVICE_UNAVAILABLE when the database fails or the store is closed.
        """
        if self._closed:
            raise _ended()
        subscriber = _Subscriber((organization_id, conversation_id), self._queued)
        self._subscribers.setdefault(subscriber.key, set()).add(subscriber)
        try:
            await self._place_of(subscriber, last_id)
            if last_id is None:
                yield _ready(conversation_id, subscriber.place)
            while True:
                for id, change in await self._take(subscriber):
                    if id > subscriber.place:
                        subscriber.place = id
                        yield change
                await subscriber.wait()
        finally:
            self._unsubscribe(subscriber)

    async def _place_of(self, subscriber: _Subscriber, last_id: int | None) -> None:
        """Where a new subscriber begins. It is told already, and what it is told twice has a number it is past."""
        await self._begin()
        end = await self._table.end()
        if last_id is None:
            subscriber.place = end
            return
        await self._check_kept(last_id)
        if last_id > end:
            message = f"the change {last_id} is unknown here: read the list anew and subscribe without lastEventId"
            raise ServiceError(Code.PRECONDITION_FAILED, message)
        subscriber.place = last_id
        subscriber.fall_behind(last_id)

    async def _begin(self) -> None:
        """Hand out from now on, unless that has begun: what is committed behind here reaches every subscriber there is."""
        async with self._beginning:
            if self._place is None:
                self._place = await self._table.end()
                self._on_commit(self._schedule)
                self._timer = asyncio.get_running_loop().call_later(self._poll_s, self._poll)

    def _unsubscribe(self, subscriber: _Subscriber) -> None:
        others = self._subscribers[subscriber.key]
        others.remove(subscriber)
        if not others:
            del self._subscribers[subscriber.key]
        if not self._subscribers:
            self._rest()

    def _rest(self) -> None:
        """Read nothing until somebody subscribes."""
        self._place = None
        self._on_commit(None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _take(self, subscriber: _Subscriber) -> list[Numbered]:
        """What waits for a subscriber, from the log if it is behind. May hold what it was given before."""
        if subscriber.ended:
            raise _ended()
        if not subscriber.behind:
            waiting, subscriber.queue = subscriber.queue, []
            return waiting
        subscriber.place = max(subscriber.place, subscriber.missed_from)
        subscriber.behind = False  # before the read: what is handed out meanwhile waits in the queue
        await self._check_kept(subscriber.place)
        events = await self._table.of_conversation(*subscriber.key, subscriber.place, self._at_once)
        changes = await self._changes(events)
        if len(events) == self._at_once:
            subscriber.fall_behind(events[-1].id)
        return changes

    async def _check_kept(self, place: int) -> None:
        if place < await self._table.forgotten():
            message = f"what came after the change {place} is no longer kept: read the list anew, subscribe without lastEventId"
            raise ServiceError(Code.PRECONDITION_FAILED, message)

    def _schedule(self) -> None:
        """Hand out what is new, once those that wait for the same commit have gone on."""
        self._news = True
        if self._task is None:
            self._task = asyncio.create_task(self._hand_out())

    def _poll(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._poll_s, self._poll)
        self._schedule()

    async def _hand_out(self) -> None:
        """Read the new events and give them to their subscribers, until there are none."""
        try:
            while self._news and self._place is not None:
                self._news = False
                if await self._hand_out_some(self._place):
                    self._news = True
                    await asyncio.sleep(0)  # they take what they were given
            self._note(None)
        except ServiceError as error:
            self._note(error)
        finally:
            self._task = None

    def _note(self, failure: ServiceError | None) -> None:
        """Say when an outage of the log begins and when it is over, not with each attempt between."""
        if failure is not None and not self._failing:
            logger.warning("the log of events could not be read; it is tried again", exc_info=failure)
        elif self._failing and failure is None:
            logger.info("the log of events can be read again")
        self._failing = failure is not None

    async def _hand_out_some(self, place: int) -> bool:
        """Hand out some events behind that place; whether there may be more."""
        events = await self._table.after(place, self._at_once)
        # Who subscribes from here on begins behind these.
        wanted = [event for event in events if (event.organization_id, event.conversation_id) in self._subscribers]
        changes = await self._changes(wanted)
        for event, (id, change) in zip(wanted, changes, strict=True):
            for subscriber in self._subscribers.get((event.organization_id, event.conversation_id), ()):
                subscriber.push(id, change)
        if events and self._place is not None:
            self._place = events[-1].id
        return len(events) == self._at_once

    async def _changes(self, events: Sequence[Event]) -> list[Numbered]:
        items = await self._table.items([event.attachment_id for event in events]) if events else {}
        return [
            (
                event.id,
                Tracked(
                    str(event.id),
                    Change(
                        type=event.kind,
                        id=event.attachment_id,
                        conversation_id=event.conversation_id,
                        at=event.created_at,
                        attachment=items.get(event.attachment_id),
                    ),
                ),
            )
            for event in events
        ]

    def close(self) -> None:
        """End all subscriptions with SERVICE_UNAVAILABLE, upon which clients connect again, and take no new ones."""
        self._closed = True
        self._rest()
        if self._task is not None:
            self._task.cancel()
        for subscribers in self._subscribers.values():
            for subscriber in subscribers:
                subscriber.ended = True
                subscriber.wake()


def _ready(conversation_id: str, end: int) -> Tracked[Change]:
    change = Change(type="ready", id=None, conversation_id=conversation_id, at=timestamp(), attachment=None)
    return Tracked(str(end), change)


def _ended() -> ServiceError:
    return ServiceError(Code.SERVICE_UNAVAILABLE, "the server is stopping, subscribe again")
