"""How a database would run the statements of the catalog: each must be served by an index, and most must not sort."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Awaitable, Callable

from storage.catalog.engine import Lookup, Parameters, Row, Script, Statement, T
from storage.catalog.postgresql.connections import Connection

Explain = Callable[[Statement, Parameters], Awaitable[str]]
_LOOKS_AT_ALL = ("SCAN ", "Seq Scan")  # in SQLite's plans and in PostgreSQL's
_SORTS = ("USE TEMP B-TREE", "Sort")


class Plans:
    """A `Database` that keeps the plans of what is read from it; every statement gives no rows."""

    def __init__(self, explain: Explain) -> None:
        self._explain = explain
        self.plan = ""

    async def rows(self, statement: Statement, parameters: Parameters) -> list[Row]:
        """Take the plan down."""
        self.plan = await self._explain(statement, parameters)
        return []

    async def row(self, lookup: Lookup, key: str | bytes) -> Row | None:
        """Take the plan down."""
        self.plan = await self._explain(
            lookup.statement, (f"{{{key!s}}}",)
        )  # PostgreSQL's way to write an array; any key will do
        return None

    async def rows_of_any_length(self, statement: Statement, parameters: Parameters) -> list[Row]:
        """Take the plan down."""
        return await self.rows(statement, parameters)

    async def rows_apart(self, statement: Statement, parameters: Parameters, within_s: float | None = None) -> list[Row]:  # noqa: ARG002
        """Take the plan down."""
        return await self.rows(statement, parameters)

    async def write(self, script: Callable[[], Script[T]]) -> T:
        """Only reads are looked at."""
        raise RuntimeError(f"{script} writes")

    def on_commit(self, listener: Callable[[], None] | None) -> None:
        """Nothing is committed."""

    async def aclose(self) -> None:
        """Nothing to close."""

    def check(self, what: str, *, may_sort: bool) -> None:
        """Raises RuntimeError when the last plan looks at all rows, or sorts and must not."""
        for word in _LOOKS_AT_ALL if may_sort else _LOOKS_AT_ALL + _SORTS:
            if word in self.plan:
                raise RuntimeError(f"{what} is not served by an index:\n{self.plan}")


async def explain_on_sqlite(path: str, statement: Statement, parameters: Parameters) -> str:
    """The plan of a statement in the file."""

    def explain() -> str:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            rows = connection.execute(f"EXPLAIN QUERY PLAN {statement.sqlite}", parameters).fetchall()
        return "\n".join(row[3] for row in rows)

    return await asyncio.to_thread(explain)


async def explain_on_postgresql(connection: Connection, statement: Statement, parameters: Parameters) -> str:
    """The plan of a statement on a connection that is set as the program sets its own."""
    await connection.execute(f"PREPARE explained AS {statement.postgresql}")
    lines = await connection.fetch(f"EXPLAIN EXECUTE explained ({', '.join(map(_literal, parameters))})")
    await connection.execute("DEALLOCATE explained")
    return "\n".join(line[0] for line in lines)


def _literal(value: object) -> str:
    if isinstance(value, int):
        return str(value)
    escaped = str(value).replace("'", "''")
    return f"'{escaped}'"
