"""Reading header fields. Pure.

Rules:
1. The request's header list is scanned once, for the names a handler knows; lines of one name are joined with a comma, as
   RFC 9110 (5.3) has it, so that a field sent twice that may be sent once becomes malformed instead of ambiguous.
2. `kind; name=value` fields are read strictly: a parameter given twice, or text that is no parameter, is refused, because two
   readers that disagree on such a field are how a filter in front of us is bypassed.
"""

import re
from collections.abc import Iterable

from schemas import Code, ServiceError

# parameter = OWS ";" OWS token BWS "=" BWS ( quoted-string / anything up to ";" or blank ). A value without quotes is taken
# more widely than a token (RFC 9110, 5.6.6): clients send boundaries with "/" and names in UTF-8 bare. Quantifiers are
# possessive: a field is scanned once, whatever it holds.
_PARAMETER = re.compile(
    rb"""[ \t]*+;[ \t]*+([!#$%&'*+.^_`|~0-9A-Za-z-]++)[ \t]*+=[ \t]*+(?:"([^"\\]*+(?:\\.[^"\\]*+)*+)"|([^";\t ]++))""",
    re.DOTALL,
)
_TRAILER = re.compile(rb"[ \t;]*")
_ESCAPED = re.compile(rb'\\(["\\])')


_LINE = b"%b: %b\r\n".__mod__


def lines_of(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The headers as lines with their CRLF; nothing in them is looked at."""
    return b"".join(map(_LINE, headers))


def pick(headers: Iterable[tuple[bytes, bytes]], wanted: frozenset[bytes]) -> dict[bytes, bytes]:
    """The values of the `wanted` names (lower case), several lines of one name joined with a comma."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in wanted:
            found[name] = b"%b, %b" % (found[name], value) if name in found else value
    return found


def parse_parameters(field: str, value: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    r"""What stands before the first `;`, in lower case, and the parameters by name in lower case; `field` is for messages.

    In quoted values `\"` and `\\` lose their backslash, any other backslash stands for itself: browsers send names with
    backslashes bare. Raises BAD_REQUEST.
    """
    kind, _, _ = value.partition(b";")
    parameters: dict[bytes, bytes] = {}
    position = len(kind)
    while match := _PARAMETER.match(value, position):
        name = match[1].lower()
        if name in parameters:
            raise ServiceError(Code.BAD_REQUEST, f"{field} gives a parameter twice: {name.decode()}")
        parameters[name] = _unquoted(match[2]) if match[3] is None else match[3]
        position = match.end()
    if not _TRAILER.fullmatch(value, position):
        raise ServiceError(Code.BAD_REQUEST, f"{field} is malformed: it must read `kind; name=value; …`")
    return kind.strip(b" \t").lower(), parameters


def _unquoted(text: bytes) -> bytes:
    return _ESCAPED.sub(rb"\1", text) if b"\\" in text else text
