"""What `attachments.page`, `list` and `get` cost in a table of 1,000,000 attachments, beside one of 10,000, on each database.

The larger has 100 times as many conversations, of 100 attachments each. Two servers with a database each are asked in turns,
one request at a time, from all over the table: every order of an organization and of a conversation, both directions, the first
page, one in the middle and the last. Beside whole requests the look-up of the catalog is timed alone, in this process, and its
plan is checked. At last both servers are put under load.
"""

import contextlib
import functools
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import uvloop

from benchmarks import attachd, bulk
from benchmarks.asking import CASES, Asker, Case, page_input, path_of
from benchmarks.attachd import Attachd, Setting
from benchmarks.calls import CONNECTIONS
from benchmarks.engines import postgresql
from benchmarks.load import Plan, Result, Target, measure, write_paths
from benchmarks.plans import Plans, explain_on_postgresql, explain_on_sqlite
from benchmarks.turns import Line, Times, in_turns
from schemas import Principal
from storage.catalog import AttachmentTable, Database, PageTable, open_database
from storage.pages import read_page

SIZES = (10_000, 1_000_000)
FEW = "with 10,000"  # attachd on few rows, as a peer of attachd on many
DATABASES = ("SQLite", "PostgreSQL")
LOADS = ("get", "list", "page")
_TURNS = 100
_UNDER_LOAD = 1000  # requests that are repeated
_PRINCIPAL = Principal(kind="session", user_id=bulk.ORGANIZATION, organization_id=bulk.ORGANIZATION, role="member")


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """A case on one database, with few rows and with many: the whole request, and the look-up in the catalog alone."""

    database: str
    case: Case
    few: Times
    many: Times
    few_alone: Times
    many_alone: Times

    @property
    def ratio(self) -> float:
        """The median with many rows over that with few."""
        return self.many.median_us / self.few.median_us

    @property
    def ratio_alone(self) -> float:
        """The same of the look-up alone."""
        return self.many_alone.median_us / self.few_alone.median_us


class RowsOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What was found on one database: the costs, and the loads as a comparison of both tables."""

    costs: list[Cost]
    loads: list[Result]


def measure_rows(database: str, scratch: Path, plan: Plan) -> RowsOutcome:
    """Fill two databases of that kind and measure. Raises RuntimeError when a plan is not as it must be."""
    with contextlib.ExitStack() as stack:
        if database == "SQLite":
            urls = [f"sqlite:///{scratch / f'{count}.db'}" for count in SIZES]
        else:
            server = stack.enter_context(postgresql())
            urls = [server.create_database(f"rows_{count}") for count in SIZES]
        servers = [
            stack.enter_context(_filled(url, count, scratch / f"{database}-{count}"))
            for url, count in zip(urls, SIZES, strict=True)
        ]
        askers = [
            stack.enter_context(contextlib.closing(Asker(Line(ours.port, ours.cookie), count)))
            for ours, count in zip(servers, SIZES, strict=True)
        ]
        costs = uvloop.run(_costs(database, urls, askers))
        return RowsOutcome(costs=costs, loads=list(_loads(database, servers, askers, scratch, plan)))


@contextlib.contextmanager
def _filled(url: str, count: int, folder: Path) -> Iterator[Attachd]:
    setting = Setting(database_url=url, organization_id=bulk.ORGANIZATION)
    print(f"rows: filling {folder.name} attachments", flush=True)
    attachd.migrate(folder, setting)
    bulk.fill(url, count)
    with attachd.running(folder, setting) as ours:
        yield ours


async def _costs(database: str, urls: Sequence[str], askers: Sequence[Asker]) -> list[Cost]:
    await _check_plans(urls[1], askers[1])
    opened = [await open_database(url, 5.0) for url in urls]
    try:
        return [await _cost(database, case, askers, opened) for case in CASES]
    finally:
        for each in opened:
            await each.aclose()


async def _cost(database: str, case: Case, askers: Sequence[Asker], opened: Sequence[Database]) -> Cost:
    inputs = [asker.inputs(case, _TURNS) for asker in askers]
    few, many = await in_turns([_request(case, *each) for each in zip(askers, inputs, strict=True)], _TURNS)
    alone = [_look_up(case, *each) for each in zip(opened, inputs, strict=True)]
    few_alone, many_alone = await in_turns(alone, _TURNS)
    cost = Cost(database=database, case=case, few=few, many=many, few_alone=few_alone, many_alone=many_alone)
    print(f"rows: {database}: {case.kind} {case.variant}: {cost.ratio:.2f}x, alone {cost.ratio_alone:.2f}x", flush=True)
    return cost


def _request(case: Case, asker: Asker, inputs: Sequence[dict[str, Any]]) -> Callable[[int], Awaitable[object]]:
    """Asks the server for one input after the other."""
    paths = [path_of(case.procedure, value) for value in inputs]

    async def ask(turn: int) -> object:
        return asker.line.get(paths[turn % len(paths)])

    return ask


def _look_up(case: Case, database: Database, inputs: Sequence[dict[str, Any]]) -> Callable[[int], Awaitable[object]]:
    """Asks the catalog for one input after the other."""
    attachments, pages = AttachmentTable(database), PageTable(database, 60.0)
    if case.procedure == "page":
        asked = [page_input(value) for value in inputs]
        return lambda turn: read_page(pages, _PRINCIPAL, asked[turn % len(asked)])
    if case.procedure == "get":
        return lambda turn: attachments.seen(inputs[turn % len(inputs)]["id"])
    return lambda turn: attachments.of_conversation(bulk.ORGANIZATION, inputs[turn % len(inputs)]["conversationId"])


async def _check_plans(url: str, asker: Asker) -> None:
    async with _plans(url) as plans:
        for case in CASES:
            await _look_up(case, plans, asker.inputs(case, 1))(0)
            plans.check(f"{case.kind} {case.variant}", may_sort=case.is_sorted)


@contextlib.asynccontextmanager
async def _plans(url: str) -> AsyncIterator[Plans]:
    if url.startswith("sqlite:"):
        yield Plans(functools.partial(explain_on_sqlite, url.removeprefix("sqlite:///")))
        return
    connection = await asyncpg.connect(url, timeout=30)
    try:
        yield Plans(functools.partial(explain_on_postgresql, connection))
    finally:
        await connection.close()


def _loads(database: str, servers: Sequence[Attachd], askers: Sequence[Asker], scratch: Path, plan: Plan) -> Iterator[Result]:
    """Both servers under load: `get`, `list`, and pages of the organization in all orders from all over the table."""
    middle = [case for case in CASES if case.of == "organization" and case.place == "middle"]
    for name, cases in zip(LOADS, (CASES[:1], CASES[1:2], middle), strict=True):
        targets = [
            Target(name=who, server=ours.server, script=_script(asker, cases, scratch / f"{name}-{who}"), cookie=ours.cookie)
            for who, ours, asker in zip((FEW, "attachd"), servers, askers, strict=True)
        ]
        yield from measure(f"rows {database} {name}", targets, CONNECTIONS, plan)


def _script(asker: Asker, cases: Sequence[Case], file: Path) -> tuple[str, ...]:
    paths = [path_of(case.procedure, value) for case in cases for value in asker.inputs(case, _UNDER_LOAD // len(cases))]
    random.Random(0).shuffle(paths)
    return write_paths(file, paths)
