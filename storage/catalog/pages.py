"""Pages of attachments, by cursor and never by OFFSET: the millionth costs what the first does.

Every order of an organization has an index, and so has a conversation's order by time; INDEXED BY holds SQLite to it. What no
index serves is read in a worker thread: a conversation in another order, which is sorted, and filters, which look at rows until
the page is full.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from schemas import Order, PageItem, Sort
from storage.catalog import columns
from storage.catalog.sqlite import Sqlite

Position = tuple[str | int, str]  # the sort key of an item, and its id

_INDEXES: dict[Sort, str] = {
    "created_at": "attachments_by_time",
    "filename": "attachments_by_name",
    "size": "attachments_by_size",
}
# Before and behind every item. In SQLite's order a BLOB comes after every text and number.
_FIRST: dict[Sort, Position] = {"created_at": ("", ""), "filename": ("", ""), "size": (-1, "")}
_LAST = (b"", b"")
_SCOPES = {True: "organization_id = ? AND conversation_id = ?", False: "organization_id = ?"}
_STEPS: dict[Order, str] = {"asc": ">", "desc": "<"}
# ASCII names, most of them, need not go through Python: `lower` is what `fold` does to them.
_FILTERS = (
    " AND content_type GLOB coalesce(?, '*') AND owner_id = coalesce(?, owner_id)"
    " AND (? IS NULL OR CASE WHEN length(filename) = length(CAST(filename AS BLOB))"
    " THEN instr(lower(filename), ?) ELSE instr(fold(filename), ?) END)"
)


class PageQuery(NamedTuple):
    """Which items, from behind which position (None: from the end where the order begins), and at most how many.

    `content_type` may end in `*`; `filename` is a part of the name, folded by `storage.catalog.readers.fold`.
    """

    organization_id: str
    conversation_id: str | None
    sort: Sort
    order: Order
    after: Position | None
    limit: int
    content_type: str | None = None
    owner_id: str | None = None
    filename: str | None = None

    @property
    def is_filtered(self) -> bool:
        """Whether rows must be looked at to know which are meant."""
        return (self.content_type, self.owner_id, self.filename) != (None, None, None)


def _statement(*, in_conversation: bool, sort: Sort, order: Order, filtered: bool) -> str:
    index = "attachments_of_conversation" if in_conversation else _INDEXES[sort]
    filters = _FILTERS if filtered else ""
    return (
        f"SELECT {columns.PAGE_ITEM} FROM attachments INDEXED BY {index}"  # noqa: S608 (constants)
        f" WHERE {_SCOPES[in_conversation]} AND deleted_at IS NULL AND ({sort}, id) {_STEPS[order]} (?, ?){filters}"
        f" ORDER BY {sort} {order}, id {order} LIMIT ?"
    )


_STATEMENTS = {
    (in_conversation, sort, order, filtered): _statement(
        in_conversation=in_conversation, sort=sort, order=order, filtered=filtered
    )
    for in_conversation in (False, True)
    for sort in _INDEXES
    for order in _STEPS
    for filtered in (False, True)
}


class PageTable:
    """The attachments of an organization or a conversation in pages, without the deleted ones."""

    def __init__(self, database: Sqlite, search_s: float) -> None:
        self._database = database
        self._search_s = search_s

    async def page(self, query: PageQuery) -> list[PageItem]:
        """The items of the query in its order.

        Raises SERVICE_UNAVAILABLE when the database fails, and TIMEOUT when no index serves the query and it takes longer than
        `search_s` seconds.
        """
        sql, parameters = statement_of(query)
        if is_served_by_index(query):
            return [columns.page_item(row) for row in self._database.rows(sql, parameters)]
        return [columns.page_item(row) for row in await self._database.rows_apart(sql, parameters, self._search_s)]


def is_served_by_index(query: PageQuery) -> bool:
    """Whether an index gives exactly the rows of the page, so that its cost is known to be small."""
    return not query.is_filtered and (query.conversation_id is None or query.sort == "created_at")


def statement_of(query: PageQuery) -> tuple[str, Sequence[Any]]:
    """The statement of the query, which is one of few fixed texts, and its parameters."""
    scope = (query.organization_id,) if query.conversation_id is None else (query.organization_id, query.conversation_id)
    start = query.after or (_FIRST[query.sort] if query.order == "asc" else _LAST)
    filters = (query.content_type, query.owner_id, *(query.filename,) * 3) if query.is_filtered else ()
    sql = _STATEMENTS[query.conversation_id is not None, query.sort, query.order, query.is_filtered]
    return sql, (*scope, *start, *filters, query.limit)
