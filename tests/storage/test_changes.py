"""Following changes: nothing is lost, nothing comes twice, whoever writes and however slowly somebody reads."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Self

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas import Change, Code, Record, ServiceError, Tracked
from storage import API_A, Store, fresh_id, timestamp
from storage.catalog import AttachmentTable, Database, EventTable
from storage.changes import AT_ONCE, QUEUED, Changes
from tests.engines.backing import Backing, fresh_backing
from tests.storage.conftest import caller, keep

CONVERSATION, OTHER = "0190a000-0000-7000-8000-000000000001", "0190a000-0000-7000-8000-000000000002"
OWNER, ADMIN = caller(), caller(user_id="user-3", role="admin")

Stream = AsyncGenerator[Tracked[Change], None]


@contextlib.asynccontextmanager
async def following(store: Store, last: str | None = None) -> AsyncIterator[Stream]:
    async with contextlib.aclosing(store.attachments.changes(OWNER, CONVERSATION, last)) as stream:
        yield stream


async def following_changes(stream: Stream, count: int) -> list[Tracked[Change]]:
    async with asyncio.timeout(60):
        return [await anext(stream) for _ in range(count)]


async def error_of(stream: Stream) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        await following_changes(stream, 1)
    return caught.value


async def nothing_comes(stream: Stream) -> bool:
    """Whether nothing comes within some polls; ends the stream."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.7):
            await anext(stream)
            return False
    return True


async def test_everything_that_happens_is_told_in_order(store: Store) -> None:
    attachments = store.attachments
    async with following(store) as stream:
        (ready,) = await following_changes(stream, 1)
        assert (ready.data.type, ready.data.id, ready.data.attachment) == ("ready", None, None)
        assert ready.data.conversation_id == CONVERSATION
        first = await keep(attachments, conversation=CONVERSATION)
        await attachments.rename(OWNER, first, "b.png")
        await attachments.delete(OWNER, first)
        await attachments.restore(ADMIN, first)
        async with attachments.upload(OWNER, "loose.txt", API_A) as upload:
            await upload.write(b"x")
            loose = (await upload.commit()).id
        await attachments.attach(OWNER, [loose], CONVERSATION.upper())
        changes = await following_changes(stream, 5)
    assert [(change.data.type, change.data.id) for change in changes] == [
        *(("created", first), ("renamed", first), ("deleted", first), ("restored", first)),
        ("attached", loose),
    ]
    ids = [int(change.id) for change in (ready, *changes)]
    assert ids == sorted(set(ids))
    assert {change.data.conversation_id for change in changes} == {CONVERSATION}
    attachment = changes[-1].data.attachment
    assert attachment is not None
    assert (attachment.id, attachment.conversation_id, attachment.filename) == (loose, CONVERSATION, "loose.txt")


async def test_the_attachment_is_as_it_is_now(store: Store) -> None:
    async with following(store) as stream:
        (ready,) = await following_changes(stream, 1)
    id = await keep(store.attachments, conversation=CONVERSATION)
    await store.attachments.rename(OWNER, id, "b.png")
    async with following(store, ready.id) as stream:
        created, renamed = await following_changes(stream, 2)
        assert created.data.attachment == renamed.data.attachment
        assert created.data.attachment is not None
        assert created.data.attachment.filename == "b.png"
    await store.attachments.delete(OWNER, id)
    async with following(store, ready.id) as stream:
        assert [change.data.attachment for change in await following_changes(stream, 3)] == [None, None, None]


async def test_only_the_own_organization_and_conversation_are_told_of(store: Store) -> None:
    async with following(store) as stream:
        await following_changes(stream, 1)
        await keep(store.attachments, conversation=OTHER)
        await keep(store.attachments, conversation=CONVERSATION, who=caller("org-2"))
        mine = await keep(store.attachments, conversation=CONVERSATION)
        (change,) = await following_changes(stream, 1)
        assert change.data.id == mine


async def test_a_failed_change_is_never_told(store: Store) -> None:
    attachments = store.attachments
    async with following(store) as stream:
        await following_changes(stream, 1)
        async with attachments.upload(OWNER, "a.txt", API_A) as upload:
            await upload.write(b"x")
            loose = (await upload.commit()).id
        for attempt in (
            attachments.attach(OWNER, [loose, fresh_id()], CONVERSATION),
            attachments.rename(OWNER, loose, "a.png"),
        ):
            with pytest.raises(ServiceError):
                await attempt
        assert await nothing_comes(stream)


