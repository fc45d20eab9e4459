"""What the head of a request says, as ASGI wants it. Pure."""

import re
import urllib.parse

import httptools

from rest import lines_of

_METHODS = {name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")}
# A target in origin form (RFC 9112, 3.2.1) of visible ASCII: what nearly all clients send needs no parser of URLs.
_ORIGIN_FORM = re.compile(rb'(/[!"$->@-~]*+)(?:\?([!"$-~]*+))?')

Target = tuple[str, bytes, bytes]


def method_of(method: bytes) -> str:
    """The method as text."""
    return _METHODS.get(method) or method.decode("ascii")


def target_of(url: bytes) -> Target:
    """Path, path as it was sent, and query of a request's target.

    Raises HttpParserInvalidURLError, and UnicodeDecodeError for a path that is not ASCII.
    """
    if plain := _ORIGIN_FORM.fullmatch(url):
        raw_path, query = plain.groups(b"")
    else:
        parsed = httptools.parse_url(url)
        raw_path, query = parsed.path, parsed.query or b""
    path = raw_path.decode("ascii")
    return urllib.parse.unquote(path) if "%" in path else path, raw_path, query


def has_body(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether the headers announce a body (RFC 9112, 6.3)."""
    return any(name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0")) for name, value in headers)


def content_length(headers: list[tuple[bytes, bytes]]) -> int:
    """The length of the body (the parser has refused a field that is no number, or comes twice); 0 without one."""
    for name, value in headers:
        if name == b"content-length":
            return int(value)
    return 0


class HeaderLines:
    """Headers as lines with their CRLF, joined once for as long as the list is the same."""

    def __init__(self) -> None:
        self._headers: list[tuple[bytes, bytes]] = []
        self._lines = b""

    def of(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        """The lines of that list, which is never changed."""
        if headers is not self._headers:
            self._headers, self._lines = headers, lines_of(headers)
        return self._lines
