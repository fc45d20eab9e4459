"""Signatures of links: who has the link may read one thing until a time. Pure: no clock, no I/O.

HMAC-SHA256 over version, subject, expiry, key id and whether the file is to be saved, each on a line of its own; the signature
is base64url without padding, and compared as text, so that there is one way to write it. The first key of a ring signs, all
verify: a new key goes in front, an old one out when its last link has expired.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence
from urllib.parse import parse_qsl

import msgspec

from schemas import Code, ServiceError

MIN_SECRET_BYTES = 32  # the length of the digest: shorter keys weaken HMAC (RFC 2104, 3)
_VERSION = "attachd-link-1"
_KID = re.compile(r"[A-Za-z0-9_-]{1,32}", re.ASCII)
_EXPIRY = re.compile(r"[0-9]{1,12}", re.ASCII)  # Unix seconds
_MAX_PARAMETERS = 32


class SigningKey(msgspec.Struct, frozen=True):
    """A key and the id that links name it by."""

    kid: str
    secret: bytes


def parse_key(text: str) -> SigningKey:
    """The key that `kid:base64secret` stands for. Raises ValueError, which never repeats the secret."""
    kid, colon, encoded = text.partition(":")
    if not colon or not _KID.fullmatch(kid):
        raise ValueError("a key is written kid:base64secret, its id with up to 32 letters, digits, - and _")
    try:
        secret = base64.b64decode(encoded.replace("-", "+").replace("_", "/") + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"the secret of the key {kid} is not base64") from None
    if len(secret) < MIN_SECRET_BYTES:
        message = f"the secret of the key {kid} is shorter than {MIN_SECRET_BYTES} bytes: take `openssl rand -base64 32`"
        raise ValueError(message)
    return SigningKey(kid, secret)


def expiry(now: float, expiry_s: int, window_s: int) -> int:
    """When a link that is made now expires, Unix seconds: `expiry_s` after the end of the window that `now` is in.

    All links of a window are equal, so that browsers and proxies find in their caches what they have.
    """
    return (int(now) // window_s + 1) * window_s + expiry_s


def is_signed(query: bytes) -> bool:
    """Whether the query has a signature, right or wrong."""
    return any(part.partition(b"=")[0] == b"sig" for part in query.split(b"&"))


class KeyRing:
    """The keys of a server, the one that signs first; there may be none, and then no signature is right."""

    def __init__(self, keys: Sequence[SigningKey]) -> None:
        self._signer = keys[0] if keys else None
        self._keys = {key.kid: key for key in keys}

    def sign(self, subject: str, expires_at: int, *, download: bool) -> str:
        """The query of a link to the subject, without its question mark. Raises ValueError when there is no key."""
        if self._signer is None:
            raise ValueError("the ring has no key to sign with")
        fields = f"exp={expires_at}&kid={self._signer.kid}&sig={_signature(self._signer, subject, str(expires_at), download)}"
        return f"download=1&{fields}" if download else fields

    def verify(self, subject: str, query: bytes, now: float) -> None:
        """Accept a link to the subject. Raises FORBIDDEN when it was not signed so, UNAUTHORIZED when it has expired."""
        fields = _fields(query)
        key, expires_at = self._keys.get(fields.get("kid", "")), fields.get("exp", "")
        if key is None or not _EXPIRY.fullmatch(expires_at) or fields.get("download", "1") != "1":
            raise _invalid()
        right = _signature(key, subject, expires_at, "download" in fields)
        if not hmac.compare_digest(right.encode(), fields.get("sig", "").encode()):
            raise _invalid()
        if now >= int(expires_at):
            raise ServiceError(Code.UNAUTHORIZED, "the link has expired: ask for a new one")


def _signature(key: SigningKey, subject: str, expires_at: str, download: bool) -> str:
    text = "\n".join((_VERSION, subject, expires_at, key.kid, "download" if download else ""))
    return base64.urlsafe_b64encode(hmac.digest(key.secret, text.encode(), hashlib.sha256)).rstrip(b"=").decode()


def _fields(query: bytes) -> dict[str, str]:
    """The signed parameters by name; others are nobody's business. Raises FORBIDDEN for one that comes twice."""
    try:
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=_MAX_PARAMETERS)
    except ValueError as error:
        raise _invalid() from error
    signed = [(name, value) for name, value in pairs if name in {"exp", "kid", "sig", "download"}]
    if len(dict(signed)) != len(signed):
        raise ServiceError(Code.FORBIDDEN, "the link has a parameter twice: follow it as it was given")
    return dict(signed)


def _invalid() -> ServiceError:
    return ServiceError(Code.FORBIDDEN, "the link's signature is not valid: follow it as it was given, or ask for a new one")
