"""Many who write to one PostgreSQL at once: on several connections, in several processes."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import msgspec
import pytest

from schemas import Code, Record, ServiceError
from storage import Details, Options, Store, fresh_id, open_store, timestamp
from storage.catalog import AttachmentTable, EventTable, UpkeepTable, open_database
from storage.catalog.engine import Database
from tests.engines.backing import PATIENT
from tests.engines.keeping import ROOT
from tests.engines.postgresql import SharedPostgresql
from tests.storage.conftest import PNG, caller, keep
from tests.storage.locks import waiting

CONVERSATION = fresh_id()
WRITER = """
import asyncio, sys
from pathlib import Path
from storage import open_store
from tests.engines.backing import PATIENT
from tests.storage.conftest import caller, keep

async def main(url, folder, conversation, *organizations):
    # Whoever comes last waits for all others.
    async with await open_store(database_url=url, directory=Path(folder), database_options=PATIENT) as store:
        callers = [caller(organizations[number % len(organizations)]) for number in range(100)]
        ids = await asyncio.gather(*(keep(store.attachments, conversation=conversation, who=who) for who in callers))
        half = list(zip(ids, callers))[::2]
        await asyncio.gather(*(store.attachments.delete(who, id) for id, who in half))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
async def url(postgresql: SharedPostgresql) -> AsyncIterator[str]:
    url = postgresql.fresh_database()
    yield url
    postgresql.drop_database(url)


async def opened(url: str, folder: Path) -> Store:
    return await open_store(database_url=url, directory=folder, database_options=PATIENT, options=Options(poll_s=60))


