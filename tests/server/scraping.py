"""Reading the metrics of a server as Prometheus would."""

import time
from collections.abc import Callable

import httpx
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Metrics:
    """What one scrape gave: values by name and labels."""

    def __init__(self, text: str, *, is_openmetrics: bool = False) -> None:
        parse = openmetrics.text_string_to_metric_families if is_openmetrics else text_string_to_metric_families
        self.text = text
        self.series: Series = {
            (sample.name, frozenset(sample.labels.items())): sample.value for family in parse(text) for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float:
        """The sum of the series of that name which have those labels; 0 without any."""
        wanted = set(labels.items())
        return sum(value for (found, own), value in self.series.items() if found == name and wanted <= own)


def scrape(base_url: str, **headers: str) -> Metrics:
    """The metrics, on a connection of their own."""
    answer = httpx.get(f"{base_url}/metrics", headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text
    return Metrics(answer.text, is_openmetrics=answer.headers["content-type"].startswith("application/openmetrics-text"))


def scrape_until(base_url: str, holds: Callable[[Metrics], bool]) -> Metrics:
    """The first metrics for which something holds; the client may know the end of an answer before the server has noted it."""
    deadline = time.monotonic() + 30
    while not holds(found := scrape(base_url)):
        assert time.monotonic() < deadline, found.text
        time.sleep(0.02)
    return found
