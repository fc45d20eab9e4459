"""Conversations over a WebSocket with attachd as with @trpc/server 11.25.2, but for what `stream_differences` declares."""

import pytest

from tests.conformance.differential.corpus_websocket import CASES
from tests.conformance.differential.peers import Peers
from tests.conformance.differential.stream_differences import declared
from tests.conformance.differential.transcripts import converse, differences


@pytest.mark.parametrize("name", CASES)
def test_converses_as_trpc(peers: Peers, name: str) -> None:
    reference, attachd = (converse(peers.ports[server], CASES[name], peers.names) for server in ("@trpc/server", "attachd"))
    found, expected = differences(reference, attachd), declared(name)
    explanation = f"\n@trpc/server: {reference}\nattachd:      {attachd}"
    assert reference.answers, "a conversation in which tRPC says nothing shows nothing"
    assert not found - expected, f"undeclared: {sorted(found - expected)}{explanation}"
    assert not expected - found, f"declared, but the same: {sorted(expected - found)}{explanation}"