async def test_an_event_is_one_object_for_all_subscribers(store: Store) -> None:
    async with following(store) as one, following(store) as two:
        await following_changes(one, 1)
        await following_changes(two, 1)
        await keep(store.attachments, conversation=CONVERSATION)
        ((mine,), (yours,)) = await following_changes(one, 1), await following_changes(two, 1)
        assert mine is yours


@pytest.mark.parametrize("last", ["", "x", "-1", "1.0", " 1", "1\n", "٣", "1" * 19, "null"])
async def test_a_last_event_id_that_is_no_number(store: Store, last: str) -> None:
    with pytest.raises(ServiceError) as caught:
        store.attachments.changes(caller(), CONVERSATION, last)
    assert caught.value.code is Code.BAD_REQUEST


async def test_a_last_event_id_that_the_log_does_not_reach(store: Store) -> None:
    await keep(store.attachments, conversation=CONVERSATION)
    async with following(store, "2") as stream:
        error = await error_of(stream)
    assert (error.code, "change 2 is unknown" in error.message) == (Code.PRECONDITION_FAILED, True)


@pytest.mark.parametrize("later", [0, 2], ids=["all-forgotten", "some-kept"])
async def test_a_last_event_id_that_the_log_forgot(store: Store, backing: Backing, later: int) -> None:
    for _ in range(3):
        await keep(store.attachments, conversation=CONVERSATION)
    await asyncio.sleep(0.01)
    database = await backing.open_database()
    now = timestamp()
    for _ in range(later):
        await keep(store.attachments, conversation=CONVERSATION)
    await EventTable(database).forget(now)
    await database.aclose()
    for last in ("0", "2"):
        async with following(store, last) as stream:
            assert (await error_of(stream)).code is Code.PRECONDITION_FAILED
    async with following(store, "3") as stream:  # nothing behind it was forgotten
        assert [change.id for change in await following_changes(stream, later)] == ["4", "5"][:later]
        newest = await keep(store.attachments, conversation=CONVERSATION)
        assert [change.data.id for change in await following_changes(stream, 1)] == [newest]


async def test_the_first_ready_of_a_forgotten_log_is_its_end(store: Store, backing: Backing) -> None:
    await keep(store.attachments, conversation=CONVERSATION)
    database = await backing.open_database()
    await EventTable(database).forget("9999")
    await database.aclose()
    async with following(store) as stream:
        assert [change.id for change in await following_changes(stream, 1)] == ["1"]
    async with following(store, "1") as stream:
        id = await keep(store.attachments, conversation=CONVERSATION)
        assert [(change.id, change.data.id) for change in await following_changes(stream, 1)] == [("2", id)]


async def test_a_subscriber_that_does_not_read_holds_a_bounded_queue_and_misses_nothing(store: Store, backing: Backing) -> None:
    count = 2 * QUEUED + 2 * AT_ONCE + 3
    async with following(store) as slow, following(store) as fast:
        await following_changes(slow, 1)
        await following_changes(fast, 1)
        (subscribers,) = store.attachments._changes._subscribers.values()  # noqa: SLF001 (memory cannot be seen from outside)
        ids: list[str] = []
        for _ in range(count):
            await asyncio.gather(insert(store, ids), following_changes(fast, 1))
        assert max(len(subscriber.queue) for subscriber in subscribers) <= QUEUED
        assert [change.data.id for change in await following_changes(slow, count)] == ids
        await insert(store, ids)
        assert [change.data.id for change in await following_changes(slow, 1)] == ids[-1:]


async def test_falling_behind_in_the_middle_of_what_was_taken_loses_nothing(backing: Backing) -> None:
    database = await backing.open_database()
    table = AttachmentTable(database)
    hub = Changes(EventTable(database), database.on_commit, 5, queued=2, at_once=2)
    async with contextlib.aclosing(hub.follow("org-1", CONVERSATION, None)) as stream:
        heard = [int(change.id) for change in await following_changes(stream, 1)]
        for count in (2, 4):  # two are taken at once, and while the second of them waits the queue runs over
            for _ in range(count):
                await table.insert(a_record(CONVERSATION))
                await asyncio.sleep(0)
            heard += [int(change.id) for change in await following_changes(stream, 1)]
        heard += [int(change.id) for change in await following_changes(stream, 4)]
    assert heard == list(range(7))
    await database.aclose()


