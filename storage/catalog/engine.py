"""What an engine is to the tables: statements for two dialects, and transactions as scripts.

A transaction is a generator: it yields statements, is sent the rows of each, and returns its result. It awaits nothing and
knows no connection, so the same one runs in SQLite's writer thread and on a connection of PostgreSQL.
"""

import itertools
import re
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

from schemas import Code, ServiceError

Row = tuple[Any, ...]
Parameters = Sequence[Any]
T = TypeVar("T")

_INDEXED_BY = re.compile(r" INDEXED BY \w+", re.ASCII)
_AMONG = "IN (SELECT value FROM json_each(?))"
_AMONG_ON_POSTGRESQL = "= ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(? AS jsonb))))"


class Statement(NamedTuple):
    """The text of one statement in each dialect; "" where an engine has nothing to do, which gives no rows.

    The rest is for PostgreSQL, where others write at the same time and each statement is a round trip. One that is `alone` is
    all that its transaction does there. One that is `shared` is so too, and takes a list for each parameter: those who want it
    at the same time share it, and it gives each of them a row. One that is `last` gives no rows and can wait for the end of the
    transaction: it locks a row that many want, and those of higher numbers come later, so that all take such locks in one
    order.
    """

    sqlite: str
    postgresql: str
    alone: bool = False
    last: int = 0
    shared: bool = False


class Lookup(NamedTuple):
    """A statement that finds rows by a unique key, `= ?` on SQLite, `= ANY($1)` on PostgreSQL; and the key's place in a row."""

    statement: Statement
    place: int


Step = tuple[Statement, Parameters]
Script = Generator[Step, list[Row], T]


def sql(text: str, postgresql: str | None = None, *, alone: bool = False, last: int = 0, shared: bool = False) -> Statement:
    """The statement of a fixed text, with `?` for its parameters in both dialects.

    What PostgreSQL is given follows from SQLite's unless it must be another: `INDEXED BY` is left out, because its planner has
    no such wish, and a list of values, which goes as a JSON array in both, is read by its own function.
    """
    if postgresql is None:
        postgresql = _INDEXED_BY.sub("", text).replace(_AMONG, _AMONG_ON_POSTGRESQL)
    numbers = itertools.count(1)
    return Statement(text, re.sub(r"\?", lambda _: f"${next(numbers)}", postgresql), alone, last, shared)


def lookup(columns: str, table: str, key: str, condition: str = "") -> Lookup:
    """The look-up of rows of a table by a unique key, which is one of the columns."""
    head = f"SELECT {columns} FROM {table} WHERE {key} = "  # noqa: S608 (constants)
    return Lookup(Statement(f"{head}?{condition}", f"{head}ANY($1){condition}"), columns.split(", ").index(key))


class Database(Protocol):
    """An open database. Everything raises ServiceError SERVICE_UNAVAILABLE when it fails."""

    async def rows(self, statement: Statement, parameters: Parameters) -> list[Row]:
        """All rows of a statement that is known to give few, found by an index."""
        ...

    async def row(self, lookup: Lookup, key: str | bytes) -> Row | None:
        """The row of that key, or None. On PostgreSQL those who ask at the same time share a round trip."""
        ...

    async def rows_of_any_length(self, statement: Statement, parameters: Parameters) -> list[Row]:
        """All rows of a statement that is served by an index."""
        ...

    async def rows_apart(self, statement: Statement, parameters: Parameters, within_s: float | None = None) -> list[Row]:
        """All rows of a statement of unknown cost. Raises TIMEOUT when it takes longer than `within_s` seconds."""
        ...

    async def write(self, script: Callable[[], Script[T]]) -> T:
        """What the script returns, once its effects are durable; what it raises, after undoing them.

        The script may be begun anew, when others were in its way: it must have no effect but its statements. A caller that is
        cancelled does not undo the write.
        """
        ...

    def on_commit(self, listener: Callable[[], None] | None) -> None:
        """Call `listener` on the event loop after writes of this process and upon news of others', or nothing any more."""

    async def aclose(self) -> None:
        """Finish the writes under way and close."""


@runtime_checkable
class TellsFailures(Protocol):
    """An engine too quick to be watched call by call: it tells of its failures itself."""

    def on_failure(self, listener: Callable[[BaseException], None] | None) -> None:
        """Call `listener` on the event loop with what the driver raised, each time that the database fails."""


def unavailable() -> ServiceError:
    """What a client is told when the database cannot answer now: 503, which clients retry; the cause goes to the log."""
    return ServiceError(Code.SERVICE_UNAVAILABLE, "the database is not available now, try again")


def one_step(statement: Statement, parameters: Parameters) -> Callable[[], Script[list[Row]]]:
    """The script of one statement; gives its rows."""

    def script() -> Script[list[Row]]:
        return (yield statement, parameters)

    return script


def in_turn(scripts: Iterable[Script[T]]) -> Script[list[T]]:
    """What the scripts return, one after the other in one transaction."""
    results = []
    for script in scripts:
        results += [(yield from script)]
    return results


def done(statement: Statement, parameters: Parameters) -> Script[bool]:
    """Whether a statement with RETURNING changed anything."""
    return bool((yield statement, parameters))
