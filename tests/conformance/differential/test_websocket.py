"""Conversations over a WebSocket with attachd as with @trpc/server 11.25.2, but for what `stream_differences` declares."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.conformance.differential.corpus_websocket import CASES
from tests.conformance.differential.peers import Peers
from tests.conformance.differential.stream_differences import declared
from tests.conformance.differential.transcripts import Transcript, converse, differences

# Most of a conversation is waiting whether more comes, so that many at a time are hardly slower than one.
SIDE_BY_SIDE = 8

Futures = dict[str, tuple[Future[Transcript], Future[Transcript]]]


@pytest.fixture(scope="module")
def transcripts(request: pytest.FixtureRequest, peers: Peers) -> Iterator[Futures]:
    """Those of the tests that are asked for, by case: with @trpc/server and with attachd."""
    chosen = [item.callspec.params["name"] for item in request.session.items if item.path == request.path]  # type: ignore[attr-defined]  # of parametrized tests
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:

        def begin(server: str, name: str) -> Future[Transcript]:
            return pool.submit(converse, peers.ports[server], CASES[name], peers.names)

        yield {name: (begin("@trpc/server", name), begin("attachd", name)) for name in chosen}


@pytest.mark.parametrize("name", CASES)
def test_converses_as_trpc(transcripts: Futures, name: str) -> None:
    reference, attachd = (future.result() for future in transcripts[name])
    found, expected = differences(reference, attachd), declared(name)
    explanation = f"\n@trpc/server: {reference}\nattachd:      {attachd}"
    assert reference.answers, "a conversation in which tRPC says nothing shows nothing"
    assert not found - expected, f"undeclared: {sorted(found - expected)}{explanation}"
    assert not expected - found, f"declared, but the same: {sorted(expected - found)}{explanation}"
