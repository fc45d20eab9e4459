"""What `attachments.page`, `list` and `get` cost in a table of 1,000,000 attachments, beside one of 10,000, on each database.

The larger has 100 times as many conversations, of 100 attachments each. Two servers with a database each are asked in turns,
one request at a time, from all over the table: every order of an organization and of a conversation, both directions, the first
page, one in the middle and the last. Beside whole requests the look-up of the catalog is timed alone, in this process, and its
plan is checked. At last both servers are put under load.
"""

import contextlib
import functools
import random
import statistics
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from benchmarks import attachd, bulk
from benchmarks.asking import CASES, Asker, Case, page_input, path_of
from benchmarks.attachd import Attachd, Setting
from benchmarks.calls import CONNECTIONS
from benchmarks.engines import postgresql
from benchmarks.load import Plan, Result, Target, measure, write_paths
from benchmarks.plans import Plans, explain_on_postgresql, explain_on_sqlite
from benchmarks.turns import Line, in_turns
from schemas import Principal
from storage.catalog import AttachmentTable, Database, DatabaseOptions, PageTable, open_database
from storage.catalog.postgresql.connections import connect
from storage.pages import read_page

SIZES = (10_000, 1_000_000)
FEW = "with 10,000"  # attachd on few rows, as a peer of attachd on many
DATABASES = ("SQLite", "PostgreSQL")
LOADS = ("get", "list", "page")
_TURNS = 40
_UNDER_LOAD = 1000  # requests that are repeated
_PASSES = 5
_LOAD_S = 2  # of each round and of warming up: there is no peer to compile
_PRINCIPAL = Principal(kind="session", user_id=bulk.ORGANIZATION, organization_id=bulk.ORGANIZATION, role="member")


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """A case on one database, with few rows and with many: whole requests, and the look-up in the catalog alone.

    Each has the median of every pass, in microseconds.
    """

    database: str
    case: Case
    few: list[float]
    many: list[float]
    few_alone: list[float]
    many_alone: list[float]

    @property
    def few_us(self) -> float:
        """A whole request on few rows."""
        return statistics.median(self.few)

    @property
    def many_us(self) -> float:
        """A whole request on many rows."""
        return statistics.median(self.many)

    @property
    def ratio(self) -> float:
        """Many rows over few."""
        return self.many_us / self.few_us

    @property
    def ratio_alone(self) -> float:
        """The same of the look-up alone."""
        return statistics.median(self.many_alone) / statistics.median(self.few_alone)


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
        costs = uvloop.run(_costs(database, urls, askers, _PASSES))
        shorter = msgspec.structs.replace(plan, seconds=_LOAD_S, warm_up_seconds=_LOAD_S)
        return RowsOutcome(costs=costs, loads=list(_loads(database, servers, askers, scratch, shorter)))


@contextlib.contextmanager
def _filled(url: str, count: int, folder: Path) -> Iterator[Attachd]:
    setting = Setting(database_url=url, organization_id=bulk.ORGANIZATION)
    print(f"rows: filling {folder.name} attachments", flush=True)
    attachd.migrate(folder, setting)
    bulk.fill(url, count)
    with attachd.running(folder, setting) as ours:
        yield ours


async def _costs(database: str, urls: Sequence[str], askers: Sequence[Asker], passes: int) -> list[Cost]:
    await _check_plans(urls[1], askers[1])
    opened = [await open_database(url, DatabaseOptions()) for url in urls]
    taken: list[list[list[float]]] = [[] for _ in CASES]
    inputs = [[asker.inputs(case, (passes + 1) * _TURNS) for asker in askers] for case in CASES]
    try:
        for number in range(passes):
            print(f"rows: {database}: pass {number + 1} of {passes} over {len(CASES)} cases", flush=True)
            for case, of_case, times in zip(CASES, inputs, taken, strict=True):
                of_pass = [each[number * _TURNS :] for each in of_case]  # other rows in each pass: not yet in caches
                times.append(await _pass(case, of_pass, askers, opened))
    finally:
        for each in opened:
            await each.aclose()
    return [_cost(database, case, times) for case, times in zip(CASES, taken, strict=True)]


async def _pass(
    case: Case, inputs: Sequence[Sequence[dict[str, Any]]], askers: Sequence[Asker], opened: Sequence[Database]
) -> list[float]:
    whole = [_request(case, *each) for each in zip(askers, inputs, strict=True)]
    alone = [_look_up(case, *each) for each in zip(opened, inputs, strict=True)]
    return [*await in_turns(whole, _TURNS), *await in_turns(alone, _TURNS)]


def _cost(database: str, case: Case, times: Sequence[Sequence[float]]) -> Cost:
    few, many, few_alone, many_alone = (list(of) for of in zip(*times, strict=True))
    return Cost(database=database, case=case, few=few, many=many, few_alone=few_alone, many_alone=many_alone)


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
    connection = await connect(url, DatabaseOptions())
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
