"""Pages of attachments: from what a client asks to a query of the catalog, and cursors.

A cursor is the position of an item, the sort key and the id, with the order that it is a position in. It is opaque to clients,
and nothing in it is trusted: the organization and the filters are the caller's own each time.
"""

import base64
import binascii
from typing import Annotated, Literal

import msgspec

from schemas import Code, Order, Page, PageInput, PageItem, Principal, ServiceError, Sort
from storage.catalog import PageQuery, PageTable, Position, fold

_OPPOSITE: dict[Order, Order] = {"asc": "desc", "desc": "asc"}
_SORTS: dict[str, Sort] = {"t": "created_at", "n": "filename", "s": "size"}
_ORDERS: dict[str, Order] = {"a": "asc", "d": "desc"}
_LETTERS = {name: letter for table in (_SORTS, _ORDERS) for letter, name in table.items()}


class _Cursor(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    sort: Literal["t", "n", "s"]
    order: Literal["a", "d"]
    key: str | Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    id: str


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Cursor).decode


async def read_page(table: PageTable, principal: Principal, asked: PageInput) -> Page:
    """The page that was asked for. Raises BAD_REQUEST for a cursor that is not of this order."""
    backward = asked.direction == "backward"
    query = PageQuery(
        organization_id=principal.organization_id,
        conversation_id=None if asked.conversation_id is None else asked.conversation_id.lower(),
        sort=asked.sort,
        order=_OPPOSITE[asked.order] if backward else asked.order,
        after=None if asked.cursor is None else position_of(asked.cursor, asked.sort, asked.order),
        limit=asked.limit + 1,  # one more tells whether something follows
        content_type=None if asked.content_type is None else asked.content_type.lower(),
        owner_id=None if asked.owner_id is None else asked.owner_id.lower(),
        filename=None if asked.filename is None else fold(asked.filename),
    )
    found = await table.page(query)
    items = found[: asked.limit]
    if backward:
        items.reverse()
    return _page(asked, items, has_more=len(found) > asked.limit)


def _page(asked: PageInput, items: list[PageItem], *, has_more: bool) -> Page:
    """The page with its cursors. In the direction it was reached from, what the cursor named was there."""
    came_from = None if asked.cursor is None else asked.cursor
    first = cursor_of(items[0], asked.sort, asked.order) if items else came_from
    last = cursor_of(items[-1], asked.sort, asked.order) if items else came_from
    if asked.direction == "backward":
        return Page(items=items, next_cursor=last if asked.cursor else None, previous_cursor=first if has_more else None)
    return Page(items=items, next_cursor=last if has_more else None, previous_cursor=first if asked.cursor else None)


def cursor_of(item: PageItem, sort: Sort, order: Order) -> str:
    """The cursor of an item: base64url without padding."""
    key: str | int = getattr(item, sort)
    cursor = _Cursor(sort=_LETTERS[sort], order=_LETTERS[order], key=key, id=item.id)  # type: ignore[arg-type]  # of the tables above
    return base64.urlsafe_b64encode(_encode(cursor)).rstrip(b"=").decode()


def position_of(cursor: str, sort: Sort, order: Order) -> Position:
    """The position that a cursor names. Raises BAD_REQUEST when it is not ours or of another order."""
    try:
        raw = base64.b64decode(cursor.encode() + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        read = _decode(raw)
    except (msgspec.DecodeError, binascii.Error, UnicodeError) as error:
        raise ServiceError(Code.BAD_REQUEST, "the cursor is none of attachments.page: send its nextCursor as it is") from error
    if (_SORTS[read.sort], _ORDERS[read.order]) != (sort, order) or isinstance(read.key, int) != (sort == "size"):
        message = "the cursor is of another order: begin without one when sort or order change"
        raise ServiceError(Code.BAD_REQUEST, message)
    return read.key, read.id
