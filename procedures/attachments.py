"""The procedures of API A."""

import contextlib
from collections.abc import AsyncGenerator

from procedures.calls import raises
from procedures.context import MemberContext
from procedures.files import FileInput
from procedures.middleware import authenticated
from procedures.registry import Router, procedure
from schemas import (
    Aborted,
    AbortUploadInput,
    Attached,
    AttachInput,
    Attachment,
    AttachmentItem,
    Change,
    ChangeInput,
    Code,
    CompleteUploadInput,
    CreateUploadInput,
    Deleted,
    DeleteInput,
    FormUpload,
    Found,
    GetInput,
    GetManyInput,
    ListInput,
    Page,
    PageInput,
    PartsUpload,
    Reason,
    RenameInput,
    RestoreInput,
    SignedUrl,
    Tracked,
    UploadLimits,
    UrlInput,
    Usage,
)
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


@attachments.query(member, name="getMany")
async def get_many(ctx: MemberContext, input: GetManyInput) -> Found:
    """Several attachments in the order of their ids, each as `get` gives it, and the ids that it would not find."""
    return await ctx.attachments.get_many(ctx.principal, input.ids)


@attachments.query(member)
@raises(Code.FORBIDDEN, Code.TIMEOUT)
async def page(ctx: MemberContext, input: PageInput) -> Page:
    """A page of the attachments of a conversation, or of the organization, with cursors for an infinite list."""
    return await ctx.attachments.page(ctx.principal, input)


@attachments.query(member)
@raises(Code.NOT_FOUND)
async def url(ctx: MemberContext, input: UrlInput) -> SignedUrl:
    """A link to the file that needs no credential until it expires; the same one for everybody who asks in the same hour."""
    return await ctx.attachments.url(ctx.principal, input.id, download=input.download)


@attachments.query(member)
async def limits(ctx: MemberContext) -> UploadLimits:
    """What may be uploaded: types, sizes and what a form needs."""
    return await ctx.attachments.limits()


@attachments.query(member)
@raises(Code.FORBIDDEN)
async def usage(ctx: MemberContext) -> Usage:
    """How many attachments the organization has, and how many bytes they are."""
    return await ctx.attachments.usage(ctx.principal)


@attachments.subscription(member, name="onChange")
@raises(Code.FORBIDDEN, Code.PRECONDITION_FAILED)
async def on_change(ctx: MemberContext, input: ChangeInput) -> AsyncGenerator[Tracked[Change], None]:
    """What happens to the attachments of a conversation, once and in order, also across reconnects by `lastEventId`."""
    async with contextlib.aclosing(
        ctx.attachments.changes(ctx.principal, input.conversation_id, input.last_event_id)
    ) as changes:
        async for change in changes:
            yield change


@attachments.mutation(member)
@raises(Code.NOT_FOUND, Code.FORBIDDEN, Code.CONFLICT)
async def attach(ctx: MemberContext, input: AttachInput) -> Attached:
    """Link attachments to a conversation, all or none; their owner may, while they have none."""
    return await ctx.attachments.attach(ctx.principal, input.ids, input.conversation_id)


@attachments.mutation(member)
@raises(Code.NOT_FOUND, Code.FORBIDDEN)
async def rename(ctx: MemberContext, input: RenameInput) -> Attachment:
    """Give an attachment another file name of the same type; its owner and admins may."""
    return await ctx.attachments.rename(ctx.principal, input.id, input.filename)


@attachments.mutation(member)
@raises(Code.NOT_FOUND, Code.FORBIDDEN, Code.PRECONDITION_FAILED)
async def restore(ctx: MemberContext, input: RestoreInput) -> Attachment:
    """Undo a deletion within the retention time; admins may."""
    return await ctx.attachments.restore(ctx.principal, input.id)


@attachments.mutation(member)
@raises(Code.NOT_FOUND, Code.FORBIDDEN)
async def delete(ctx: MemberContext, input: DeleteInput) -> Deleted:
    """Delete an attachment softly; its owner and admins may."""
    return await ctx.attachments.delete(ctx.principal, input.id)


@attachments.mutation(member)
@raises(Code.FORBIDDEN, Reason.ATTACHMENT_TOO_LARGE, Reason.INVALID_ATTACHMENT_TYPE, Code.TIMEOUT)
async def upload(ctx: MemberContext, input: FileInput) -> Attachment:
    """Keep a file, under the same rules as `POST /api/upload`.

    A form has its fields. Beside any other body the headers `x-attachd-filename` (needed; the name as encodeURIComponent writes
    it), `x-attachd-conversation-id` and `x-attachd-ticket-id` say what the fields would.
    """

    def begin(filename: str, least_bytes: int | None) -> Upload:
        return ctx.attachments.upload(ctx.principal, filename, ctx.attachments.policy, least_bytes)

    return (await input.store(begin)).attachment()


@attachments.mutation(member, name="createUpload")
@raises(
    *(Code.FORBIDDEN, Reason.ATTACHMENT_TOO_LARGE, Reason.INVALID_ATTACHMENT_TYPE, Code.PRECONDITION_FAILED),
    Code.TOO_MANY_REQUESTS,
)
async def create_upload(ctx: MemberContext, input: CreateUploadInput) -> FormUpload | PartsUpload:
    """Begin an upload that goes to the S3 store itself: a form to POST there, or for a large file parts to PUT there.

    The attachment is there after `completeUpload`. Until then nothing of the upload can be seen, and after `expires_at` it is
    forgotten.
    """
    return await ctx.attachments.direct.create(ctx.principal, input)


@attachments.mutation(member, name="completeUpload")
@raises(Code.NOT_FOUND, Code.PRECONDITION_FAILED, Reason.ATTACHMENT_TOO_LARGE, Reason.INVALID_ATTACHMENT_TYPE)
async def complete_upload(ctx: MemberContext, input: CompleteUploadInput) -> Attachment:
    """Check what was sent to the store and keep it; its attachment has the id of the upload. Asked again, it answers again.

    A file that is not there whole can be sent again; one that is refused ends the upload.
    """
    return await ctx.attachments.direct.complete(ctx.principal, input)


@attachments.mutation(member, name="abortUpload")
@raises(Code.NOT_FOUND, Code.CONFLICT, Code.PRECONDITION_FAILED)
async def abort_upload(ctx: MemberContext, input: AbortUploadInput) -> Aborted:
    """Give an upload up, and remove what was sent of it; its creator alone may."""
    return await ctx.attachments.direct.abort(ctx.principal, input.upload_id)
