"""The procedures of API A: `attachments.list`, `attachments.get`, `attachments.delete`."""

from procedures.context import MemberContext
from procedures.middleware import authenticated
from procedures.registry import Router, procedure
from schemas import Attachment, AttachmentItem, Deleted, DeleteInput, GetInput, ListInput

member = procedure.use(authenticated)
attachments = Router()


@attachments.query(member, name="list")
async def list_(ctx: MemberContext, input: ListInput) -> list[AttachmentItem]:
    """The attachments of a conversation, oldest first; none for a conversation of another organization."""
    return await ctx.attachments.list(ctx.principal, input.conversation_id)


@attachments.query(member)
async def get(ctx: MemberContext, input: GetInput) -> Attachment:
    """One attachment. Admins also get a deleted one, with `deleted_at`."""
    return await ctx.attachments.get(ctx.principal, input.id)


@attachments.mutation(member)
async def delete(ctx: MemberContext, input: DeleteInput) -> Deleted:
    """Delete an attachment softly; its owner and admins may."""
    return await ctx.attachments.delete(ctx.principal, input.id)
