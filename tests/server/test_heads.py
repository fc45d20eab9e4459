"""The target of a request is read as httptools reads it, the short way and the other."""

import urllib.parse

import httptools
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from server.heads import HeaderLines, Target, method_of, target_of


def parsed(url: bytes) -> Target:
    """What uvicorn makes of it."""
    found = httptools.parse_url(url)
    path = found.path.decode("ascii")
    return urllib.parse.unquote(path) if "%" in path else path, found.path, found.query or b""


def outcome(url: bytes, *, ours: bool) -> Target | str:
    try:
        return target_of(url) if ours else parsed(url)
    except (httptools.HttpParserInvalidURLError, UnicodeDecodeError, AttributeError) as error:
        return type(error).__name__


@given(st.one_of(st.binary(max_size=12), st.lists(st.sampled_from([*b"/?#%a0:@.;&\x7f\x80 \\"]), max_size=12).map(bytes)))
@example(b"?a#b")
@example(b"/a?b?c=/%20")
@example(b"//host/a")
@example(b"/%E4%BD%A0?%E5")
@example(b"/a#b?c")
def test_a_target_is_read_as_the_parser_does(url: bytes) -> None:
    for target in (url, b"/" + url, b"http://localhost" + url):
        assert outcome(target, ours=True) == outcome(target, ours=False)


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "DELETE", "PROPFIND"])
def test_methods(method: str) -> None:
    assert method_of(method.encode()) == method


def test_lines_are_those_of_the_list_at_hand() -> None:
    lines = HeaderLines()
    assert lines.of([]) == b""
    for date in (b"now", b"then"):
        headers = [(b"date", date), (b"a", b"b")]
        assert lines.of(headers) == lines.of(headers) == b"date: %b\r\na: b\r\n" % date
