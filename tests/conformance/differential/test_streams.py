"""JSON lines and server-sent events of attachd as of @trpc/server 11.25.2, but for what `stream_differences` declares."""

import pytest

from tests.conformance.differential import corpus_jsonl, corpus_sse, corpus_websocket
from tests.conformance.differential.peers import Peers
from tests.conformance.differential.stream_differences import DIFFERENCES, declared_of_stream
from tests.conformance.differential.streams import ask, differences

CASES = {**corpus_jsonl.CASES, **corpus_sse.CASES}


@pytest.mark.parametrize("name", CASES)
def test_streams_as_trpc(peers: Peers, name: str) -> None:
    case = CASES[name]
    request = case.render(peers.names)
    reference, attachd = (ask(peers.ports[server], case.method, request) for server in ("@trpc/server", "attachd"))
    found, expected = differences(reference, attachd), declared_of_stream(name, reference)
    explanation = f"\n@trpc/server: {reference}\nattachd:      {attachd}"
    assert not found - expected, f"undeclared: {sorted(found - expected)}{explanation}"
    assert not expected - found, f"declared, but the same: {sorted(expected - found)}{explanation}"


def test_the_corpus_is_large() -> None:
    assert len(CASES) + len(corpus_websocket.CASES) >= 200


def test_every_declared_difference_is_of_a_case() -> None:
    names = {case for difference in DIFFERENCES for case in difference.cases}
    assert names <= CASES.keys() | corpus_websocket.CASES.keys()
