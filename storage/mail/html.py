r"""The tags of an HTML text, and what its images show: found without changing a byte that need not change.

Rules:
1. Text, tags, comments and attributes are told apart as the tokenizer of the WHATWG's HTML standard does it (13.2.5), so that
   an image is one here if it is one to the reader's program. What scripts, styles, text areas and the like hold is text.
2. Nothing but the value of a `src` is ever replaced: conditional comments, odd nesting and whatever else mail is made of stay.
   That is why there is no parser here that makes a tree and writes it anew (docs/decisions/0023).
3. Every expression takes each character once or twice, whatever comes: what begins a construct always ends it, at the end of
   the text if need be, and repetitions give nothing back.

What is left out: the double-escaped states of scripts, and that styles and titles within SVG hold tags.
"""

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

_NAME = r"(?:=[^\t\n\f\r />=]*+|[^\t\n\f\r />=]++)"
_EQUALS = r"[\t\n\f\r ]*+=[\t\n\f\r ]*+"
# The rest of a tag behind its name: it always matches, and ends with `>` or the text.
_REST = rf"""
    (?:[\t\n\f\r /]++|{_NAME}(?:{_EQUALS}(?:"[^"]*+"?+|'[^']*+'?+|[^\t\n\f\r >"'][^\t\n\f\r >]*+)?+)?+)*+>?+
"""
_END = r"(?=[\t\n\f\r />])"  # a tag's name ends here
_RAW_NAMES = r"script|style|textarea|title|xmp|iframe|noembed|noframes"
TOKEN = re.compile(
    rf"""
    <!--(?:-?+>|.*?(?:--!?+>|\Z))
    | <[!?][^>]*+>?+
    | </(?:(?P<end>[A-Za-z][^\t\n\f\r />]*+){_REST}|(?![A-Za-z])[^>]*+>?+)
    | <(?P<raw>{_RAW_NAMES}){_END}{_REST}.*?(?=</(?P=raw){_END}|\Z)
    | <plaintext{_END}{_REST}.*+
    | <im(?:g|age){_END}(?P<image>{_REST})
    | <(?P<start>[A-Za-z][^\t\n\f\r />]*+)(?P<attributes>{_REST})
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE | re.ASCII,
)
_ATTRIBUTE = re.compile(
    rf"""({_NAME})(?:{_EQUALS}(?:"([^"]*+)"?+|'([^']*+)'?+|([^\t\n\f\r >"'][^\t\n\f\r >]*+))?+)?+""", re.VERBOSE | re.ASCII
)
# The path of an upload, on any host or none, or that of its key at an S3-compatible store: not in a query, a fragment or the
# address of another scheme.
_UPLOAD = re.compile(
    r"(?:https?:(?=/)|(?![A-Za-z][A-Za-z0-9+.-]*+:))(?:[^?#]*?/)??(?:uploads|attachments/[0-9a-f-]{36})/"
    r"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})(?=[/?#]|\Z)",
    re.IGNORECASE | re.ASCII,
)
_DROPPED = re.compile(r"[\t\n\r]")  # by browsers, wherever they stand in a URL (URL standard, 4.4)
_MAX_URL_CHARACTERS = 8192  # a longer one, such as a `data:` URL, is no link to an upload


class Reference(NamedTuple):
    """An image that shows an upload: its id in lower case, and where in the text the value of its `src` begins and ends."""

    id: str
    start: int
    stop: int


def attributes(text: str, start: int, stop: int) -> Iterator[tuple[str, int, int]]:
    """The attributes between two places of a tag: name in lower case, where the value begins and ends; (0, 0) without one."""
    for found in _ATTRIBUTE.finditer(text, start, stop):
        group = found.lastindex or 0
        begin, end = found.span(group) if group > 1 else (0, 0)
        yield found[1].lower(), begin, end


def attribute(text: str, span: tuple[int, int], name: str) -> tuple[int, int] | None:
    """Where the value of an attribute stands, the first one of that name, which alone counts; None without a value."""
    for found, start, stop in attributes(text, *span):
        if found == name:
            return (start, stop) if stop else None
    return None


def uploads_shown(text: str) -> list[Reference]:
    """The images of the text whose `src` leads to `…/uploads/{uuid}`, or to a file at its store, in their order."""
    found = []
    for token in TOKEN.finditer(text):
        if token.lastgroup != "image":
            continue
        span = attribute(text, token.span("image"), "src")
        if span is not None and (id := _upload_of(text, *span)) is not None:
            found.append(Reference(id, *span))
    return found


def _upload_of(text: str, start: int, stop: int) -> str | None:
    if stop - start > _MAX_URL_CHARACTERS:
        return None
    url = _DROPPED.sub("", html.unescape(text[start:stop])).strip("\0\x01\x02\x03\x04\x05\x06\x07\b\v\f\x0e\x0f ")
    upload = _UPLOAD.match(url)
    return upload[1].lower() if upload else None


def with_images(text: str, references: Sequence[Reference], urls: Mapping[str, str]) -> str:
    """The text with other URLs for those images whose id has one; `references` are what `uploads_shown` found in it."""
    pieces, done = [], 0
    for reference in references:
        url = urls.get(reference.id)
        if url is not None:
            pieces += [text[done : reference.start], html.escape(url)]
            done = reference.stop
    return "".join([*pieces, text[done:]])
