"""What a tRPC client may call."""

from procedures.attachments import attachments
from procedures.context import Context, MemberContext
from procedures.middleware import authenticated
from procedures.registry import (
    Base,
    Call,
    Kind,
    Middleware,
    Next,
    Procedure,
    Procedures,
    ReadInput,
    Router,
    no_procedure,
    procedure,
)


def app_router() -> Router:
    """A new router with all procedures of attachd."""
    router = Router()
    router.mount("attachments", attachments)
    return router


__all__ = [
    "Base",
    "Call",
    "Context",
    "Kind",
    "MemberContext",
    "Middleware",
    "Next",
    "Procedure",
    "Procedures",
    "ReadInput",
    "Router",
    "app_router",
    "authenticated",
    "no_procedure",
    "procedure",
]
