"""Content-Digest and Repr-Digest (RFC 9530), sha-256 only. Pure.

The fields are dictionaries of structured fields (RFC 9651, 3.2) whose members are byte sequences. They are read strictly; of
what they hold only sha-256 counts, other algorithms are ignored (RFC 9530, 2).
"""

import binascii
import re

from schemas import Code, ServiceError

SHA256_BYTES = 32

# One member: key, then `=` and a bare item (byte sequence, string, number, token, boolean), then parameters. Inner lists are
# left out: no digest is one. Quantifiers are possessive: a field is scanned once, whatever it holds.
_KEY = rb"[a-z*][a-z0-9_.*-]*+"
_BYTES = rb":[A-Za-z0-9+/=]*+:"
_STRING = rb'''"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*+"'''
_NUMBER = rb"-?[0-9]{1,15}(?:\.[0-9]{1,3})?"
_TOKEN = rb"[A-Za-z*][!#$%&'*+.^_`|~:/0-9A-Za-z-]*+"
_BARE = b"|".join((_BYTES, _STRING, _NUMBER, rb"\?[01]", _TOKEN))
_MEMBER = re.compile(rb"(%b)(?:=(%b))?(?:; *+%b(?:=(?:%b))?)*+" % (_KEY, _BARE, _KEY, _BARE))
_COMMA = re.compile(rb"[ \t]*+,[ \t]*+")


def sha256_of(field: str, value: bytes) -> bytes | None:
    """The SHA-256 that a digest field gives, 32 bytes, or None if it gives none; `field` is its name. Raises BAD_REQUEST."""
    found: bytes | None = None
    for key, item in _members(field, value.strip(b" ")):
        if key == b"sha-256":
            found = _digest(field, item)
    return found


def digest_field(sha256: bytes) -> bytes:
    """The value of a digest field for that SHA-256."""
    return b"sha-256=:%b:" % binascii.b2a_base64(sha256, newline=False)


def _members(field: str, value: bytes) -> list[tuple[bytes, bytes | None]]:
    members: list[tuple[bytes, bytes | None]] = []
    position = 0
    while position < len(value):
        if members:
            comma = _COMMA.match(value, position)
            position = len(value) if comma is None else comma.end()
        member = _MEMBER.match(value, position)
        if member is None:
            raise _malformed(field)
        members.append((member[1], member[2]))
        position = member.end()
    return members


def _digest(field: str, item: bytes | None) -> bytes:
    """The 32 bytes of a byte sequence; its padding may be missing (RFC 9651, 4.2.7)."""
    if item is None or item[:1] != b":":
        raise _malformed(field)
    text = item[1:-1]
    try:
        digest = binascii.a2b_base64(text + b"=" * (-len(text) % 4), strict_mode=True)
    except binascii.Error:
        raise _malformed(field) from None
    if len(digest) != SHA256_BYTES:
        raise _malformed(field)
    return digest


def _malformed(field: str) -> ServiceError:
    return ServiceError(Code.BAD_REQUEST, f"{field} is malformed: it must read `sha-256=:<base64 of 32 bytes>:`")
