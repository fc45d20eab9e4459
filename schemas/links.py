"""Signed links: a download without a credential, for a time."""

import msgspec

from schemas.attachments import Id, Timestamp


class UrlInput(msgspec.Struct, frozen=True, kw_only=True):
    """Of which attachment; with `download` browsers save the file instead of showing it."""

    id: Id
    download: bool = False


class SignedUrl(msgspec.Struct, frozen=True, kw_only=True):
    """A link that needs no credential until it expires."""

    url: str
    expires_at: Timestamp
