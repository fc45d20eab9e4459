"""Signed links to attachments: making them, and knowing them again."""

import secrets
import time

from schemas import SignedUrl
from storage.catalog import SigningKeyTable
from storage.clock import timestamp
from storage.options import Options
from storage.signing import MIN_SECRET_BYTES, KeyRing, SigningKey, expiry

DOWNLOAD_PATH = "/api/attachments/{id}/download"
_SUBJECT = "attachment/{id}"  # other things that links may lead to need another prefix


class Links:
    """The links of a server. Its keys are those of the settings, or one that is made at the first link and kept."""

    def __init__(self, table: SigningKeyTable, options: Options) -> None:
        self._table = table
        self._ring = KeyRing(options.signing_keys) if options.signing_keys else None
        self._base_url = options.base_url.rstrip("/")
        self._expiry_s = options.url_expiry_s
        self._window_s = options.url_window_s

    async def url(self, id: str, *, download: bool) -> SignedUrl:
        """A link to the attachment. Raises SERVICE_UNAVAILABLE when the key cannot be read."""
        if self._ring is None:
            kid, secret = secrets.token_hex(4), secrets.token_bytes(MIN_SECRET_BYTES)
            self._ring = _ring(await self._table.keys_or(kid, secret, timestamp()))
        expires_at = expiry(time.time(), self._expiry_s, self._window_s)
        query = self._ring.sign(_SUBJECT.replace("{id}", id), expires_at, download=download)
        return SignedUrl(url=f"{self._base_url}{DOWNLOAD_PATH.replace('{id}', id)}?{query}", expires_at=timestamp(expires_at))

    async def verify(self, id: str, query: bytes) -> None:
        """Accept the query of a link to the attachment. Raises FORBIDDEN, UNAUTHORIZED, SERVICE_UNAVAILABLE."""
        if self._ring is None and (keys := await self._table.keys()):  # without any, no link was ever made
            self._ring = _ring(keys)
        (self._ring or KeyRing(())).verify(_SUBJECT.replace("{id}", id), query, time.time())


def _ring(keys: list[tuple[str, bytes]]) -> KeyRing:
    return KeyRing([SigningKey(kid, secret) for kid, secret in keys])
