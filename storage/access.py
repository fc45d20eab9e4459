"""Who may do what: the only place that decides it, for every API and every procedure (DESIGN, 4).

Another organization's attachment does not exist for the caller: NOT_FOUND, so that ids cannot be probed. For a widget, what is
not of its conversation does not exist either.
"""

from typing import TypeVar

import msgspec

from schemas import Attachment, Code, Principal, Record, ServiceError, Timestamp

Kept = TypeVar("Kept", Record, Attachment)


def not_found(id: str) -> ServiceError:
    """The error for an attachment that is missing or must seem so."""
    return ServiceError(Code.NOT_FOUND, f'attachment "{id}" not found')


def visible(principal: Principal, record: Kept | None, id: str) -> Kept:
    """The record, if the caller's organization owns it; a deleted one only for admins. Raises NOT_FOUND."""
    if record is None or record.organization_id != principal.organization_id:
        raise not_found(id)
    if not sees_conversation(principal, record.conversation_id):
        raise not_found(id)
    if record.deleted_at and principal.role != "admin":
        raise not_found(id)
    return record


def sees_conversation(principal: Principal, conversation_id: str | None) -> bool:
    """Whether the caller sees what is in that conversation of its organization, or in none: all but widgets do."""
    return principal.kind != "widget" or (conversation_id is not None and conversation_id == principal.conversation_id)


def check_staff(principal: Principal, what: str) -> None:
    """Raises FORBIDDEN for a widget; `what` says what only others may do."""
    if principal.kind == "widget":
        raise ServiceError(Code.FORBIDDEN, f"a widget session may not {what}: send an agent's session or an API key")


def uploader(principal: Principal, *, by_widgets: bool) -> Principal:
    """The caller, if it may upload here. Widgets have a door of their own, which counts their requests. Raises FORBIDDEN."""
    if not by_widgets:
        check_staff(principal, "upload here")
    return principal


def upload_conversation(principal: Principal, conversation_id: str | None) -> str | None:
    """The conversation that an upload of the caller belongs to, in lower case; a widget's is its own. Raises FORBIDDEN."""
    wanted = None if conversation_id is None else conversation_id.lower()
    if principal.kind == "widget":
        wanted = principal.conversation_id if wanted is None else wanted
        if not sees_conversation(principal, wanted):
            raise ServiceError(Code.FORBIDDEN, "a widget session uploads to its own conversation only")
    return wanted


def present(principal: Principal, record: Record | None, id: str) -> Record:
    """The record, if it is visible and not deleted, whoever asks. Raises NOT_FOUND."""
    found = visible(principal, record, id)
    if found.deleted_at is not None:
        raise not_found(id)
    return found


def linkable(principal: Principal, record: Record | None, id: str) -> Record:
    """The record, if the caller may hand out a link to it: whoever may download it. Raises NOT_FOUND."""
    return present(principal, record, id)


def followed(record: Record | None, id: str) -> Record:
    """The record that a right signature leads to, whoever asks; raises NOT_FOUND at once when it is deleted."""
    if record is None or record.deleted_at is not None:
        raise not_found(id)
    return record


def kept_for(scope: str, record: Record) -> Record:
    """The record, if it is kept for that user of API C, or came by another API. Raises NOT_FOUND."""
    if record.scope not in (None, scope):
        raise not_found(record.id)
    return record


def deletable(principal: Principal, record: Record | None, id: str) -> Record:
    """The record, if the caller may delete it: its owner or an admin. Raises NOT_FOUND, FORBIDDEN."""
    return _owned(principal, present(principal, record, id), "only the owner of an attachment or an admin may delete it")


def renamable(principal: Principal, record: Record | None, id: str) -> Record:
    """The record, if the caller may rename it: its owner or an admin. Raises NOT_FOUND, FORBIDDEN."""
    return _owned(principal, present(principal, record, id), "only the owner of an attachment or an admin may rename it")


def attachable(principal: Principal, record: Record | None, id: str) -> Record:
    """The record, if the caller may link it to a conversation: its owner alone, and once.

    Raises NOT_FOUND, FORBIDDEN, and CONFLICT when it has a conversation already; each names the id.
    """
    found = present(principal, record, id)
    if found.owner_id != principal.user_id:
        raise ServiceError(Code.FORBIDDEN, f'attachment "{id}" is another\'s: only its owner may attach it')
    if found.conversation_id is not None:
        raise ServiceError(Code.CONFLICT, f'attachment "{id}" is attached to a conversation already')
    return found


def sendable(principal: Principal, record: Record | None, id: str, conversation_id: str) -> Record:
    """The record, in that conversation, if the caller may send it with a message: it is there already, or may be attached.

    Raises as `attachable`.
    """
    found = present(principal, record, id)
    if found.conversation_id == conversation_id:
        return found
    return msgspec.structs.replace(attachable(principal, record, id), conversation_id=conversation_id)


def restorable(principal: Principal, record: Record | None, id: str, deleted_since: Timestamp) -> Record:
    """The deleted record, if the caller may restore it: an admin, when it was deleted at that time or later.

    Raises FORBIDDEN, NOT_FOUND when it is not deleted, and PRECONDITION_FAILED when it was deleted before that.
    """
    if principal.role != "admin":
        raise ServiceError(Code.FORBIDDEN, "only an admin may restore an attachment")
    found = visible(principal, record, id)
    if found.deleted_at is None:
        raise ServiceError(Code.NOT_FOUND, f'attachment "{id}" is not deleted')
    if found.deleted_at < deleted_since:
        message = f'attachment "{id}" was deleted too long ago to be restored (sweep.retention_days)'
        raise ServiceError(Code.PRECONDITION_FAILED, message)
    return found


def _owned(principal: Principal, record: Record, message: str) -> Record:
    if principal.role != "admin" and record.owner_id != principal.user_id:
        raise ServiceError(Code.FORBIDDEN, message)
    return record
