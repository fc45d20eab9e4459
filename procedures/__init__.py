"""What a tRPC client may call."""

from procedures.attachments import attachments
from procedures.calls import Call, Kind, Middleware, Next, ReadInput, raises
from procedures.context import Context, MemberContext
from procedures.files import FileInput
from procedures.middleware import authenticated
from procedures.registry import Base, Procedure, Procedures, Router, no_procedure, procedure
from procedures.streams import Tracked


def app_router() -> Router:
    """A new router with all procedures of attachd."""
    router = Router()
    router.mount("attachments", attachments)
    return router


__all__ = [
    "Base",
    "Call",
    "Context",
    "FileInput",
    "Kind",
    "MemberContext",
    "Middleware",
    "Next",
    "Procedure",
    "Procedures",
    "ReadInput",
    "Router",
    "Tracked",
    "app_router",
    "authenticated",
    "no_procedure",
    "procedure",
    "raises",
]
