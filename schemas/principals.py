"""Who is asking. A `Principal` is made in one place, `server/credentials.py`, and trusted below it."""

from typing import Literal

import msgspec

Role = Literal["member", "admin", "store"]


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """An authenticated caller.

    `user_id` is the user of a session, or the id of the API key or the widget's session itself, so that these own what they
    upload. `conversation_id` is the one conversation that a widget may see, and None for all others.
    """

    kind: Literal["session", "key", "widget"]
    user_id: str
    organization_id: str
    role: Role
    conversation_id: str | None = None
