"""Pages of attachments: a window on a long list, moved by cursors."""

from typing import Annotated, Literal

import msgspec

from schemas.attachments import Id, Timestamp

MAX_PAGE_ITEMS = 200  # one read on the event loop, about 0.4 ms
MAX_CURSOR_CHARACTERS = 2048  # ours are at most 1000: a file name of 255 bytes, escaped
MAX_SEARCH_CHARACTERS = 255

Sort = Literal["created_at", "filename", "size"]
Order = Literal["asc", "desc"]
Direction = Literal["forward", "backward"]


class PageInput(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Which page of which attachments. `cursor` and `direction` are what tRPC's infinite queries send."""

    conversation_id: Annotated[Id | None, msgspec.Meta(description="Without it: the whole organization.")] = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_PAGE_ITEMS, description="Items of a page.")] = 50
    cursor: Annotated[
        Annotated[str, msgspec.Meta(max_length=MAX_CURSOR_CHARACTERS)] | None,
        msgspec.Meta(description="A page's nextCursor or previousCursor; without it: from the beginning."),
    ] = None
    direction: Annotated[Direction, msgspec.Meta(description="`forward` from nextCursor, `backward` from previousCursor.")] = (
        "forward"
    )
    sort: Sort = "created_at"
    order: Order = "desc"
    content_type: Annotated[
        Annotated[str, msgspec.Meta(max_length=127, pattern=r"\A[A-Za-z0-9.+_-]+/(\*|[A-Za-z0-9.+_-]+)\Z")] | None,
        msgspec.Meta(description="A content type, or a family such as `image/*`."),
    ] = None
    owner_id: Id | None = None
    filename: Annotated[
        Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_SEARCH_CHARACTERS)] | None,
        msgspec.Meta(description="Part of the file name, in any case."),
    ] = None


class PageItem(msgspec.Struct, frozen=True, kw_only=True):
    """An attachment in a page."""

    id: str
    conversation_id: str | None
    filename: str
    content_type: str
    size: int
    created_at: Timestamp
    owner_id: str


class Page(
    msgspec.Struct, frozen=True, kw_only=True, rename={"next_cursor": "nextCursor", "previous_cursor": "previousCursor"}
):
    """A page in the asked order; a cursor is null where nothing follows. Cursors bear tRPC's name, for its infinite queries."""

    items: list[PageItem]
    next_cursor: str | None
    previous_cursor: str | None
