"""A page of React 19 with @trpc/tanstack-react-query, in happy-dom: queries, pages, mutations and a subscription on screen."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.launched import Launched
from tests.conformance.node import node_command, npm_install
from tests.running import ROOT

SCENARIOS = (
    "query",
    "queryWithoutCredentials",
    "queryWithBadInput",
    "infiniteQuery",
    "mutationAndInvalidation",
    "mutationThatIsForbidden",
    "subscription",
    "subscriptionBesideOwnMutation",
    "subscriptionWithoutCredentials",
    "leavingThePageEndsTheSubscription",
)
STOP_TIMEOUT_S = 30.0


@pytest.fixture(scope="module")
def browser() -> Iterator["subprocess.Popen[str]"]:
    folder = npm_install(ROOT / "tests" / "conformance" / "react")
    process = subprocess.Popen([*node_command(), folder / "run.mjs"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    yield process
    process.communicate(timeout=STOP_TIMEOUT_S)


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("link", ["http", "ws"])
def test_page(browser: "subprocess.Popen[str]", launched: Launched, link: str, scenario: str) -> None:
    assert browser.stdin is not None
    assert browser.stdout is not None
    command = {"scenario": scenario, "link": link, "url": launched.base_url, "tokens": launched.names}
    browser.stdin.write(json.dumps(command) + "\n")
    browser.stdin.flush()
    answer: dict[str, Any] = json.loads(browser.stdout.readline())
    assert answer == {}, answer.get("error")
