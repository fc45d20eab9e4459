"""The tables, in Markdown that also reads well in a terminal, and their place in docs/performance.md."""

import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.bars import GROWTH_MIB, MANY_ROWS, Comparison, cost_missed
from benchmarks.load import Result
from benchmarks.memory import Memory
from benchmarks.rows import Cost

_HEAD = ("case", "server", "requests/s", "p99 ms", "busy", "attachd is", "rounds", "bar", "")
_COSTS_HEAD = ("database", "request", "10,000: ms", "1,000,000: ms", "ratio", "worst", "of", "alone", "bar", "")
_MEMORY_HEAD = ("attachd", "MiB", "bar", "")


def comparison_table(comparisons: Sequence[Comparison]) -> str:
    """A line for attachd in each case and one for each peer, with attachd's ratio to it."""
    rows: list[Sequence[str]] = []
    seen = ""
    for comparison in comparisons:
        if comparison.peer.case != seen:
            seen = comparison.peer.case
            rows.append((seen, "attachd", *_figures(comparison.ours), "", "", "", ""))
        spread = f"{comparison.least:.2f} to {comparison.greatest:.2f}"
        ratio = f"{comparison.ratio:.2f}x"
        rows.append((seen, comparison.peer.server, *_figures(comparison.peer), ratio, spread, *_verdict(comparison)))
    return _table(_HEAD, rows)


def memory_table(memory: Memory, idle_mib: float | None) -> str:
    """Idle, and how much the peaks lie above it."""
    verdict = ("", "") if idle_mib is None else (f"< {idle_mib:.0f}", _passed(reached=memory.idle < idle_mib))
    rows = [("idle", f"{memory.idle:.1f}", *verdict)]
    for name, peak in (("50 uploads", memory.upload_peak), ("50 downloads", memory.download_peak)):
        growth = peak - memory.idle
        passed = _passed(reached=growth < GROWTH_MIB)
        rows.append((f"{name} of 25 MiB at once, above idle", f"{growth:+.1f}", f"< {GROWTH_MIB:.0f}", passed))
    return _table(_MEMORY_HEAD, rows)


def costs_table(costs: Sequence[Cost]) -> str:
    """A line for each kind of request on each database: the medians over its variants, and the worst of them."""
    kinds = dict.fromkeys((cost.database, cost.case.kind) for cost in costs)
    return _table(
        _COSTS_HEAD, [_costs_row([cost for cost in costs if (cost.database, cost.case.kind) == kind]) for kind in kinds]
    )


def _costs_row(costs: Sequence[Cost]) -> Sequence[str]:
    few = statistics.median(cost.few_us for cost in costs)
    many = statistics.median(cost.many_us for cost in costs)
    ratio = statistics.median(cost.ratio for cost in costs)
    alone = statistics.median(cost.ratio_alone for cost in costs)
    worst = max(costs, key=lambda cost: cost.ratio)
    return (
        *(worst.database, worst.case.kind, f"{few / 1000:.3f}", f"{many / 1000:.3f}", f"{ratio:.2f}x"),
        *(
            f"{worst.ratio:.2f}x",
            worst.case.variant,
            f"{alone:.2f}x",
            f"≤ {MANY_ROWS:g}x",
            _passed(reached=not cost_missed(worst)),
        ),
    )


def facts_list(facts: Mapping[str, str]) -> str:
    """The machine and the way of measuring, a line each."""
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())


def publish(page: Path, blocks: Mapping[str, str]) -> None:
    """Replace what stands between `<!-- NAME -->` and `<!-- end NAME -->` in the page. Raises ValueError without the marks."""
    text = page.read_text()
    for name, block in blocks.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
        if not pattern.search(text):
            raise ValueError(f"{page.name} has no place for {name}")
        text = pattern.sub(lambda match, block=block: f"{match[1]}\n{block}\n\n{match[2]}", text)  # type: ignore[misc]
    page.write_text(text)


def _figures(result: Result) -> tuple[str, str, str]:
    rate = result.requests_per_s
    return (f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}"), f"{result.p99_ms:,.1f}", f"{result.busy:.0%}"


def _verdict(comparison: Comparison) -> tuple[str, str]:
    bar = comparison.bar
    if bar is None:
        return "", ""
    if bar.aim:
        return f"aim {bar.ratio:g}x", "reached" if comparison.reached else "not reached"
    wanted = "ahead" if bar.ratio == 1 else f"≥ {bar.ratio:.2g}x"
    return wanted, _passed(reached=comparison.reached)


def _passed(*, reached: bool) -> str:
    return "pass" if reached else "MISSED"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[column]) for line in (head, *rows)) for column in range(len(head))]
    rule = ["-" * width for width in widths]
    lines = [_line(line, widths) for line in (head, rule, *rows)]
    return "\n".join(lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"
