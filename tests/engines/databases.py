"""Databases of tests, with the newest schema, and asking them beside the program."""

import asyncio
import contextlib
import functools
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar

import asyncpg

from storage import migrate

T = TypeVar("T")
Row: TypeAlias = tuple[Any, ...]
TIMEOUT_S = 60.0


class OwnDatabase(Protocol):
    """A database of a test's own."""

    url: str
    settings: dict[str, str]

    def query(self, sql: str, *parameters: Any) -> list[Row]:
        """The rows that a statement gives, in a transaction of its own; `?` stands for parameters."""
        ...

    def records(self, sql: str, *parameters: Any) -> list[dict[str, Any]]:
        """As `query`, each row by the names of its columns."""
        ...

    def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run the statement once for each row, all in one transaction."""
        ...

    def check(self) -> None:
        """Fails unless the engine finds its own structures whole."""

    def dump(self) -> Iterator[bytes]:
        """All that it holds, in pieces, as it is kept."""
        ...


class SqliteFile:
    """A file, by its path."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"
        self.settings = {"ATTACHD_DATABASE_URL": self.url}

    def query(self, sql: str, *parameters: Any) -> list[Row]:
        """See `OwnDatabase`."""
        with contextlib.closing(sqlite3.connect(self.path, timeout=TIMEOUT_S)) as connection, connection:
            return connection.execute(sql, parameters).fetchall()

    def records(self, sql: str, *parameters: Any) -> list[dict[str, Any]]:
        """See `OwnDatabase`."""
        with contextlib.closing(sqlite3.connect(self.path, timeout=TIMEOUT_S)) as connection, connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(sql, parameters)]

    def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """See `OwnDatabase`."""
        with contextlib.closing(sqlite3.connect(self.path, timeout=TIMEOUT_S)) as connection, connection:
            connection.executemany(sql, rows)

    def check(self) -> None:
        """See `OwnDatabase`."""
        assert self.query("PRAGMA integrity_check") == [("ok",)]

    def dump(self) -> Iterator[bytes]:
        """See `OwnDatabase`: the file and the write-ahead log beside it."""
        for path in self.path.parent.glob(f"{self.path.name}*"):
            yield path.read_bytes()


@functools.cache
def _migrated() -> bytes:
    """A database without rows: migrating takes longer than most tests."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "empty.db"
        migrate(f"sqlite:///{path}")
        return path.read_bytes()


def fresh_sqlite(path: Path) -> SqliteFile:
    """The database of that file, which is made unless it is there."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_migrated())
    return SqliteFile(path)


class PostgresqlDatabase:
    """A database of a server, by its URL."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.settings = {"ATTACHD_DATABASE_URL": url}

    def query(self, sql: str, *parameters: Any) -> list[Row]:
        """See `OwnDatabase`."""
        return [tuple(row) for row in self._ask(lambda connection: connection.fetch(_numbered(sql), *parameters))]

    def records(self, sql: str, *parameters: Any) -> list[dict[str, Any]]:
        """See `OwnDatabase`."""
        return [dict(row) for row in self._ask(lambda connection: connection.fetch(_numbered(sql), *parameters))]

    def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """See `OwnDatabase`."""
        self._ask(lambda connection: connection.executemany(_numbered(sql), list(rows)))

    def check(self) -> None:
        """See `OwnDatabase`; what PostgreSQL has for this needs an extension, so every row is read."""
        self.records("SELECT * FROM attachments ORDER BY id")

    def dump(self) -> Iterator[bytes]:
        """See `OwnDatabase`: each row as its text."""
        for (table,) in self.query("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
            for (row,) in self.query(f'SELECT each::text FROM "{table}" AS each'):  # noqa: S608 (a name of ours)
                yield row.encode()

    def _ask(self, ask: Callable[["asyncpg.Connection[asyncpg.Record]"], Awaitable[T]]) -> T:
        """What `ask` gives, on a connection of its own. In a thread: a test may have an event loop that runs."""

        async def connected() -> T:
            connection = await asyncpg.connect(self.url, timeout=TIMEOUT_S, command_timeout=TIMEOUT_S)
            try:
                return await ask(connection)
            finally:
                await connection.close()

        with ThreadPoolExecutor(1) as apart:
            return apart.submit(asyncio.run, connected()).result()


def _numbered(sql: str) -> str:
    """The statement with `$1`, `$2` … for its question marks."""
    first, *others = sql.split("?")
    return first + "".join(f"${number}{text}" for number, text in enumerate(others, 1))
