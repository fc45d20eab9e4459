"""`make bench`: attachd beside its peers on this machine; the exit status is 1 when a bar is missed.

One core for the server under load, one for the load generator and the databases, one worker, interleaved rounds, medians.
Servers that are not under load sleep. Nothing else should run meanwhile: the ratios of single rounds show how quiet it was.
"""

import argparse
import datetime as dt
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Never

import msgspec

from benchmarks import machine, report
from benchmarks.attachd import Setting
from benchmarks.bars import IDLE_MIB, compare, cost_missed, memory_missed
from benchmarks.calls import CASES, measure_calls
from benchmarks.cluster import CALLS, FILES, SECONDS, measure_cluster_calls, measure_cluster_files, measure_cluster_memory
from benchmarks.downloads import measure_downloads
from benchmarks.load import Plan, Result
from benchmarks.memory import Memory, measure_memory
from benchmarks.rows import Cost, measure_rows
from benchmarks.streams import STREAMS, measure_streams
from benchmarks.uploads import measure_uploads

PAGE = machine.ROOT / "docs" / "performance.md"
_FULL = Plan(rounds=3, seconds=3, warm_up_seconds=6)
_WARM_FILES_S = 3  # what moves files is warm earlier than what Node compiles
_QUICK = Plan(rounds=2, seconds=2, warm_up_seconds=3)
_CLUSTER = ("cluster-calls", "cluster-files", "cluster-memory")
_ROWS = {"rows-sqlite": "SQLite", "rows-postgresql": "PostgreSQL"}
_SUITES = (*CASES, *STREAMS, "upload", "disk", "download", "memory", *_CLUSTER, *_ROWS)
_WITHOUT_PEERS = {"memory", "cluster-memory", *_ROWS}
_GROUPS = {"cluster": _CLUSTER, "rows": tuple(_ROWS)}
# The tables of docs/performance.md that compare servers, and how the names of their cases begin.
_TABLES = {
    "calls": CASES,
    "streams": STREAMS,
    "uploads": ("upload",),
    "disk": ("disk",),
    "downloads": ("download",),
    "cluster-calls": (CALLS,),
    "cluster-files": (FILES,),
    "rows-load": ("rows",),
}


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """All that one run found."""

    facts: dict[str, str]
    results: list[Result]
    memory: dict[str, Memory]
    costs: list[Cost]


def main() -> int:
    """Measure, print the tables, and say by the exit status whether all bars are reached."""
    options = _options()
    signal.signal(signal.SIGTERM, _leave)
    plan = _QUICK if options.quick else _FULL
    if options.rounds:
        plan = msgspec.structs.replace(plan, rounds=options.rounds)
    suites = [suite for name in options.only or _SUITES for suite in _GROUPS.get(name, (name,))]
    try:
        outcome = _measure(suites, plan, options.folder)
    except machine.MissingToolError as error:
        print(error, file=sys.stderr)
        return 2
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(outcome)))
    blocks = _blocks(outcome)
    print(*blocks.values(), sep="\n\n", flush=True)
    if options.publish:
        report.publish(PAGE, blocks)
    missed = _missed(outcome)
    print(f"\n{missed} of the bars missed" if missed else "\nall bars reached")
    return 1 if missed else 0


def _leave(number: int, _frame: object) -> Never:
    """Unwind, so that the servers are stopped and the scratch folders removed."""
    sys.exit(128 + number)


def _options() -> argparse.Namespace:
    names = (*_SUITES, *_GROUPS)
    parser = argparse.ArgumentParser(description="Measure attachd beside its peers.")
    parser.add_argument("--quick", action="store_true", help="two short rounds: for a first look, not for publishing")
    parser.add_argument("--rounds", type=int, metavar="N", help="of each case (default: 3; five take half an hour)")
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=f"of {', '.join(names)}")
    parser.add_argument("--publish", action="store_true", help="put the tables into docs/performance.md")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample to FILE")
    parser.add_argument("--folder", type=Path, help="where files on a disk are kept (default: the temporary folder)")
    return parser.parse_args()


