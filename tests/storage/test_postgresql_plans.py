"""What PostgreSQL's planner makes of the statements on tables that have grown: the plans that their indexes are there for."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from storage.catalog import PageQuery
from storage.catalog.engine import Parameters, Statement
from storage.catalog.events import OF_CONVERSATION
from storage.catalog.pages import statement_of
from storage.catalog.postgresql.connections import Connection, connect
from tests.engines.backing import PATIENT
from tests.engines.postgresql import SharedPostgresql
from tests.storage.test_pages import CONVERSATION, ORGANIZATION, QUERIES

# 5000 attachments of one organization in 50 conversations; names and sizes in no order.
FILL = f"""
    INSERT INTO attachments
        (id, organization_id, conversation_id, owner_id, filename, content_type, size, sha256, storage_path, created_at)
    SELECT n::text, '{ORGANIZATION}', CASE n % 50 WHEN 7 THEN '{CONVERSATION}' ELSE (n % 50)::text END, 'somebody',
        md5(n::text), 'image/png', n * 7919 % 5003, '', 'path ' || n, '2026-11-22T10:' || to_char(n, '00000')
    FROM generate_series(1, 5000) AS n
"""  # noqa: S608 (constants)


EVENTS = f"""
    INSERT INTO events (id, kind, attachment_id, organization_id, conversation_id, created_at)
    SELECT n, 'created', n::text, '{ORGANIZATION}', CASE n % 50 WHEN 7 THEN '{CONVERSATION}' ELSE (n % 50)::text END, '2026'
    FROM generate_series(1, 5000) AS n
"""  # noqa: S608 (constants)


@pytest.fixture(scope="module")
async def grown(postgresql: SharedPostgresql) -> AsyncIterator[Connection]:
    """A connection, set as the engine sets its own, to a database with rows and statistics of them."""
    url = postgresql.fresh_database()
    connection = await connect(url, PATIENT)
    await connection.execute(FILL)
    await connection.execute(EVENTS)
    await connection.execute("VACUUM ANALYZE attachments, events")
    yield connection
    await connection.close()
    postgresql.drop_database(url)


async def plan_of(statement: Statement, parameters: Parameters, connection: Connection) -> str:
    """As `Connection.fetch` has it executed: prepared, and with parameters that the planner does not see."""
    await connection.execute(f"PREPARE explained AS {statement.postgresql}")
    values = ", ".join(
        "NULL" if value is None else str(value) if isinstance(value, int) else f"'{value}'" for value in parameters
    )
    rows: list[asyncpg.Record] = await connection.fetch(f"EXPLAIN EXECUTE explained ({values})")
    await connection.execute("DEALLOCATE explained")
    return "\n".join(row[0] for row in rows)


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: "-".join(map(str, query[1:])))
async def test_a_page_is_read_by_the_index_for_it(grown: Connection, query: PageQuery) -> None:
    statement, parameters = statement_of(query)
    plan = await plan_of(statement, parameters, grown)
    indexes = {"created_at": "attachments_by_time", "filename": "attachments_by_name", "size": "attachments_by_size"}
    expected = indexes[query.sort] if query.conversation_id is None else "attachments_of_conversation"
    assert f" {expected} on attachments" in plan, plan
    assert "Seq Scan" not in plan, plan
    assert ("Index Only Scan" in plan) == (expected != "attachments_by_time" and not query.is_filtered), plan
    assert ("Sort" in plan) == (query.conversation_id is not None and query.sort != "created_at"), plan
    assert "$1" in plan, "planned for these parameters, and so again for the next"


async def test_who_subscribes_again_has_its_own_events_read(grown: Connection) -> None:
    """Those of its conversation behind the number that it has heard: not what happened in all others meanwhile."""
    plan = await plan_of(OF_CONVERSATION, (ORGANIZATION, CONVERSATION, 10, 500), grown)
    assert "Index Scan using events_of_conversation on events" in plan, plan
    assert "(id > $3)" in plan.partition("Index Cond")[2], plan
    assert "Filter" not in plan, plan
    assert "Sort" not in plan, plan
