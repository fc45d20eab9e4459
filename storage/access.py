"""Who may do what: the only place that decides it, for every API and every procedure (DESIGN, 4).

Another organization's attachment does not exist for the caller: NOT_FOUND, so that ids cannot be probed.
"""

from typing import TypeVar

from schemas import Attachment, Code, Principal, Record, ServiceError

Kept = TypeVar("Kept", Record, Attachment)


def not_found(id: str) -> ServiceError:
    """The error for an attachment that is missing or must seem so."""
    return ServiceError(Code.NOT_FOUND, f'attachment "{id}" not found')


def visible(principal: Principal, record: Kept | None, id: str) -> Kept:
    """The record, if the caller's organization owns it; a deleted one only for admins. Raises NOT_FOUND."""
    if record is None or record.organization_id != principal.organization_id:
        raise not_found(id)
    if record.deleted_at and principal.role != "admin":
        raise not_found(id)
    return record


def present(principal: Principal, record: Record | None, id: str) -> Record:
    """The record, if it is visible and not deleted, whoever asks. Raises NOT_FOUND."""
    found = visible(principal, record, id)
    if found.deleted_at is not None:
        raise not_found(id)
    return found


def deletable(principal: Principal, record: Record | None, id: str) -> Record:
    """The record, if the caller may delete it: its owner or an admin. Raises NOT_FOUND, FORBIDDEN."""
    found = present(principal, record, id)
    if principal.role != "admin" and found.owner_id != principal.user_id:
        raise ServiceError(Code.FORBIDDEN, "only the owner of an attachment or an admin may delete it")
    return found
