"""When a download is answered with a link (API A)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rest.negotiation import prefers_json


@pytest.mark.parametrize(
    "accept",
    [
        b"application/json",
        b"Application/JSON",
        b"application/json; charset=utf-8",
        b"application/json, text/plain",
        b"application/json, */*;q=0.8",
        b"text/html;q=0.9, application/json;q=0.5, */*;q=0.1",
        b"application/json;q=0.001",
    ],
)
def test_a_client_that_asks_for_json_gets_the_link(accept: bytes) -> None:
    assert prefers_json(accept)


@pytest.mark.parametrize(
    "accept",
    [
        pytest.param(None, id="no header"),
        pytest.param(b"", id="empty"),
        pytest.param(b"*/*", id="curl, fetch"),
        pytest.param(b"application/json, text/plain, */*", id="axios"),
        pytest.param(b"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8", id="browser"),
        pytest.param(b"image/*", id="image"),
        pytest.param(b"application/json;q=0", id="refused"),
        pytest.param(b"application/json;q=0.000, */*;q=0", id="all refused"),
        pytest.param(b"application/json;q=0.5, */*;q=0.8", id="rather anything"),
        pytest.param(b"application/jsonl", id="another type"),
        pytest.param(b"application/vnd.api+json", id="a JSON dialect"),
        pytest.param(b"text/plain, " * 40 + b"application/json", id="too far down"),
    ],
)
def test_every_other_client_gets_the_bytes(accept: bytes | None) -> None:
    assert not prefers_json(accept)


@given(st.binary(max_size=40) | st.text("application/json*;q=01., ", max_size=30).map(str.encode))
def test_any_bytes_decide_it(accept: bytes) -> None:
    assert prefers_json(accept) in {True, False}
