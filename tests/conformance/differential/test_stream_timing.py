"""What time does to streams, on both servers with short times: pings, and the end of a subscription."""

from collections.abc import Iterator

import pytest

from tests.conformance.differential.cases import Case, get
from tests.conformance.differential.corpus_jsonl import lines
from tests.conformance.differential.peers import Peers
from tests.conformance.differential.streams import Streamed, ask, differences, parse

PING_S, MAX_DURATION_S = 0.05, 0.4
# Between two values of `stream.both` are 60 ms.
JSONL_PING_S = 0.02
CONFIG = {
    "jsonl": {"pingMs": JSONL_PING_S * 1000},
    "sse": {
        "ping": {"enabled": True, "intervalMs": PING_S * 1000},
        "maxDurationMs": MAX_DURATION_S * 1000,
        "client": {"reconnectAfterInactivityMs": 1000},
    },
}
SETTINGS = {
    "ATTACHD_STREAM_PING_SECONDS": str(PING_S),
    "ATTACHD_STREAM_JSONL_PING_SECONDS": str(JSONL_PING_S),
    "ATTACHD_STREAM_MAX_DURATION_SECONDS": str(MAX_DURATION_S),
    "ATTACHD_STREAM_RECONNECT_AFTER_INACTIVITY_SECONDS": "1",
}
PING = "event: ping\ndata: \n\n\n"


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    with Peers(tmp_path_factory.mktemp("hasty"), CONFIG, **SETTINGS) as peers:
        yield peers


def both(peers: Peers, case: Case, events: int | None = None) -> tuple[Streamed, Streamed]:
    """The answers of @trpc/server and of attachd, up to a number of events or to their end."""
    reference, attachd = (
        ask(peers.ports[server], case.method, case.render(peers.names), events) for server in ("@trpc/server", "attachd")
    )
    return reference, attachd


def test_pings(hasty: Peers) -> None:
    reference, attachd = both(hasty, get("sub.forever"), events=5)
    assert not differences(reference, attachd), f"\n{reference}\n{attachd}"
    assert attachd.text.endswith(PING * 3)


def test_a_stream_that_lasts_too_long_ends_without_return(hasty: Peers) -> None:
    """The client then connects again, since nobody told it not to."""
    reference, attachd = both(hasty, get("sub.forever"))
    assert reference.whole
    assert reference.text.count(PING) >= 2
    assert attachd.text.count(PING) >= 2
    unpinged = [answer._replace(text=answer.text.replace(PING, "")) for answer in (reference, attachd)]
    assert not differences(*unpinged), f"\n{reference}\n{attachd}"
    assert [line for event in parse(unpinged[1]) for line in event][-1] == ["data", {"json": 0}]


def test_a_stream_that_ends_in_time_returns(hasty: Peers) -> None:
    reference, attachd = both(hasty, get("sub.empty"))
    assert not differences(reference, attachd), f"\n{reference}\n{attachd}"


def test_pings_between_json_lines(hasty: Peers) -> None:
    """Spaces before the next line, which JSON does not count."""
    reference, attachd = both(hasty, lines("stream.both"))
    assert not differences(reference, attachd), f"\n{reference}\n{attachd}"
    assert " {" in reference.text
    assert " {" in attachd.text
