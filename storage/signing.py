"""Signatures of links: who has the link may read one thing until a time. Pure: no clock, no I/O.

HMAC-SHA256 over version, subject, expiry, key id and whether the file is to be saved, each on a line of its own; the signature
is base64url without padding, and compared as text, so that there is one way to write it. The first key of a ring signs, all
verify: a new key goes in front, an old one out when its last link has expired.

The links of API B are documented as `?sig=…&exp=…`: their flag is not signed, so that whoever has one may save what it shows,
and they are right without the key's id as well, whichever key of the ring signed them.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import parse_qsl

import msgspec

from schemas import Code, ServiceError

MIN_SECRET_BYTES = 32  # the length of the digest: shorter keys weaken HMAC (RFC 2104, 3)
_VERSION = "attachd-link-1"
_KID = re.compile(r"[A-Za-z0-9_-]{1,32}", re.ASCII)
_EXPIRY = re.compile(r"[0-9]{1,12}", re.ASCII)  # Unix seconds
_MAX_PARAMETERS = 32
_SIGNED_UPLOAD = frozenset({"exp", "kid", "sig"})
_SIGNED = _SIGNED_UPLOAD | {"download"}


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

    def __contains__(self, kid: object) -> bool:
        """Whether there is a key of that id."""
        return kid in self._keys

    def sign(self, subject: str, expires_at: int, *, download: bool) -> str:
        """The query of a link to the subject, without its question mark. Raises ValueError when there is no key."""
        kid, signature = self._sign(subject, expires_at, download=download)
        fields = f"exp={expires_at}&kid={kid}&sig={signature}"
        return f"download=1&{fields}" if download else fields

    def sign_upload(self, subject: str, expires_at: int) -> str:
        """As `sign`, in the way that API B documents."""
        kid, signature = self._sign(subject, expires_at, download=False)
        return f"sig={signature}&exp={expires_at}&kid={kid}"

    def _sign(self, subject: str, expires_at: int, *, download: bool) -> tuple[str, str]:
        if self._signer is None:
            raise ValueError("the ring has no key to sign with")
        return self._signer.kid, _signature(self._signer, subject, str(expires_at), download)

    def verify(self, subject: str, query: bytes, now: float) -> None:
        """Accept a link to the subject. Raises FORBIDDEN when it was not signed so, UNAUTHORIZED when it has expired."""
        fields = _fields(query, _SIGNED)
        if fields.get("download", "1") != "1":
            raise _invalid()
        key = self._keys.get(fields.get("kid", ""))
        _check(() if key is None else (key,), subject, fields, now)

    def verify_upload(self, subject: str, query: bytes, now: float) -> None:
        """As `verify`, for the links of `sign_upload`."""
        fields = _fields(query, _SIGNED_UPLOAD)
        kid = fields.get("kid")
        _check([key for key in self._keys.values() if kid in (key.kid, None)], subject, fields, now)


def _check(keys: Iterable[SigningKey], subject: str, fields: Mapping[str, str], now: float) -> None:
    """Accept fields that one of the keys signed, in a time that does not tell how much of the signature is right."""
    expires_at, given = fields.get("exp", ""), fields.get("sig", "").encode()
    if not _EXPIRY.fullmatch(expires_at):
        raise _invalid()
    right = [_signature(key, subject, expires_at, "download" in fields).encode() for key in keys]
    if not any([hmac.compare_digest(signature, given) for signature in right]):  # noqa: C419 (all are compared, always)
        raise _invalid()
    if int(now) > int(expires_at):
        raise ServiceError(Code.UNAUTHORIZED, "the link has expired: ask for a new one")


def _signature(key: SigningKey, subject: str, expires_at: str, download: bool) -> str:
    text = "\n".join((_VERSION, subject, expires_at, key.kid, "download" if download else ""))
    return base64.urlsafe_b64encode(hmac.digest(key.secret, text.encode(), hashlib.sha256)).rstrip(b"=").decode()


def key_id(query: bytes) -> str | None:
    """The id of the key that a link names, once and legibly; None without one."""
    try:
        return _fields(query, frozenset({"kid"})).get("kid")
    except ServiceError:
        return None


def _fields(query: bytes, names: frozenset[str]) -> dict[str, str]:
    """The parameters of those names; others are nobody's business. Raises FORBIDDEN for one that comes twice."""
    try:
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=_MAX_PARAMETERS)
    except ValueError as error:
        raise _invalid() from error
    signed = [(name, value) for name, value in pairs if name in names]
    if len(dict(signed)) != len(signed):
        raise ServiceError(Code.FORBIDDEN, "the link has a parameter twice: follow it as it was given")
    return dict(signed)


def _invalid() -> ServiceError:
    return ServiceError(Code.FORBIDDEN, "the link's signature is not valid: follow it as it was given, or ask for a new one")
