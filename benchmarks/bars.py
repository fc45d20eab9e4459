"""What the figures are held to. Ratios of medians, side by side in one run: absolute numbers are the machine's."""

from collections.abc import Sequence

import msgspec

from benchmarks.load import Result
from benchmarks.memory import Memory
from benchmarks.rows import DATABASES, FEW, LOADS, Cost


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """attachd's requests per second in `case` over `peer`'s: at least `ratio`. An aim is reported and fails nothing."""

    case: str
    peer: str
    ratio: float
    aim: bool = False


MANY_ROWS = 1.5  # a request on 1,000,000 attachments over one on 10,000
# "Ahead of" is a ratio above 1. On the disk the fsyncs decide, so those uploads are published without a bar.
BARS = (
    Bar(case="get", peer="Node", ratio=4.0),
    Bar(case="list", peer="Node", ratio=3.0),
    Bar(case="batch", peer="Node", ratio=4.0),
    Bar(case="get", peer="Bun", ratio=1.0),
    Bar(case="list", peer="Bun", ratio=1.0),
    Bar(case="batch", peer="Bun", ratio=1.0),
    Bar(case="get", peer="limit", ratio=0.45),
    Bar(case="jsonl", peer="Node", ratio=2.0),
    Bar(case="events", peer="Node", ratio=2.0),
    Bar(case="websocket", peer="Node", ratio=1.0),
    Bar(case="upload 64 KiB", peer="Fastify", ratio=1.5),
    Bar(case="upload 25 MiB", peer="Fastify", ratio=1.3),
    Bar(case="upload 64 KiB", peer="Starlette", ratio=1.0),
    Bar(case="upload 25 MiB", peer="Starlette", ratio=1.0),
    Bar(case="download 64 KiB", peer="FileResponse", ratio=3.0),
    Bar(case="download 25 MiB", peer="FileResponse", ratio=2.5),
    Bar(case="download 64 KiB", peer="@fastify/static", ratio=2.5),
    Bar(case="download 25 MiB", peer="@fastify/static", ratio=2.5),
    Bar(case="download 64 KiB", peer="nginx", ratio=0.25, aim=True),
    Bar(case="download 25 MiB", peer="nginx", ratio=0.7, aim=True),
    Bar(case="PostgreSQL get", peer="Node + pg", ratio=2.0),
    Bar(case="PostgreSQL list", peer="Node + pg", ratio=2.0),
    Bar(case="PostgreSQL batch", peer="Node + pg", ratio=2.0, aim=True),
    *(Bar(case=f"rows {database} {name}", peer=FEW, ratio=1 / MANY_ROWS) for database in DATABASES for name in LOADS),
    *(Bar(case="S3 download 25 MiB", peer=peer, ratio=0.7) for peer in ("get_object", "download_fileobj")),
    *(Bar(case="S3 upload 25 MiB", peer=peer, ratio=0.7) for peer in ("put_object", "upload_fileobj")),
)
IDLE_MIB = {"memory": 64.0}  # of the embedded default; boto3 and asyncpg take 30 MiB more
GROWTH_MIB = 64.0


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """attachd beside one peer in one case: the ratio of medians, and the least and greatest ratio of single rounds."""

    ours: Result
    peer: Result
    ratio: float
    least: float
    greatest: float
    bar: Bar | None

    @property
    def missed(self) -> bool:
        """Whether a bar that is no aim is not reached."""
        return self.bar is not None and not self.bar.aim and not self.reached

    @property
    def reached(self) -> bool:
        """Whether the ratio is at least the bar's."""
        return self.bar is None or self.ratio >= self.bar.ratio


def compare(results: Sequence[Result]) -> list[Comparison]:
    """The comparison with every peer in every case."""
    ours = {result.case: result for result in results if result.server == "attachd"}
    return [_compare(ours[result.case], result) for result in results if result.server != "attachd"]


def _compare(ours: Result, peer: Result) -> Comparison:
    rounds = [a.requests_per_s / b.requests_per_s for a, b in zip(ours.samples, peer.samples, strict=True)]
    found = [bar for bar in BARS if (bar.case, bar.peer) == (peer.case, peer.server)]
    return Comparison(
        ours=ours,
        peer=peer,
        ratio=ours.requests_per_s / peer.requests_per_s,
        least=min(rounds),
        greatest=max(rounds),
        bar=found[0] if found else None,
    )


def memory_missed(memory: Memory, idle_mib: float | None) -> bool:
    """Whether the server is larger than the bars allow; `idle_mib` is None where none is set for idleness."""
    growth = max(memory.upload_peak, memory.download_peak) - memory.idle
    return growth >= GROWTH_MIB or (idle_mib is not None and memory.idle >= idle_mib)


def cost_missed(cost: Cost) -> bool:
    """Whether a request costs more on many rows than the bar allows."""
    return cost.ratio > MANY_ROWS
