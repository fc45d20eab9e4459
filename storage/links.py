"""Signed links to attachments: making them, and knowing them again."""

import time

from schemas import SignedUrl
from storage.clock import timestamp
from storage.keys import Keys
from storage.options import Options
from storage.signing import expiry, key_id

DOWNLOAD_PATH = "/api/attachments/{id}/download"
MEDIA_PATH = "/uploads/{uuid}"
# What is signed; other things that links may lead to need another prefix.
_DOWNLOAD = "attachment/{id}"
_MEDIA = "upload/{id}"


class Links:
    """The links of a server: those of API A, and those of API B, which are documented in another way (`storage.signing`)."""

    def __init__(self, keys: Keys, options: Options) -> None:
        self._keys = keys
        self._base_url = options.base_url.rstrip("/")
        self._expiry_s = options.url_expiry_s
        self._window_s = options.url_window_s

    async def url(self, id: str, *, download: bool) -> SignedUrl:
        """A link to the attachment. Raises SERVICE_UNAVAILABLE when the key cannot be read."""
        ring = await self._keys.signing(self._expiry_s + self._window_s)
        expires_at = expiry(time.time(), self._expiry_s, self._window_s)
        query = ring.sign(_DOWNLOAD.replace("{id}", id), expires_at, download=download)
        return self._signed(DOWNLOAD_PATH.replace("{id}", id), query, expires_at)

    async def media_url(self, id: str, expiry_s: int | None = None) -> SignedUrl:
        """A link to the attachment in the way of API B, which holds for `expiry_s` seconds at least. Raises as `url`."""
        least_s = self._expiry_s if expiry_s is None else expiry_s
        ring = await self._keys.signing(least_s + self._window_s)
        expires_at = expiry(time.time(), least_s, self._window_s)
        return self._signed(
            MEDIA_PATH.replace("{uuid}", id), ring.sign_upload(_MEDIA.replace("{id}", id), expires_at), expires_at
        )

    def _signed(self, path: str, query: str, expires_at: int) -> SignedUrl:
        return SignedUrl(url=f"{self._base_url}{path}?{query}", expires_at=timestamp(expires_at))

    async def verify(self, id: str, query: bytes) -> None:
        """Accept the query of a link to the attachment. Raises FORBIDDEN, UNAUTHORIZED, SERVICE_UNAVAILABLE."""
        ring = await self._keys.verifying(key_id(query))
        ring.verify(_DOWNLOAD.replace("{id}", id), query, time.time())

    async def verify_media(self, id: str, query: bytes) -> None:
        """As `verify`, of a link in the way of API B."""
        ring = await self._keys.verifying(key_id(query))
        ring.verify_upload(_MEDIA.replace("{id}", id), query, time.time())
