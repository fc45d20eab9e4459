"""Public links that hold a secret instead of a signature: they never expire, and die with their file.

The secret is 256 random bits, of which only the SHA-256 is kept: a copy of the database opens nothing. It is looked up by the
hash, so how long that takes tells nothing of the secret.
"""

import hashlib
import re
import secrets

_SECRET_BYTES = 32
_CAPABILITY = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)  # base64url of 32 bytes


def fresh_capability() -> str:
    """A new secret for the path of a link."""
    return secrets.token_urlsafe(_SECRET_BYTES)


def capability_hash(capability: str) -> bytes | None:
    """What is kept of the secret, 32 bytes; None for a text that none of ours reads."""
    return hashlib.sha256(capability.encode()).digest() if _CAPABILITY.fullmatch(capability) else None