async def test_a_burst_is_shared_by_all_who_keep_up(store: Store, backing: Backing) -> None:
    """However many events one commit has: nobody needs to read the log by itself."""
    streams = [store.attachments.changes(OWNER, CONVERSATION, None) for _ in range(3)]
    for stream in streams:
        await following_changes(stream, 1)
    readers = [asyncio.create_task(following_changes(stream, 3 * QUEUED)) for stream in streams]
    ids: list[str] = []
    await asyncio.gather(*(insert(store, ids) for _ in range(3 * QUEUED)))
    first, *others = [await reader for reader in readers]
    assert sorted(str(change.data.id) for change in first) == sorted(ids)
    assert [(change.data.id,) for change in first] == backing.query("SELECT attachment_id FROM events ORDER BY id")
    for heard in others:
        assert all(mine is theirs for mine, theirs in zip(first, heard, strict=True))
    for stream in streams:
        await stream.aclose()


async def insert(store: Store, ids: list[str]) -> None:
    record = a_record(CONVERSATION)
    ids.append(record.id)
    await store.attachments._table.insert(record)  # noqa: SLF001 (without the bytes: 400 files take longer than the test is worth)


def a_record(conversation: str) -> Record:
    id = fresh_id()
    return Record(
        id=id,
        organization_id="org-1",
        conversation_id=conversation,
        ticket_id=None,
        owner_id="user-1",
        filename="a.txt",
        content_type="text/plain",
        size=1,
        sha256=bytes(32),
        storage_path=f"attachments/org-1/{id}",
        created_at=timestamp(),
        deleted_at=None,
    )


async def test_commits_of_another_process_are_seen_and_polling_ends_with_the_last_subscriber(
    store: Store, backing: Backing
) -> None:
    async with await backing.open_store() as other, following(store) as stream:
        await following_changes(stream, 1)
        id = await keep(other.attachments, conversation=CONVERSATION)
        assert [change.data.id for change in await following_changes(stream, 1)] == [id]
        assert is_polling(store)
    assert not is_polling(store)


def is_polling(store: Store) -> bool:
    hub = store.attachments._changes  # noqa: SLF001 (what it does not do cannot be seen from outside)
    return hub._timer is not None or bool(hub._subscribers)  # noqa: SLF001


async def test_closing_the_store_ends_all_subscriptions(backing: Backing) -> None:
    store = await backing.open_store()
    stream = store.attachments.changes(caller(), CONVERSATION, None)
    await following_changes(stream, 1)
    waiting = asyncio.ensure_future(error_of(stream))
    await asyncio.sleep(0)
    await store.aclose()
    assert (await waiting).code is Code.SERVICE_UNAVAILABLE
    assert (await error_of(store.attachments.changes(caller(), CONVERSATION, None))).code is Code.SERVICE_UNAVAILABLE


async def test_a_thousand_subscribers_hear_of_one_event(store: Store) -> None:
    streams = [store.attachments.changes(caller(), CONVERSATION, None) for _ in range(1000)]
    await following_changes(streams[0], 1)
    tasks_before = len(asyncio.all_tasks())
    for stream in streams[1:]:
        await following_changes(stream, 1)
    assert len(asyncio.all_tasks()) < tasks_before + 100  # the engine has some that come and go; no subscriber has one
    id = await keep(store.attachments, conversation=CONVERSATION)
    heard = [(await following_changes(stream, 1))[0] for stream in streams]
    assert {change.data.id for change in heard} == {id}
    for stream in streams:
        await stream.aclose()


