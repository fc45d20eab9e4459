"""Conditional requests for a file that exists (RFC 9110, 13). Pure.

Order of section 13.2.2: If-Match, else If-Unmodified-Since; then If-None-Match, else If-Modified-Since; If-Range last, by
itself. Dates that are no dates are ignored. A list of tags is read up to its first malformed one.
"""

import enum
import re
from collections.abc import Iterator, Mapping

from rest.dates import parse_http_date

_TAG = re.compile(rb'[ \t,]*+((?:W/)?"[\x21\x23-\x7e\x80-\xff]*+")[ \t]*+(?=,|\Z)')

CONDITIONAL = frozenset({b"if-match", b"if-unmodified-since", b"if-none-match", b"if-modified-since", b"if-range"})


class Outcome(enum.Enum):
    """What the conditions of a request come to."""

    PROCEED = enum.auto()
    NOT_MODIFIED = enum.auto()  # 304
    FAILED = enum.auto()  # 412


def evaluate(request: Mapping[bytes, bytes], etag: bytes, last_modified: bytes) -> Outcome:
    """What a GET or HEAD with those headers comes to; `etag` is strong and quoted, `last_modified` an HTTP date."""
    if (tags := request.get(b"if-match")) is not None:
        if not _matches(tags, etag, weak=False):
            return Outcome.FAILED
    elif _modified_since(request.get(b"if-unmodified-since"), last_modified) is True:
        return Outcome.FAILED
    if (tags := request.get(b"if-none-match")) is not None:
        return Outcome.NOT_MODIFIED if _matches(tags, etag, weak=True) else Outcome.PROCEED
    if _modified_since(request.get(b"if-modified-since"), last_modified) is False:
        return Outcome.NOT_MODIFIED
    return Outcome.PROCEED


def range_applies(request: Mapping[bytes, bytes], etag: bytes, last_modified: bytes) -> bool:
    """Whether If-Range, if it is there, lets the Range field count: the very tag, or the very date (13.1.5)."""
    condition = request.get(b"if-range")
    if condition is None or condition == etag:
        return True
    when = parse_http_date(condition)
    return when is not None and when == parse_http_date(last_modified)


def _modified_since(value: bytes | None, last_modified: bytes) -> bool | None:
    """Whether the file changed after that date; None without one."""
    since = None if value is None else parse_http_date(value)
    if since is None:
        return None
    modified = parse_http_date(last_modified)
    return modified is not None and modified > since


def _matches(tags: bytes, etag: bytes, *, weak: bool) -> bool:
    """Whether the list names the tag, or is `*`; only the weak comparison lets a weak tag match (8.8.3.2)."""
    if tags.strip(b" \t") == b"*":
        return True
    return any(tag == etag or (weak and tag == b"W/" + etag) for tag in _tags(tags))


def _tags(value: bytes) -> Iterator[bytes]:
    position = 0
    while match := _TAG.match(value, position):
        yield match[1]
        position = match.end()
