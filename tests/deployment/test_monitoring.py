"""docs/monitoring.md and the alert rules name what there is."""

import re

import yaml  # type: ignore[import-untyped]  # its stubs are one more package, for one call

from procedures import app_router
from server.metrics import PrivateCells, layout_of
from server.metrics.exposition import Scrape
from server.metrics.families import DATABASE_ERRORS, LIMITS, STORAGE_ERRORS
from server.settings import setting_keys
from storage import OutboxDepth
from tests.running import ROOT

TEXT = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
RULES = yaml.safe_load((ROOT / "deploy" / "alerts.yaml").read_text(encoding="utf-8"))["groups"][0]["rules"]


def exposed() -> dict[str, str]:
    """The names of all metrics, as Prometheus keeps them, and the kind of each."""
    layout = layout_of(["/a"], ["p"])
    scrape = Scrape(layout, PrivateCells(layout), {"version": "1"}, [OutboxDepth("queued", 1, 0.0)])
    return {f"{each.name}_total" if each.type == "counter" else each.name: each.type for each in scrape.collect()}


def documented() -> set[str]:
    """The names in the first column of the table of metrics."""
    table = TEXT.split("## Alerts", 1)[0]
    return {name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}


def test_every_metric_is_in_the_table() -> None:
    assert documented() == exposed().keys()


def test_every_alert_is_in_the_table_and_asks_for_what_there_is() -> None:
    alerts = re.findall(r"^\| `(Attachd\w+)` \|", TEXT, re.MULTILINE)
    assert alerts == [rule["alert"] for rule in RULES]
    kinds = exposed()
    for rule in RULES:
        named = set(re.findall(r"\b(?:attachd|process)_\w+", rule["expr"])) - {"process_start"}
        for name in named:
            base = re.sub(r"_(bucket|sum|count)$", "", name)
            assert kinds.get(base) == "histogram" if base != name else name in kinds, name
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["summary"]
        assert rule["expr"].count("(") == rule["expr"].count(")")


def test_kinds_in_rules_and_tables_are_those_there_are() -> None:
    for rule in RULES:
        for kind in re.findall(r'kind="(\w+)"', rule["expr"]):
            assert kind in DATABASE_ERRORS or kind in STORAGE_ERRORS


def test_slow_calls_are_those_whose_time_is_ours() -> None:
    (rule,) = [rule for rule in RULES if rule["alert"] == "AttachdSlowCalls"]
    (left_out,) = re.findall(r'procedure!~"(.*?)"', rule["expr"])
    paths = [procedure.path for procedure in app_router().freeze()]
    assert {path for path in paths if re.fullmatch(left_out, path)} == {"attachments.upload", "attachments.completeUpload"}


def test_limits_are_settings() -> None:
    assert set(LIMITS) <= {key.name for key in setting_keys()}
