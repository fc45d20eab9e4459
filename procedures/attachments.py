"""The procedures of API A."""

from procedures.calls import raises
from procedures.context import MemberContext
from procedures.files import FileInput
from procedures.middleware import authenticated
from procedures.registry import Router, procedure
from schemas import Attachment, AttachmentItem, Code, Deleted, DeleteInput, GetInput, ListInput, Reason
from storage import Upload

member = procedure.use(authenticated)
attachments = Router()


@attachments.query(member, name="list")
async def list_(ctx: MemberContext, input: ListInput) -> list[AttachmentItem]:
    """The attachments of a conversation, oldest first; none for a conversation of another organization."""
    return await ctx.attachments.list(ctx.principal, input.conversation_id)


@attachments.query(member)
@raises(Code.NOT_FOUND)
async def get(ctx: MemberContext, input: GetInput) -> Attachment:
    """One attachment. Admins also get a deleted one, with `deleted_at`."""
    return await ctx.attachments.get(ctx.principal, input.id)


@attachments.mutation(member)
@raises(Code.NOT_FOUND, Code.FORBIDDEN)
async def delete(ctx: MemberContext, input: DeleteInput) -> Deleted:
    """Delete an attachment softly; its owner and admins may."""
    return await ctx.attachments.delete(ctx.principal, input.id)


@attachments.mutation(member)
@raises(Reason.ATTACHMENT_TOO_LARGE, Reason.INVALID_ATTACHMENT_TYPE, Code.TIMEOUT)
async def upload(ctx: MemberContext, input: FileInput) -> Attachment:
    """Keep a file, under the same rules as `POST /api/upload`."""

    def begin(filename: str, least_bytes: int | None) -> Upload:
        return ctx.attachments.upload(ctx.principal, filename, ctx.attachments.policy, least_bytes)

    return (await input.store(begin)).attachment()
