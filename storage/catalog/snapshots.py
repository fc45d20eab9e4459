"""A copy of the SQLite database as it was at one instant, in a file that nothing else opens."""

import asyncio
import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from schemas import Code, ServiceError
from storage.catalog.engine import Parameters, Row, Statement, unavailable
from storage.catalog.sqlite import connect

_VERSION = "SELECT version_num FROM alembic_version"
_UNCOUNT = (
    "UPDATE organization_usage SET attachments = organization_usage.attachments - 1, bytes = bytes - gone.size"
    " FROM attachments AS gone WHERE gone.id = ? AND gone.deleted_at IS NULL"
    " AND organization_usage.organization_id = gone.organization_id"
)
_FORGET = "DELETE FROM attachments WHERE id = ?"


def take_snapshot(database: Path, target: Path, busy_timeout_s: float) -> None:
    """Copy the database, beside whoever writes to it, into a new file that is whole and durable. Blocks.

    Raises SERVICE_UNAVAILABLE when SQLite fails, OSError when the target exists or cannot be written.
    """
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with (
        _fails_as(f"cannot copy the database {database}"),
        contextlib.closing(connect(database, busy_timeout_s)) as live,
        contextlib.closing(sqlite3.connect(target)) as copy,
    ):
        live.backup(copy)  # in one step: one read transaction, and nobody who writes waits for it
        copy.execute("PRAGMA journal_mode=DELETE").fetchall()  # all in this one file
    with target.open("rb") as file:
        os.fsync(file.fileno())


def forget_rows(snapshot: Path, ids: Sequence[str]) -> None:
    """Take attachments out of a snapshot, and out of what their organizations keep. Blocks. Raises SERVICE_UNAVAILABLE."""
    with (
        _fails_as(f"cannot write to {snapshot}"),
        contextlib.closing(sqlite3.connect(snapshot, isolation_level=None)) as connection,
    ):
        connection.execute("PRAGMA synchronous=FULL").fetchall()
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(_UNCOUNT, [(id,) for id in ids])
        connection.executemany(_FORGET, [(id,) for id in ids])
        connection.execute("COMMIT")


@contextlib.contextmanager
def _fails_as(what: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise ServiceError(Code.SERVICE_UNAVAILABLE, f"{what}: {error}") from error


class Snapshot:
    """The file of a snapshot, as a database that is read: opened so that nothing is written beside it or into it.

    Close it with `aclose`. Raises SERVICE_UNAVAILABLE when the file cannot be opened or read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()  # statements run in any thread, one at a time
        with _fails_as(f"cannot open {path}"):
            self._connection = sqlite3.connect(
                f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True, isolation_level=None, check_same_thread=False
            )

    async def rows(self, statement: Statement, parameters: Parameters) -> list[Row]:
        """All rows of a statement."""
        return await asyncio.to_thread(self._read, statement.sqlite, parameters)

    async def rows_apart(self, statement: Statement, parameters: Parameters, _within_s: float | None = None) -> list[Row]:
        """All rows of a statement, however long it takes: nobody else waits."""
        return await self.rows(statement, parameters)

    def _read(self, text: str, parameters: Parameters) -> list[Row]:
        try:
            with self._lock:
                return self._connection.execute(text, parameters).fetchall()
        except sqlite3.Error as error:
            raise unavailable() from error

    async def revision(self) -> str:
        """The revision of its schema."""
        ((revision,),) = await asyncio.to_thread(self._read, _VERSION, ())
        return str(revision)

    async def check(self) -> str:
        """What SQLite finds wrong with the file; "" when it is whole."""
        found = await asyncio.to_thread(self._read, "PRAGMA integrity_check(1)", ())
        return "" if found == [("ok",)] else str(found[0][0])

    async def aclose(self) -> None:
        """Close it."""
        self._connection.close()
