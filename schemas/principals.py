"""Who is asking. A `Principal` is made in one place, `server/credentials.py`, and trusted below it."""

from typing import Literal

import msgspec

Role = Literal["member", "admin", "store"]


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """An authenticated caller.

    `user_id` is the user of a session, or the id of the API key itself, so that a key owns what it uploads.
    """

    kind: Literal["session", "key"]
    user_id: str
    organization_id: str
    role: Role
