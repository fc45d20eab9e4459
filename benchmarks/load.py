"""Load: wrk on the load generator's core against one target at a time, in interleaved rounds.

A round gives each target one run, A B C A B C …, so that what else the machine does meets all of them alike; what is
reported is the median over the rounds, and the range of the ratio that single rounds gave.
"""

import statistics
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from benchmarks import machine
from benchmarks.servers import HOST, Server

_SCRIPT = machine.ROOT / "benchmarks" / "load.lua"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How long to measure: rounds of `seconds` each, after `warm_up_seconds` of load on every target."""

    rounds: int
    seconds: int
    warm_up_seconds: int  # Node's compiler needs about 6 s


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What wrk is let loose on: a server and the arguments of load.lua."""

    name: str
    server: Server
    script: tuple[str, ...]
    path: str = "/"
    cookie: str = ""
    after_run: Callable[[], None] | None = None


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One run of wrk."""

    requests_per_s: float
    p99_ms: float
    busy: float  # share of its core that the server used: well below 1, the load generator or another program was the limit


Load = Callable[[Target, int, int], Sample]  # a target, how many connections, how many seconds


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """A case against one server: the samples in the order of the rounds."""

    case: str
    server: str
    samples: list[Sample]

    @property
    def requests_per_s(self) -> float:
        """The median over the rounds."""
        return statistics.median(sample.requests_per_s for sample in self.samples)

    @property
    def p99_ms(self) -> float:
        """The median over the rounds of each round's 99th percentile."""
        return statistics.median(sample.p99_ms for sample in self.samples)

    @property
    def busy(self) -> float:
        """The median over the rounds."""
        return statistics.median(sample.busy for sample in self.samples)


class _Summary(msgspec.Struct, frozen=True):
    requests: int
    duration_us: int
    p99_us: float
    failed_sockets: int
    failed_statuses: int
    timeouts: int


def request(target: Target, connections: int, seconds: int) -> Sample:
    """Requests a second that wrk gets answered."""
    headers = ["-H", f"Cookie: {target.cookie}"] if target.cookie else []
    sizes = ["-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s"]
    url = f"http://{HOST}:{target.server.port}{target.path}"
    pair = machine.cores()
    before = target.server.processor_seconds()
    with machine.on_core(pair[1] if pair else None):
        command = [machine.wrk(), *sizes, *headers, "-s", str(_SCRIPT), url, "--", *target.script]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    used = target.server.processor_seconds() - before
    summary = msgspec.json.decode(done.stdout.strip().splitlines()[-1], type=_Summary)
    if summary.failed_sockets or summary.failed_statuses or summary.timeouts or not summary.requests:
        raise RuntimeError(f"{target.name}: requests failed under load: {summary}\n{target.server.state()}")
    return Sample(
        requests_per_s=summary.requests / summary.duration_us * 1e6,
        p99_ms=summary.p99_us / 1000,
        busy=used / (summary.duration_us / 1e6),
    )


def measure(case: str, targets: Sequence[Target], connections: int, plan: Plan, load: Load = request) -> list[Result]:
    """Warm every target up, then run the rounds; one result a target. Raises RuntimeError when a request fails."""

    def run(target: Target, seconds: int) -> Sample:
        sample = load(target, connections, seconds)
        if target.after_run:
            target.after_run()
        return sample

    print(f"{case}: warming up {', '.join(target.name for target in targets)}", flush=True)
    for target in targets:
        run(target, plan.warm_up_seconds)
    samples: dict[str, list[Sample]] = {target.name: [] for target in targets}
    for number in range(plan.rounds):
        for target in targets:
            samples[target.name].append(run(target, plan.seconds))
        rates = ", ".join(f"{name} {of[-1].requests_per_s:.0f}/s ({of[-1].busy:.0%})" for name, of in samples.items())
        print(f"{case}: round {number + 1} of {plan.rounds}: {rates}", flush=True)
    return [Result(case=case, server=name, samples=of) for name, of in samples.items()]


def write_paths(file: Path, paths: Sequence[str]) -> tuple[str, ...]:
    """The arguments of load.lua for getting these paths in turn."""
    file.write_text("".join(f"{path}\n" for path in paths))
    return ("get", str(file))
