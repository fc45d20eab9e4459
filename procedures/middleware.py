"""Middleware that procedures share."""

from typing import Any

from procedures.calls import Call, Next, raises
from procedures.context import MemberContext
from schemas import Code, ServiceError

AUTHENTICATION_REQUIRED = "authentication required: send the session cookie or an API key"


@raises(Code.UNAUTHORIZED)
async def authenticated(call: Call, next: Next) -> Any:
    """Let only known callers in, and give a `MemberContext` to what is inside. Raises UNAUTHORIZED."""
    ctx = call.ctx
    if ctx.principal is None:
        raise ServiceError(Code.UNAUTHORIZED, AUTHENTICATION_REQUIRED)
    return await next(call.with_context(MemberContext(ctx.attachments, ctx.principal)))