class Client:
    """Somebody who follows a conversation, reads only when allowed to, and connects again with the last id it has."""

    def __init__(self, hub: Changes, conversation: str) -> None:
        self.hub = hub
        self.conversation = conversation
        self.seen: list[str] = []
        self.last: int | None = None
        self.first = 0
        self.allowed = asyncio.Semaphore(0)

    async def run(self) -> None:
        async with contextlib.aclosing(self.hub.follow("org-1", self.conversation, self.last)) as stream:
            while True:
                await self.allowed.acquire()
                change = await anext(stream)
                if self.last is None:
                    self.first = int(change.id)
                else:
                    self.seen.append(change.id)
                self.last = int(change.id)

    def connect(self) -> Self:
        self.task = asyncio.create_task(self.run())
        return self

    async def leave(self) -> None:
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


CONVERSATIONS = (CONVERSATION, OTHER)
STEPS = st.one_of(
    st.tuples(st.just("commit"), st.integers(0, 1), st.integers(0, 1)),  # which process writes, to which conversation
    st.tuples(st.just("burst"), st.integers(0, 1), st.integers(2, 7)),
    st.tuples(st.just("subscribe"), st.integers(0, 1), st.just(0)),
    st.tuples(st.just("allow"), st.integers(0, 9), st.integers(1, 5)),
    st.tuples(st.just("reconnect"), st.integers(0, 9), st.just(0)),
    st.tuples(st.just("turns"), st.integers(1, 4), st.just(0)),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(steps=st.lists(STEPS, max_size=30))
def test_any_interleaving_tells_each_client_each_event_once(tmp_path: Path, steps: list[tuple[str, int, int]]) -> None:
    with fresh_backing(tmp_path) as backing:
        asyncio.run(play(backing, steps))


async def play(backing: Backing, steps: list[tuple[str, int, int]]) -> None:
    """Play the steps, then let everybody read to the end and compare with the log."""
    world = World([await backing.open_database() for _ in range(2)])
    try:
        for step, one, two in steps:
            await getattr(world, step)(one, two)
        log = await world.read_to_the_end()
    finally:
        await world.close()
    for client in world.clients:
        assert client.seen == expected(client, log)


class World:
    """Two processes' connections to one database, a hub with small limits on the first, and its clients."""

    def __init__(self, databases: list[Database]) -> None:
        self.databases = databases
        self.tables = [AttachmentTable(database) for database in self.databases]
        self.events = EventTable(self.databases[0])
        self.hub = Changes(self.events, self.databases[0].on_commit, 0.002, queued=3, at_once=2)
        self.clients = [Client(self.hub, conversation).connect() for conversation in CONVERSATIONS]
        self.writes: list[asyncio.Task[None]] = []

    async def commit(self, process: int, conversation: int) -> None:
        await self.tables[process].insert(a_record(CONVERSATIONS[conversation]))

    async def burst(self, conversation: int, count: int) -> None:
        self.writes += [asyncio.create_task(self.commit(number % 2, conversation)) for number in range(count)]

    async def subscribe(self, conversation: int, _: int) -> None:
        self.clients.append(Client(self.hub, CONVERSATIONS[conversation]).connect())

    async def allow(self, client: int, reads: int) -> None:
        for _ in range(reads):
            self.clients[client % len(self.clients)].allowed.release()

    async def reconnect(self, client: int, _: int) -> None:
        await self.clients[client % len(self.clients)].leave()
        self.clients[client % len(self.clients)].connect()

    async def turns(self, count: int, _: int) -> None:
        for _ in range(count):
            await asyncio.sleep(0)

    async def read_to_the_end(self) -> dict[str, list[int]]:
        """The numbers of each conversation's events, once every client has had the time to read them."""
        await asyncio.gather(*self.writes)
        for number in range(len(self.clients)):
            await self.allow(number, 500)
        log = {
            name: [event.id for event in await self.events.of_conversation("org-1", name, 0, 1000)] for name in CONVERSATIONS
        }
        deadline = time.monotonic() + 60
        while any(client.last is None or len(client.seen) < len(expected(client, log)) for client in self.clients):
            assert time.monotonic() < deadline, "a client was not told of every event"
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.006)  # what comes twice would come now
        return log

    async def close(self) -> None:
        for client in self.clients:
            await client.leave()
        for database in self.databases:
            await database.aclose()


def expected(client: Client, log: dict[str, list[int]]) -> list[str]:
    return [str(id) for id in log[client.conversation] if id > client.first]