async def test_events_are_in_the_order_of_the_commits_without_gaps(url: str, tmp_path: Path) -> None:
    """Three processes write in three organizations, in other orders; each event is heard once, and the counts are right."""
    store = await opened(url, tmp_path / "blobs")
    heard: list[str] = []

    async def hear() -> None:
        async for change in store.attachments.changes(caller(), CONVERSATION, "0"):
            heard.append(change.id)
            if len(heard) == 150:
                return

    hearing = asyncio.create_task(hear())
    command = [sys.executable, "-c", WRITER, url, str(tmp_path / "blobs"), CONVERSATION]
    orders = ("org-1", "org-2", "org-3"), ("org-2", "org-3", "org-1"), ("org-3", "org-1", "org-2")
    writers = [subprocess.Popen([*command, *order], cwd=ROOT) for order in orders]
    codes = await asyncio.gather(*(asyncio.to_thread(writer.wait, 300) for writer in writers))
    assert codes == [0, 0, 0]
    await asyncio.wait_for(hearing, 60)
    connection = await asyncpg.connect(url)
    events = await connection.fetch("SELECT id, organization_id FROM events ORDER BY id")
    counts = await connection.fetch("SELECT organization_id, attachments, bytes FROM organization_usage ORDER BY 1")
    deadlocks = await connection.fetchval("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    await connection.close()
    assert [event["id"] for event in events] == list(range(1, 451))
    assert heard == [str(event["id"]) for event in events if event["organization_id"] == "org-1"]
    size = len(PNG) + 1
    assert [tuple(count) for count in counts] == [(f"org-{n}", 50, 50 * size) for n in (1, 2, 3)]
    assert deadlocks == 0
    await store.aclose()


def fresh_record(filename: str = "a.png") -> Record:
    id = fresh_id()
    return Record(
        id=id,
        organization_id="org-1",
        conversation_id=CONVERSATION,
        ticket_id=None,
        owner_id="user-1",
        filename=filename,
        content_type="image/png",
        size=5,
        sha256=bytes(32),
        storage_path=f"attachments/org-1/{id}",
        created_at=timestamp(),
        deleted_at=None,
        scope=None,
        inline=False,
        file_key=None,
    )


async def test_inserts_that_share_a_statement_fail_apart(url: str) -> None:
    database = await open_database(url, PATIENT)
    table = AttachmentTable(database)
    records = [fresh_record() for _ in range(20)]
    await table.insert(records[0])
    outcomes = await asyncio.gather(
        *(table.insert(record) for record in [*records, fresh_record("a\0.png")]), return_exceptions=True
    )
    codes = [outcome.code if isinstance(outcome, ServiceError) else outcome for outcome in outcomes]
    assert codes == [Code.SERVICE_UNAVAILABLE, *[None] * 19, Code.BAD_REQUEST]
    assert (await table.usage("org-1")).count == 20
    assert [event.id for event in await EventTable(database).after(0, 100)] == list(range(1, 21))
    await database.aclose()


async def test_who_reads_an_event_has_read_all_before_it(url: str, tmp_path: Path) -> None:
    """A number that is seen is never followed by a lower one that is committed later."""
    store = await opened(url, tmp_path / "blobs")
    connection = await asyncpg.connect(url)
    writing = asyncio.gather(*(keep(store.attachments, conversation=CONVERSATION) for _ in range(150)))
    place, seen = 0, []
    while place < 150:
        assert not writing.done() or writing.exception() is None
        for (id,) in await connection.fetch("SELECT id FROM events WHERE id > $1 ORDER BY id LIMIT 7", place):
            seen.append(id)
            place = id
        await asyncio.sleep(0)
    await writing
    assert seen == list(range(1, 151))
    await connection.close()
    await store.aclose()


async def test_uploads_share_the_counters_whatever_the_isolation_of_the_database_is(url: str) -> None:
    connection = await asyncpg.connect(url)
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'")
    databases = [await open_database(url, PATIENT) for _ in range(8)]

    async def insert(database: Database) -> None:
        for _ in range(30):
            await AttachmentTable(database).insert(fresh_record())

    await asyncio.gather(*(insert(database) for database in databases for _ in range(2)))
    assert await connection.fetchval("SELECT last FROM event_counter") == 480
    await connection.close()
    for database in databases:
        await database.aclose()


async def loose(store: Store) -> str:
    """An attachment of no conversation."""
    async with store.attachments.upload(caller(), "a.png", store.attachments.policy) as upload:
        await upload.write(PNG)
        return (await upload.commit(Details())).id


async def test_changes_of_the_same_rows_in_opposite_orders_do_not_deadlock(url: str, tmp_path: Path) -> None:
    store, other = await opened(url, tmp_path / "blobs"), await opened(url, tmp_path / "blobs")
    for _ in range(10):
        ids = [await loose(store) for _ in range(10)]
        outcomes = await asyncio.wait_for(
            asyncio.gather(
                *(store.attachments.attach(caller(), ids, CONVERSATION) for _ in range(3)),
                *(other.attachments.attach(caller(), ids[::-1], CONVERSATION) for _ in range(3)),
                return_exceptions=True,
            ),
            60,
        )
        assert sum(not isinstance(outcome, BaseException) for outcome in outcomes) == 1
        assert {outcome.code for outcome in outcomes if isinstance(outcome, ServiceError)} == {Code.CONFLICT}
    await store.aclose()
    await other.aclose()
    connection = await asyncpg.connect(url)
    assert await connection.fetchval("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == 0
    await connection.close()


LOCK = {
    "row": "SELECT 1 FROM attachments WHERE id = $1 FOR UPDATE NOWAIT",
    "count": "SELECT 1 FROM organization_usage WHERE organization_id = $1 FOR UPDATE NOWAIT",
}


@pytest.mark.parametrize(("kind", "deleted"), [("row", True), ("row", False), ("count", False)])
async def test_a_purge_locks_in_the_order_of_all_others(url: str, kind: str, deleted: bool) -> None:
    """Who holds the first of what a purge wants can still have the second; by time, the purge would come to that first."""
    database = await open_database(url, PATIENT)
    first, second = sorted((fresh_record(), fresh_record()), key=lambda record: record.id)
    second = msgspec.structs.replace(second, organization_id="org-2")
    for record in (first, second):
        await AttachmentTable(database).insert(record, media=True)
    connection = await asyncpg.connect(url)
    if deleted:
        await connection.execute("UPDATE attachments SET deleted_at = '2026'")
    else:
        await connection.execute("UPDATE attachments SET conversation_id = NULL")
    async with connection.transaction():
        await connection.execute(LOCK[kind], first.id if kind == "row" else first.organization_id)
        table = UpkeepTable(database)
        purge = table.purge([second, first], "3000") if deleted else table.purge_unlinked([second, first], "3000", timestamp())
        purging = asyncio.create_task(purge)
        await waiting(connection, 1)
        await connection.execute(LOCK[kind], second.id if kind == "row" else second.organization_id)
    assert await purging == [second, first]
    events = await EventTable(database).after(2, 10)
    assert [event.attachment_id for event in events] == ([] if deleted else [second.id, first.id])
    await connection.close()
    await database.aclose()


async def test_each_message_of_the_outbox_is_claimed_once(url: str, tmp_path: Path) -> None:
    stores = [await opened(url, tmp_path / "blobs") for _ in range(4)]
    connection = await asyncpg.connect(url)
    rows = [(f"m{number:03}",) for number in range(100)]
    await connection.executemany("INSERT INTO messages VALUES ($1, 'o', 'c', 'a', $1, '', '', '[]', '2026')", rows)
    await connection.executemany(
        "INSERT INTO outbox VALUES ($1, 'queued', '[]', 0, 0, '2026', NULL, NULL, '', '2026', '2026')", rows
    )
    await connection.close()
    claimed = await asyncio.gather(
        *(
            store.outbox.claim(f"lease-{number}-{turn}", 60.0, 10, hold=True)
            for turn in range(5)
            for number, store in enumerate(stores)
        )
    )
    ids = [entry.id for entries in claimed for entry in entries]
    assert len(ids) == len(set(ids))
    rest = [entry.id for _ in range(10) for entry in await stores[0].outbox.claim("rest", 60.0, 10, hold=True)]
    assert sorted([*ids, *rest]) == [id for (id,) in rows]
    for store in stores:
        await store.aclose()


async def test_all_processes_sign_with_the_same_first_key(url: str, tmp_path: Path) -> None:
    stores = [await opened(url, tmp_path / "blobs") for _ in range(6)]
    rings = await asyncio.gather(*(store.signing.signing(60) for store in stores))
    assert len({ring.sign("subject", 0, download=False) for ring in rings}) == 1
    assert len(await stores[0].signing.describe()) == 1
    for store in stores:
        await store.aclose()
