"""Header fields that every handler reads the same way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rest.headers import parse_parameters, pick
from schemas import ServiceError


def test_picks_the_wanted_and_joins_what_came_twice() -> None:
    headers = [(b"a", b"1"), (b"b", b"2"), (b"a", b"3"), (b"c", b"4"), (b"a", b"")]
    assert pick(headers, frozenset({b"a", b"c", b"d"})) == {b"a": b"1, 3, ", b"c": b"4"}


@pytest.mark.parametrize(
    ("value", "kind", "parameters"),
    [
        pytest.param(b"", b"", {}, id="empty"),
        pytest.param(b" Text/Plain ", b"text/plain", {}, id="kind"),
        pytest.param(b"a;b=c", b"a", {b"b": b"c"}, id="bare"),
        pytest.param(b'a ; B = "c;d" ; ', b"a", {b"b": b"c;d"}, id="blanks"),
        pytest.param(rb'a;b="\\\"\x"', b"a", {b"b": rb"\"\x"}, id="escapes"),
        pytest.param(b'a;b=""', b"a", {b"b": b""}, id="empty quoted"),
        pytest.param(b"a;b=\xc3\xa4", b"a", {b"b": b"\xc3\xa4"}, id="bytes"),
    ],
)
def test_parses_parameters(value: bytes, kind: bytes, parameters: dict[bytes, bytes]) -> None:
    assert parse_parameters("Field", value) == (kind, parameters)


@pytest.mark.parametrize(
    "value", [b"a;b", b"a;=c", b"a;b=", b'a;b="c', b'a;b="c"d', b"a;b=c d", b"a;b c=d", b'a;b=c"d', b"a;b=1;B=2"]
)
def test_refuses_what_two_readers_may_read_in_two_ways(value: bytes) -> None:
    with pytest.raises(ServiceError, match=r"^Field "):
        parse_parameters("Field", value)


@given(
    st.binary(max_size=50) | st.lists(st.sampled_from([b";", b"=", b'"', b"\\", b" ", b"a", b"b"]), max_size=20).map(b"".join)
)
def test_any_bytes_give_parameters_or_an_error(value: bytes) -> None:
    try:
        kind, parameters = parse_parameters("Field", value)
    except ServiceError:
        return
    assert kind == kind.lower()
    assert all(name == name.lower() for name in parameters)
