"""Pages of attachments, by cursor and never by OFFSET: the millionth costs what the first does.

Every order of an organization has an index, and so has a conversation's order by time; INDEXED BY holds SQLite to it. What no
index serves is read apart: a conversation in another order, which is sorted, and filters, which look at rows until the page is
full. For the former PostgreSQL must read the conversation first: left to choose, it walks the whole organization in the order
that is asked for, in search of the conversation's rows.
"""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from schemas import Order, PageItem, Sort
from storage.catalog import columns
from storage.catalog.engine import Database, Statement, sql

Position = tuple[str | int, str]  # the sort key of an item, and its id

_INDEXES: dict[Sort, str] = {
    "created_at": "attachments_by_time",
    "filename": "attachments_by_name",
    "size": "attachments_by_size",
}
_SCOPES = {True: "organization_id = ? AND conversation_id = ?", False: "organization_id = ?"}
_STEPS: dict[Order, str] = {"asc": ">", "desc": "<"}
# In both dialects the first of a text's characters is 1, and the empty text is found there.
_FILTERS = (
    " AND content_type = coalesce(?, content_type) AND substr(content_type, 1, length(CAST(? AS text))) = ?"
    " AND owner_id = coalesce(?, owner_id) AND instr(coalesce(search_name, lower(filename)), ?) > 0"
)


class PageQuery(NamedTuple):
    """Which items, from behind which position (None: from the end where the order begins), and at most how many.

    `content_type` may end in `*`; `filename` is a part of the name, folded by `storage.catalog.names.fold`.
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

    @property
    def filters(self) -> Sequence[str | None]:
        """The parameters of `_FILTERS`."""
        if not self.is_filtered:
            return ()
        pattern = self.content_type or "*"
        prefix = pattern[:-1] if pattern.endswith("*") else ""
        return (None if pattern.endswith("*") else pattern, prefix, prefix, self.owner_id, self.filename or "")


class _Kind(NamedTuple):
    """What makes two queries have different texts."""

    in_conversation: bool
    sort: Sort
    order: Order
    from_end: bool
    filtered: bool


def _statement(kind: _Kind) -> Statement:
    index = "attachments_of_conversation" if kind.in_conversation else _INDEXES[kind.sort]
    start = "" if kind.from_end else f" AND ({kind.sort}, id) {_STEPS[kind.order]} (?, ?)"
    filters = _FILTERS if kind.filtered else ""
    text = (
        f"SELECT {columns.PAGE_ITEM} FROM attachments INDEXED BY {index}"  # noqa: S608 (constants)
        f" WHERE {_SCOPES[kind.in_conversation]} AND deleted_at IS NULL{start}{filters}"
        f" ORDER BY {kind.sort} {kind.order}, id {kind.order} LIMIT ?"
    )
    on_postgresql = text.replace(f" INDEXED BY {index}", "")
    if kind.in_conversation and kind.sort != "created_at":
        on_postgresql = (
            f"WITH conversation AS MATERIALIZED (SELECT {columns.PAGE_ITEM}{', search_name' if kind.filtered else ''}"  # noqa: S608 (constants)
            f" FROM attachments WHERE {_SCOPES[True]} AND deleted_at IS NULL)"
            f" SELECT {columns.PAGE_ITEM} FROM conversation WHERE true{start}{filters}"
            f" ORDER BY {kind.sort} {kind.order}, id {kind.order} LIMIT ?"
        )
    return sql(text, on_postgresql.replace("instr(", "strpos("))


_BOTH = (False, True)
_STATEMENTS = {
    kind: _statement(kind) for kind in itertools.starmap(_Kind, itertools.product(_BOTH, _INDEXES, _STEPS, _BOTH, _BOTH))
}


class PageTable:
    """The attachments of an organization or a conversation in pages, without the deleted ones."""

    def __init__(self, database: Database, search_s: float) -> None:
        self._database = database
        self._search_s = search_s

    async def page(self, query: PageQuery) -> list[PageItem]:
        """The items of the query in its order.

        Raises SERVICE_UNAVAILABLE when the database fails, and TIMEOUT when no index serves the query and it takes longer than
        `search_s` seconds.
        """
        statement, parameters = statement_of(query)
        if is_served_by_index(query):
            rows = await self._database.rows(statement, parameters)
        else:
            rows = await self._database.rows_apart(statement, parameters, self._search_s)
        return [columns.page_item(row) for row in rows]


def is_served_by_index(query: PageQuery) -> bool:
    """Whether an index gives exactly the rows of the page, so that its cost is known to be small."""
    return not query.is_filtered and (query.conversation_id is None or query.sort == "created_at")


def statement_of(query: PageQuery) -> tuple[Statement, Sequence[Any]]:
    """The statement of the query, which is one of few fixed texts, and its parameters."""
    scope = (query.organization_id,) if query.conversation_id is None else (query.organization_id, query.conversation_id)
    kind = _Kind(query.conversation_id is not None, query.sort, query.order, query.after is None, query.is_filtered)
    return _STATEMENTS[kind], (*scope, *(query.after or ()), *query.filters, query.limit)
