"""Pages: every item once in every order, forward and backward, at a cost that does not grow with the table."""

import asyncio
import contextlib
import itertools
import random
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas import Code, Order, Page, PageInput, PageItem, ServiceError, Sort
from storage import Store, fresh_id, timestamp
from storage.catalog import PageQuery, Sqlite, attachments, events
from storage.catalog.engine import sql
from storage.catalog.names import search_name
from storage.catalog.pages import is_served_by_index, statement_of
from tests.engines.backing import DATABASE_FILE, Backing, backing_of, fresh_backing
from tests.storage.conftest import PNG, caller, keep

ORGANIZATION, CONVERSATION, OTHER = "org-1", "0190a000-0000-7000-8000-000000000001", "0190a000-0000-7000-8000-000000000002"
MINE, YOURS = "0190a000-0000-7000-8000-00000000000a", "0190a000-0000-7000-8000-00000000000b"
SORTS: tuple[Sort, ...] = get_args(Sort)
ORDERS: tuple[Order, ...] = get_args(Order)
INSERT = (
    "INSERT INTO attachments (id, organization_id, conversation_id, owner_id, filename, content_type, size, sha256,"
    " storage_path, created_at, deleted_at, search_name) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def insert(backing: Backing, items: list[PageItem], organization: str = ORGANIZATION, deleted_at: str | None = None) -> None:
    """Add rows as they are."""
    rows = [
        (
            *(item.id, organization, item.conversation_id, item.owner_id, item.filename, item.content_type, item.size),
            *(bytes(32), item.id, item.created_at, deleted_at, search_name(item.filename)),
        )
        for item in items
    ]
    backing.database.execute_many(INSERT, rows)


ITEMS = st.builds(
    PageItem,
    id=st.uuids().map(str),
    conversation_id=st.sampled_from([None, CONVERSATION, OTHER]),
    owner_id=st.sampled_from([MINE, YOURS]),
    filename=st.sampled_from(["a.txt", "B.txt", "ä.png", "\U0010ffff.gif", "\U0010ffff\U0010ffff", "Straße.csv", "x" * 255]),
    content_type=st.sampled_from(["text/plain", "image/png", "image/gif"]),
    size=st.sampled_from([1, 2, 2**40]),
    created_at=st.sampled_from([timestamp(second) for second in (0, 1, 1.5)]),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    items=st.lists(ITEMS, max_size=40, unique_by=lambda item: item.id),
    limit=st.integers(1, 7),
    sort=st.sampled_from(SORTS),
    order=st.sampled_from(ORDERS),
    conversation=st.sampled_from([None, CONVERSATION]),
    content_type=st.sampled_from([None, "image/*", "IMAGE/png", "audio/*"]),
    owner=st.sampled_from([None, MINE]),
    filename=st.sampled_from([None, "A", "Ä", "\u0041\u0308", "STRASSE", ".", "zz"]),
)
def test_pages_give_every_item_once_in_order_there_and_back(
    tmp_path: Path,
    items: list[PageItem],
    limit: int,
    sort: Sort,
    order: Order,
    conversation: str | None,
    content_type: str | None,
    owner: str | None,
    filename: str | None,
) -> None:
    asked = PageInput(
        conversation_id=conversation,
        limit=limit,
        sort=sort,
        order=order,
        content_type=content_type,
        owner_id=owner,
        filename=filename,
    )
    with fresh_backing(tmp_path) as backing:
        insert(backing, items)
        insert(backing, [msgspec.structs.replace(item, id=fresh_id()) for item in items[:5]], organization="org-2")
        insert(backing, [msgspec.structs.replace(item, id=fresh_id()) for item in items[:5]], deleted_at=timestamp())
        asyncio.run(walk(backing, asked, [item for item in items if is_meant(item, asked)]))


def is_meant(item: PageItem, asked: PageInput) -> bool:
    part = {None: "", "\u0041\u0308": "ä", "STRASSE": "strasse"}.get(asked.filename, (asked.filename or "").lower())
    return (
        (asked.conversation_id is None or item.conversation_id == asked.conversation_id)
        and (asked.content_type is None or item.content_type.startswith(asked.content_type.lower().rstrip("*")))
        and (asked.owner_id is None or item.owner_id == asked.owner_id)
        and part in item.filename.casefold()
    )


async def walk(backing: Backing, asked: PageInput, meant: list[PageItem]) -> None:
    """Go through all pages to the end, and back to the beginning."""
    meant.sort(key=lambda item: (getattr(item, asked.sort), item.id), reverse=asked.order == "desc")
    pages = [meant[start : start + asked.limit] for start in range(0, len(meant), asked.limit)] or [[]]
    async with await backing.open_store() as store:
        assert [page.items for page in await all_pages(store, asked, "forward")] == pages
        there = await all_pages(store, asked, "forward")
        cursor = there[-1].previous_cursor
        assert (cursor is None) == (len(pages) == 1)
        if cursor is not None:
            back = await all_pages(store, msgspec.structs.replace(asked, cursor=cursor), "backward")
            assert [page.items for page in reversed(back)] == pages[:-1]
            assert back[0].next_cursor is not None
        whole = await all_pages(store, asked, "backward")  # from the end, without a cursor
        assert list(itertools.chain.from_iterable(page.items for page in reversed(whole))) == meant
        assert whole[0].next_cursor is None


async def all_pages(store: Store, asked: PageInput, direction: Any) -> list[Page]:
    asked = msgspec.structs.replace(asked, direction=direction)
    pages = [await store.attachments.page(caller(ORGANIZATION), asked)]
    while cursor := (pages[-1].next_cursor if direction == "forward" else pages[-1].previous_cursor):
        assert len(pages) < 100
        pages.append(await store.attachments.page(caller(ORGANIZATION), msgspec.structs.replace(asked, cursor=cursor)))
    return pages


async def test_a_cursor_survives_what_it_names_and_new_items(store: Store) -> None:
    ids = [await keep(store.attachments, name=f"{name}.png") for name in "bdfh"]
    asked = PageInput(sort="filename", order="asc", limit=2)
    first = await store.attachments.page(caller(), asked)
    await store.attachments.delete(caller(), ids[1])
    await keep(store.attachments, name="a.png")
    await keep(store.attachments, name="e.png")
    second = await store.attachments.page(caller(), msgspec.structs.replace(asked, cursor=first.next_cursor))
    assert [item.filename for item in second.items] == ["e.png", "f.png"]


async def test_a_page_behind_the_last_item_leads_back(store: Store) -> None:
    ids = [await keep(store.attachments, name=f"{name}.png") for name in "ab"]
    asked = PageInput(sort="filename", order="asc", limit=1)
    first = await store.attachments.page(caller(), asked)
    await store.attachments.delete(caller(), ids[1])
    empty = await store.attachments.page(caller(), msgspec.structs.replace(asked, cursor=first.next_cursor))
    assert (empty.items, empty.next_cursor, empty.previous_cursor) == ([], None, first.next_cursor)


async def test_cursors_are_of_one_order_and_nothing_else(store: Store) -> None:
    for name in "abc":
        await keep(store.attachments, PNG + name.encode(), f"{name}.png")
    cursors = {
        (sort, order): (await store.attachments.page(caller(), PageInput(limit=1, sort=sort, order=order))).next_cursor
        for sort in SORTS
        for order in ORDERS
    }
    wrong = ["", "x", "AAAA", "=", "ä", "\ud800", "W10", "WyJuIiwiYSIsMSwiYSJd", "WyJzIiwiYSIsLTEsImEiXQ", "A" * 2000]
    for sort, order in cursors:
        others = [cursor for made_for, cursor in cursors.items() if made_for != (sort, order)]
        for cursor in (*others, *wrong):
            with pytest.raises(ServiceError, match="the cursor is") as caught:
                await store.attachments.page(caller(), PageInput(sort=sort, order=order, cursor=cursor))
            assert caught.value.code is Code.BAD_REQUEST


async def test_what_stands_in_a_pattern_is_meant_as_it_is(store: Store) -> None:
    for name in ("a%b.png", "a_b.png", "aXb.png", "a*b.png", "[a].png"):
        await keep(store.attachments, name=name)
    for part in ("a%b", "a_b", "a*b", "[a]"):
        page = await store.attachments.page(caller(), PageInput(filename=part))
        assert [item.filename for item in page.items] == [f"{part}.png"]


QUERIES = [
    PageQuery(ORGANIZATION, conversation, sort, order, after, 51, *filters)
    for conversation in (None, CONVERSATION)
    for sort in SORTS
    for order in ORDERS
    for after in (None, (5 if sort == "size" else "m", "m"))
    for filters in ((None, None, None), ("image/*", MINE, "a"))
]


on_sqlite = pytest.mark.only_on("sqlite", "local", reason="plans and steps of SQLite, and what its engine does with long reads")


@pytest.fixture(scope="module")
def planner(migrated: Path) -> Iterator[sqlite3.Connection]:
    """An empty database with the newest schema, to ask for plans."""
    with contextlib.closing(sqlite3.connect(migrated)) as connection:
        yield connection


@on_sqlite
@pytest.mark.parametrize("query", QUERIES, ids=lambda query: "-".join(map(str, query[1:])))
def test_no_page_reads_the_whole_table(planner: sqlite3.Connection, query: PageQuery) -> None:
    statement, parameters = statement_of(query)
    plan = [row[3] for row in planner.execute(f"EXPLAIN QUERY PLAN {statement.sqlite}", parameters)]
    # In the order of time the rows are beside each other in the table too; a search looks at more than an item has.
    covered = (query.conversation_id is not None or query.sort != "created_at") and not query.is_filtered
    using = "COVERING INDEX" if covered else "INDEX"
    assert len([step for step in plan if step.startswith(f"SEARCH attachments USING {using} ")]) == 1, plan
    assert not [step for step in plan if step.startswith("SCAN")], plan
    sorts = [step for step in plan if "TEMP B-TREE" in step]
    assert bool(sorts) == (query.conversation_id is not None and query.sort != "created_at"), plan
    if is_served_by_index(query) and query.after is not None:
        assert f"({query.sort},id)" in plan[0], plan  # begins at the cursor


@on_sqlite
def test_the_other_reads_are_served_by_their_indexes(planner: sqlite3.Connection) -> None:
    conversation = ("o", "c")
    plans = [
        (attachments._LIST, conversation, "attachments_of_conversation (organization_id=? AND conversation_id=?)"),  # noqa: SLF001
        (
            events.OF_CONVERSATION,
            (*conversation, 7, 9),
            "events_of_conversation (organization_id=? AND conversation_id=? AND rowid>?)",
        ),
    ]
    for statement, parameters, expected in plans:
        ((*_, detail),) = planner.execute(f"EXPLAIN QUERY PLAN {statement.sqlite}", parameters).fetchall()
        assert detail.endswith(expected)


@on_sqlite
def test_the_millionth_page_costs_what_the_first_does(tmp_path: Path) -> None:
    """Steps of SQLite's machine, which do not depend on how busy this one is: with 100 rows and with 30,000."""
    steps = {}
    for count in (100, 30_000):
        backing = backing_of(tmp_path / f"{count}")
        chance = random.Random(1)
        insert(
            backing,
            [
                PageItem(
                    id=fresh_id(),
                    conversation_id=CONVERSATION,
                    filename=f"{chance.random()}.txt",
                    content_type="text/plain",
                    size=chance.randrange(10**9),
                    created_at=timestamp(number),
                    owner_id=MINE,
                )
                for number in range(count)
            ],
        )
        with contextlib.closing(sqlite3.connect(backing.folder / DATABASE_FILE)) as connection:
            for query in QUERIES:
                if is_served_by_index(query):
                    middle = connection.execute(
                        f"SELECT {query.sort}, id FROM attachments ORDER BY {query.sort} LIMIT 1 OFFSET {count // 2}"  # noqa: S608
                    ).fetchone()
                    steps[count, query] = machine_steps(connection, query._replace(after=middle, limit=20))
    for (count, query), taken in steps.items():
        assert taken == steps[100, query] < 1000, (count, query)


def machine_steps(connection: sqlite3.Connection, query: PageQuery) -> int:
    taken = 0

    def count() -> None:
        nonlocal taken
        taken += 1

    connection.set_progress_handler(count, 1)
    statement, parameters = statement_of(query)
    assert len(connection.execute(statement.sqlite, parameters).fetchall()) == 20
    connection.set_progress_handler(None, 0)
    return taken


ENDLESS = sql("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n")


@on_sqlite
async def test_a_search_that_takes_too_long_is_given_up(tmp_path: Path, migrated: Path) -> None:
    path = tmp_path / "b.db"
    path.write_bytes(migrated.read_bytes())
    database = Sqlite(path, 5)
    searches = [asyncio.ensure_future(database.rows_apart(ENDLESS, (), 0.2)) for _ in range(200)]
    started = time.monotonic()
    outcomes = await asyncio.gather(*searches, return_exceptions=True)
    # Those that waited for a thread have waited enough: by two threads, one after the other, they would take 20 s.
    assert time.monotonic() - started < 10
    assert [outcome.code for outcome in outcomes if isinstance(outcome, ServiceError)] == [Code.TIMEOUT] * 200
    assert await database.rows_apart(sql("SELECT 1"), (), 60.0) == [(1,)]
    assert await database.rows_apart(sql("SELECT 2"), ()) == [(2,)]
    for within_s in (None, 60.0):
        with pytest.raises(ServiceError) as caught:
            await database.rows_apart(sql("SELECT nothing"), (), within_s)
        assert caught.value.code is Code.SERVICE_UNAVAILABLE
    await database.aclose()


@on_sqlite
async def test_a_search_does_not_hold_up_the_event_loop(tmp_path: Path, migrated: Path) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(migrated.read_bytes())
    database = Sqlite(path, 5)
    search = asyncio.ensure_future(database.rows_apart(ENDLESS, (), 60.0))
    for _ in range(50):
        await asyncio.sleep(0.001)
    assert not search.done(), "it was waited for"
    while not search.done():  # it may not have begun yet, and then there is nothing to interrupt
        for connection in database._readers._connections:  # noqa: SLF001 (nobody else ends it early)
            connection.interrupt()
        await asyncio.sleep(0.001)
    with pytest.raises(ServiceError):
        await search
    await database.aclose()