def _measure(suites: Sequence[str], plan: Plan, folder: Path | None) -> Outcome:
    machine.wrk()
    if not {*suites} <= _WITHOUT_PEERS:
        machine.install_peers()
    facts = machine.describe() | _how(plan)
    pair = machine.cores()
    if pair is None:
        print("this system cannot pin processes to cores, or has one only: the ratios will be less steady", flush=True)
    elif sys.platform == "linux":
        os.sched_setaffinity(0, {pair[1]})
    in_memory = machine.memory_file_system()
    if in_memory is None:
        print("no memory file system here: all uploads are measured on the disk", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="attachd-bench-", dir=in_memory) as fast,
        tempfile.TemporaryDirectory(prefix="attachd-bench-", dir=folder) as slow,
    ):
        results = list(_results(suites, plan, Path(fast), Path(slow)))
        memory = dict(_memory(suites, Path(fast), Path(slow)))
        costs: list[Cost] = []
        for database in (name for suite, name in _ROWS.items() if suite in suites):
            found = measure_rows(database, Path(slow), plan)
            costs += found.costs
            results += found.loads
    return Outcome(facts=facts, results=results, memory=memory, costs=costs)


def _results(suites: Sequence[str], plan: Plan, fast: Path, slow: Path) -> Iterator[Result]:
    if cases := [case for case in CASES if case in suites]:
        yield from measure_calls(cases, fast, plan)
    if streams := [case for case in STREAMS if case in suites]:
        yield from measure_streams(streams, fast, plan)
    of_files = msgspec.structs.replace(plan, warm_up_seconds=_WARM_FILES_S)
    if "upload" in suites:
        yield from measure_uploads("upload", fast, of_files, fsync=False)
    if "disk" in suites:
        yield from measure_uploads("disk", slow, of_files, fsync=True)
    if "download" in suites:
        yield from measure_downloads(slow, of_files)
    if "cluster-calls" in suites:
        yield from measure_cluster_calls(fast, plan)
    if "cluster-files" in suites:
        yield from measure_cluster_files(fast, plan)


def _memory(suites: Sequence[str], fast: Path, slow: Path) -> Iterator[tuple[str, Memory]]:
    """The figures by their place in docs/performance.md; none where the system does not keep them."""
    if "memory" in suites and (found := measure_memory(slow / "memory", Setting())) is not None:
        yield "memory", found
    if "cluster-memory" in suites and (found := measure_cluster_memory(fast)) is not None:
        yield "cluster-memory", found


def _how(plan: Plan) -> dict[str, str]:
    rounds = f"{plan.rounds} rounds of {plan.seconds} s after {plan.warm_up_seconds} s of load on each server"
    files = f"files after {_WARM_FILES_S} s, those in S3 {SECONDS} s a round"
    return {"date": dt.datetime.now(dt.UTC).date().isoformat(), "rounds": f"{rounds} ({files}), interleaved; medians"}


def _blocks(outcome: Outcome) -> dict[str, str]:
    """The tables that this run has figures for, by their place in docs/performance.md."""
    blocks = {"machine": report.facts_list(outcome.facts)}
    comparisons = compare(outcome.results)
    for name, prefixes in _TABLES.items():
        if of := [comparison for comparison in comparisons if comparison.peer.case.split()[0] in prefixes]:
            blocks[name] = report.comparison_table(of)
    blocks |= {name: report.memory_table(memory, IDLE_MIB.get(name)) for name, memory in outcome.memory.items()}
    if outcome.costs:
        blocks["rows"] = report.costs_table(outcome.costs)
    return blocks


def _missed(outcome: Outcome) -> int:
    """How many bars are missed."""
    missed = sum(comparison.missed for comparison in compare(outcome.results))
    missed += sum(memory_missed(memory, IDLE_MIB.get(name)) for name, memory in outcome.memory.items())
    return missed + sum(cost_missed(cost) for cost in outcome.costs)


if __name__ == "__main__":
    sys.exit(main())
