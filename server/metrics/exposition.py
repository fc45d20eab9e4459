"""From the cells of all workers to the text that Prometheus reads: its own format, or OpenMetrics when it is asked for.

A series of which nothing happened is left out, unless its family shows zeros. The process metrics have the names that
Prometheus' libraries give them, and tell the workers apart, each by its number.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, choose_encoder, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from server.metrics import families as names
from server.metrics.cells import BUCKETS, Labels, Layout
from server.metrics.families import BOUNDS, Family
from server.metrics.shared import Cells, Snapshot
from storage import OutboxDepth

_LIMITS: Final = (*(f"{bound:g}" for bound in BOUNDS), "+Inf")


class Scrape:
    """What one request for the metrics is told; prometheus-client collects it."""

    def __init__(self, layout: Layout, cells: Cells, build: Mapping[str, str], outbox: Sequence[OutboxDepth] | None) -> None:
        self._layout = layout
        self._snapshots = cells.snapshots()
        self._build = build
        self._outbox = outbox
        gauges = frozenset(layout.gauges())
        living = [snapshot.values for snapshot in self._snapshots if snapshot.is_alive]
        self._sums: list[float] = [sum(cell) for cell in zip(*(snapshot.values for snapshot in self._snapshots), strict=True)]
        for gauge in gauges:
            self._sums[gauge] = sum(values[gauge] for values in living)

    def collect(self) -> Iterator[Metric]:
        """Every metric."""
        build = GaugeMetricFamily("attachd_build_info", "What runs here.", labels=list(self._build))
        build.add_metric(list(self._build.values()), 1)
        yield build
        for family in self._layout.families:
            yield self._render(family)
        yield self._requests()
        yield self._calls()
        if self._outbox is not None:
            yield from _outbox(self._outbox)
        yield from _processes(self._snapshots)

    def _value(self, name: str, labels: Labels) -> float:
        return self._sums[self._layout.start(name, labels)]

    def _render(self, family: Family) -> Metric:
        if family.kind == "histogram":
            return self._histogram(family)
        type_ = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
        metric = type_(family.name, family.doc, labels=family.labels)
        for labels in family.series:
            value = self._value(family.name, labels)
            if value or family.zeros:
                metric.add_metric(labels, value)
        return metric

    def _histogram(self, family: Family) -> HistogramMetricFamily:
        metric = HistogramMetricFamily(family.name, family.doc, labels=family.labels)
        for labels in family.series:
            start = self._layout.start(family.name, labels)
            if counts := self._counts(start):
                metric.add_metric(labels, list(zip(_LIMITS, _cumulated(counts), strict=True)), self._sums[start + BUCKETS])
        return metric

    def _counts(self, start: int) -> list[float]:
        """The buckets of a histogram, nothing if all are empty."""
        counts = self._sums[start : start + BUCKETS]
        return counts if any(counts) else []

    def _requests(self) -> Metric:
        """The counts of the histogram once more, under the name that one looks for."""
        labels = next(family.labels for family in self._layout.families if family.name == names.REQUESTS)
        metric = CounterMetricFamily("attachd_http_requests", "Requests that were answered.", labels=labels)
        for series in next(family.series for family in self._layout.families if family.name == names.REQUESTS):
            if counts := self._counts(self._layout.start(names.REQUESTS, series)):
                metric.add_metric(series, sum(counts))
        return metric

    def _calls(self) -> Metric:
        """Calls by their outcome, those that succeeded among them."""
        metric = CounterMetricFamily("attachd_calls", "Calls of procedures.", labels=["procedure", "code"])
        for family in self._layout.families:
            for series in family.series:
                if family.name == names.CALLS and (counts := self._counts(self._layout.start(family.name, series))):
                    metric.add_metric([*series, names.OK], sum(counts))
                elif family.name == names.CALL_FAILURES and (count := self._value(family.name, series)):
                    metric.add_metric(series, count)
        return metric


def _cumulated(counts: Iterable[float]) -> Iterator[float]:
    total = 0.0
    for count in counts:
        total += count
        yield total


def _outbox(states: Sequence[OutboxDepth]) -> Iterator[Metric]:
    depth = GaugeMetricFamily(
        "attachd_outbox_messages", "Messages that are not sent; at most 10,000 are counted.", labels=["state"]
    )
    age = GaugeMetricFamily("attachd_outbox_oldest_age_seconds", "Age of the oldest of them.", labels=["state"])
    now = time.time()
    for state in states:
        depth.add_metric([state.state], state.count)
        if state.count:
            age.add_metric([state.state], max(now - state.oldest_at, 0.0))
    yield depth
    yield age


def _processes(snapshots: Iterable[Snapshot]) -> Iterator[Metric]:
    """The metrics of each living worker's process, where the system tells them."""
    merged: dict[str, Metric] = {}
    for snapshot in snapshots:
        if snapshot.is_alive:
            for metric in ProcessCollector(pid=lambda pid=snapshot.pid: pid, registry=None).collect():  # type: ignore[misc]
                known = merged.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
                for sample in metric.samples:
                    known.add_sample(sample.name, {**sample.labels, "worker": str(snapshot.slot)}, sample.value)
    workers = GaugeMetricFamily("attachd_workers", "Processes that serve.")
    workers.add_metric([], sum(snapshot.is_alive for snapshot in snapshots))
    yield from (*merged.values(), workers)


def render(scrape: Scrape, accept: str) -> tuple[str, bytes]:
    """Media type and body of the answer to a request with that `Accept`."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(scrape)
    try:
        encode, media_type = choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is none
        encode, media_type = generate_latest, CONTENT_TYPE_PLAIN_0_0_4
    return media_type, encode(registry)
