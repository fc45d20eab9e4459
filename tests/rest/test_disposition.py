"""Content-Disposition: right for the reader, harmless for us (RFC 6266, 8187)."""

import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rest.disposition import content_disposition


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        pytest.param("report.pdf", b'attachment; filename="report.pdf"', id="plain"),
        pytest.param("a b;c=d, (1).pdf", b'attachment; filename="a b;c=d, (1).pdf"', id="needs quotes"),
        pytest.param(
            "naïve €.pdf", b"attachment; filename=\"naive _.pdf\"; filename*=UTF-8''na%C3%AFve%20%E2%82%AC.pdf", id="UTF-8"
        ),
        pytest.param('a"b.pdf', b"attachment; filename=\"a_b.pdf\"; filename*=UTF-8''a%22b.pdf", id="quote"),
        pytest.param("a\\b.pdf", b"attachment; filename=\"a_b.pdf\"; filename*=UTF-8''a_b.pdf", id="backslash"),
        pytest.param("../a.pdf", b"attachment; filename=\".._a.pdf\"; filename*=UTF-8''.._a.pdf", id="path"),
        pytest.param("100%25.pdf", b"attachment; filename=\"100_25.pdf\"; filename*=UTF-8''100%2525.pdf", id="percent"),
        pytest.param(
            "a\r\nSet-Cookie: x.pdf",
            b"attachment; filename=\"a__Set-Cookie_ x.pdf\"; filename*=UTF-8''a__Set-Cookie%3A%20x.pdf",
            id="line end",
        ),
        pytest.param("a\0\x7f\x85.pdf", b"attachment; filename=\"a___.pdf\"; filename*=UTF-8''a___.pdf", id="controls"),
        pytest.param("a\u202egpj.exe", b"attachment; filename=\"a_gpj.exe\"; filename*=UTF-8''a_gpj.exe", id="RTL override"),
        pytest.param("a\ud800.pdf", b"attachment; filename=\"a_.pdf\"; filename*=UTF-8''a_.pdf", id="lone surrogate"),
        pytest.param("", b"attachment; filename=\"file\"; filename*=UTF-8''file", id="empty"),
    ],
)
def test_names_the_file(filename: str, expected: bytes) -> None:
    assert content_disposition(filename, "application/zip", attachment=False) == expected


@pytest.mark.parametrize(
    "content_type", ["image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf", "audio/mpeg", "video/mp4"]
)
def test_shows_the_harmless(content_type: str) -> None:
    assert content_disposition("a", content_type, attachment=False) == b'inline; filename="a"'
    assert content_disposition("a", content_type, attachment=True) == b'attachment; filename="a"'


@pytest.mark.parametrize(
    "content_type",
    ["image/svg+xml", "text/html", "text/plain", "text/csv", "application/json", "application/xhtml+xml", "", "image/png; x"],
)
def test_saves_the_rest(content_type: str) -> None:
    assert content_disposition("a", content_type, attachment=False) == b'attachment; filename="a"'


@given(st.text(alphabet=st.characters(codec=None), max_size=40))
def test_any_name_gives_one_safe_line(filename: str) -> None:
    header = content_disposition(filename, "image/png", attachment=False)
    match = re.fullmatch(
        rb"inline; filename=\"([^\"\\%\x00-\x1f\x7f-\xff/]+)\"(?:; filename\*=UTF-8''([A-Za-z0-9!#$&+.^_`|~%-]+))?", header
    )
    assert match is not None
    named = (match[2] or match[1]).decode()
    name = unquote(named, errors="strict") if match[2] else named
    assert not re.search("[\x00-\x1f\x7f-\x9f/\\\\\u200e\u200f\u061c\u2028-\u202e\u2066-\u2069]", name)
    assert len(name) == len(filename or "file")
