"""What a procedure is given beside its input."""

import msgspec

from schemas import Principal
from storage import Attachments


class Context(msgspec.Struct, frozen=True):
    """The context of a request: the services, and who asks, if that is known."""

    attachments: Attachments
    principal: Principal | None


class MemberContext(Context, frozen=True):
    """The context behind the `authenticated` middleware: who asks is known."""

    principal: Principal  # narrowed: never None
