"""`make bench`: attachd beside its peers on this machine; the exit status is 1 when a bar is missed.

One core for the server under load, one for the load generator, one worker, interleaved rounds, medians. Servers that are
not under load sleep. Nothing else should run meanwhile: the ratios of single rounds show how quiet the machine was.
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
from benchmarks.bars import Comparison, compare, memory_missed
from benchmarks.calls import CASES, measure_calls
from benchmarks.downloads import measure_downloads
from benchmarks.load import Plan, Result
from benchmarks.memory import Memory, measure_memory
from benchmarks.streams import STREAMS, measure_streams
from benchmarks.uploads import measure_uploads

PAGE = machine.ROOT / "docs" / "performance.md"
_FULL = Plan(rounds=5, seconds=3, warm_up_seconds=6)
_QUICK = Plan(rounds=2, seconds=2, warm_up_seconds=3)
_SUITES = (*CASES, *STREAMS, "upload", "disk", "download", "memory")


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """All that one run found."""

    facts: dict[str, str]
    results: list[Result]
    memory: Memory | None


def main() -> int:
    """Measure, print the tables, and say by the exit status whether all bars are reached."""
    options = _options()
    signal.signal(signal.SIGTERM, _leave)
    plan = _QUICK if options.quick else _FULL
    try:
        outcome = _measure(options.only or _SUITES, plan, options.folder)
    except machine.MissingToolError as error:
        print(error, file=sys.stderr)
        return 2
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(outcome)))
    comparisons = compare(outcome.results)
    blocks = _blocks(outcome, comparisons)
    print(*blocks.values(), sep="\n\n", flush=True)
    if options.publish:
        report.publish(PAGE, blocks)
    missed = sum(comparison.missed for comparison in comparisons)
    missed += outcome.memory is not None and memory_missed(outcome.memory)
    print(f"\n{missed} of the bars missed" if missed else "\nall bars reached")
    return 1 if missed else 0


def _leave(number: int, _frame: object) -> Never:
    """Unwind, so that the servers are stopped and the scratch folders removed."""
    sys.exit(128 + number)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure attachd beside its peers.")
    parser.add_argument("--quick", action="store_true", help="two short rounds: for a first look, not for publishing")
    parser.add_argument("--only", nargs="+", choices=_SUITES, metavar="NAME", help=f"of {', '.join(_SUITES)}")
    parser.add_argument("--publish", action="store_true", help="put the tables into docs/performance.md")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample to FILE")
    parser.add_argument(
        "--folder", type=Path, help="where `disk`, `download` and `memory` keep their files (default: the temporary folder)"
    )
    return parser.parse_args()


def _measure(suites: Sequence[str], plan: Plan, folder: Path | None) -> Outcome:
    machine.wrk()
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
        memory = measure_memory(Path(slow)) if "memory" in suites else None
    return Outcome(facts=facts, results=results, memory=memory)


def _results(suites: Sequence[str], plan: Plan, fast: Path, slow: Path) -> Iterator[Result]:
    if cases := [case for case in CASES if case in suites]:
        yield from measure_calls(cases, fast, plan)
    if streams := [case for case in STREAMS if case in suites]:
        yield from measure_streams(streams, fast, plan)
    if "upload" in suites:
        yield from measure_uploads("upload", fast, plan, fsync=False)
    if "disk" in suites:
        yield from measure_uploads("disk", slow, plan, fsync=True)
    if "download" in suites:
        yield from measure_downloads(slow, plan)


def _how(plan: Plan) -> dict[str, str]:
    rounds = f"{plan.rounds} rounds of {plan.seconds} s after {plan.warm_up_seconds} s of load on each server"
    return {"date": dt.datetime.now(dt.UTC).date().isoformat(), "rounds": f"{rounds}, interleaved; medians"}


def _blocks(outcome: Outcome, comparisons: Sequence[Comparison]) -> dict[str, str]:
    """The tables that this run has figures for, by their place in docs/performance.md."""
    blocks = {"machine": report.facts_list(outcome.facts)}
    tables = {"calls": CASES, "streams": STREAMS, "uploads": ("upload",), "disk": ("disk",), "downloads": ("download",)}
    for name, prefixes in tables.items():
        if of := [comparison for comparison in comparisons if comparison.peer.case.split()[0] in prefixes]:
            blocks[name] = report.comparison_table(of)
    if outcome.memory is not None:
        blocks["memory"] = report.memory_table(outcome.memory)
    return blocks


if __name__ == "__main__":
    sys.exit(main())
