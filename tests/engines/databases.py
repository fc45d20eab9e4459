"""Databases of tests, with the newest schema, and asking them beside the program."""

import contextlib
import functools
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from storage import migrate

Row: TypeAlias = tuple[Any, ...]
LOCKED_TIMEOUT_S = 20.0


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
        with contextlib.closing(sqlite3.connect(self.path, LOCKED_TIMEOUT_S)) as connection, connection:
            return connection.execute(sql, parameters).fetchall()

    def records(self, sql: str, *parameters: Any) -> list[dict[str, Any]]:
        """See `OwnDatabase`."""
        with contextlib.closing(sqlite3.connect(self.path, LOCKED_TIMEOUT_S)) as connection, connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(sql, parameters)]

    def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """See `OwnDatabase`."""
        with contextlib.closing(sqlite3.connect(self.path, LOCKED_TIMEOUT_S)) as connection, connection:
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
