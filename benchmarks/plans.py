"""How a database would run the statements of the catalog: each must be served by an index, and most must not sort."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Awaitable, Callable

import asyncpg

from storage.catalog.engine import Lookup, Parameters, Row, Script, Statement, T

Explain = Callable[[Statement, Parameters], Awaitable[str]]
_LOOKS_AT_ALL = ("SCAN ", "Seq Scan")  # in SQLite's plans and in PostgreSQL's
_SORTS = ("USE TEMP B-TREE", "Sort")
_MODES = ("force_generic_plan", "force_custom_plan")  # PostgreSQL chooses between the two by itself


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
        self.plan = await self._explain(lookup.statement, (key,))
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


async def explain_on_postgresql(connection: asyncpg.Connection, statement: Statement, parameters: Parameters) -> str:
    """The plans of a prepared statement: the one for any parameters, and the one for these."""
    lines: list[str] = []
    await connection.execute(f"PREPARE explained AS {statement.postgresql}")
    literals = [str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'" for value in parameters]
    if "ANY($1)" in statement.postgresql:  # a look-up, which is for many keys there
        literals[0] = f"ARRAY[{literals[0]}]"
    values = ", ".join(literals)
    for mode in _MODES:
        await connection.execute(f"SET plan_cache_mode = {mode}")
        lines += [row[0] for row in await connection.fetch(f"EXPLAIN EXECUTE explained ({values})")]
    await connection.execute("DEALLOCATE explained")
    return "\n".join(lines)
