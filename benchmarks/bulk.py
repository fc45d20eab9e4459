"""Many attachments at once, put into the database by its own fastest way: COPY on PostgreSQL, `executemany` on SQLite.

Row by row through the real route a million would take hours. Conversations take turns, so that the attachments of one are as
far apart in the table as can be; names and sizes are random.
"""

import asyncio
import contextlib
import datetime as dt
import random
import sqlite3
from collections.abc import Iterator
from typing import Any

import asyncpg

from schemas import PageItem

ORGANIZATION = "00000000-0000-4000-8000-000000000001"
OF_A_CONVERSATION = 100
_OWNER = "00000000-0000-4000-8000-000000000002"
_BEGIN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
_APART_MS = 10_000
_WORDS = ("screenshot", "invoice", "report", "log", "contract", "photo", "scan", "backup")
_COLUMNS = (
    *("id", "organization_id", "conversation_id", "owner_id", "filename", "content_type", "size"),
    *("sha256", "storage_path", "created_at"),
)
_INSERT = f"INSERT INTO attachments ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608 (constant)
_INDEXES = "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'attachments' AND sql IS NOT NULL"
# Those of constraints stay.
_INDEXES_ON_POSTGRESQL = (
    "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'attachments' AND schemaname = current_schema()"
    " AND indexname NOT IN (SELECT conname FROM pg_constraint)"
)
_TIMEOUT_S = 300.0


def conversation(number: int) -> str:
    """The id of a conversation."""
    return f"00000000-0000-4000-9000-{number:012x}"


def rows(count: int) -> Iterator[PageItem]:
    """That many attachments, the oldest first; the same in every run."""
    conversations = max(1, count // OF_A_CONVERSATION)
    source = random.Random(count)
    for number in range(count):
        at = _BEGIN + dt.timedelta(milliseconds=number * _APART_MS)
        digits = (
            f"{int(at.timestamp() * 1000):012x}{0x7000 | source.getrandbits(12):04x}{0b10 << 62 | source.getrandbits(62):016x}"
        )
        yield PageItem(
            id=f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}",
            conversation_id=conversation(number % conversations),
            owner_id=_OWNER,
            content_type="application/pdf",
            filename=f"{source.choice(_WORDS)} {source.getrandbits(40):010x}.pdf",
            size=source.randrange(1, 25 << 20),
            created_at=f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z",
        )


def fill(url: str, count: int) -> None:
    """Put `rows(count)` into the database, which has the newest schema and no attachments."""
    if url.startswith("sqlite:"):
        _fill_sqlite(url.removeprefix("sqlite:///"), count)
    else:
        asyncio.run(_fill_postgresql(url, count))


def _values(count: int) -> Iterator[tuple[Any, ...]]:
    source = random.Random(0)
    for row in rows(count):
        yield (
            *(row.id, ORGANIZATION, row.conversation_id, row.owner_id, row.filename, row.content_type, row.size),
            *(source.randbytes(32), f"attachments/{ORGANIZATION}/{row.id}", row.created_at),
        )


def _fill_sqlite(path: str, count: int) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA cache_size=-262144")
        connection.execute("BEGIN")
        indexes = connection.execute(_INDEXES).fetchall()  # made anew at the end, when the rows can be sorted for them
        for name, _ in indexes:
            connection.execute(f"DROP INDEX {name}")
        connection.executemany(_INSERT, _values(count))
        for _, statement in indexes:
            connection.execute(statement)
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


async def _fill_postgresql(url: str, count: int) -> None:
    connection = await asyncpg.connect(url, timeout=30)
    try:
        indexes = await connection.fetch(_INDEXES_ON_POSTGRESQL)
        for name, _ in indexes:
            await connection.execute(f"DROP INDEX {name}")
        await connection.copy_records_to_table("attachments", records=_values(count), columns=_COLUMNS, timeout=_TIMEOUT_S)
        for _, statement in indexes:
            await connection.execute(statement, timeout=_TIMEOUT_S)
        await connection.execute("VACUUM ANALYZE attachments", timeout=_TIMEOUT_S)  # as autovacuum would within minutes
    finally:
        await connection.close()
