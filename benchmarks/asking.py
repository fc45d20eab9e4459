"""What the measurement of tables of many rows asks: the cases, and their inputs from all over a table."""

import itertools
import random
from typing import Any

import msgspec

from benchmarks import bulk
from benchmarks.calls import encode, wrap
from benchmarks.turns import Line
from schemas import Order, Page, PageInput, PageItem, Sort
from storage.pages import cursor_of

_SORTS: tuple[Sort, ...] = ("created_at", "filename", "size")
_ORDERS: tuple[Order, ...] = ("asc", "desc")
_DIRECTIONS = ("forward", "backward")
_PLACES = ("first", "middle", "last")
_CHOSEN = 1000  # rows of a table that inputs are made of


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A procedure, and of `page` which one."""

    procedure: str
    of: str = ""  # "organization" or "conversation"
    sort: Sort = "created_at"
    order: Order = "asc"
    direction: str = ""
    place: str = ""

    @property
    def kind(self) -> str:
        """What one line of the table is about."""
        return f"{self.procedure} of {self.of} by {self.sort}" if self.of else self.procedure

    @property
    def variant(self) -> str:
        """Which of its kind."""
        return f"{self.place} {self.order} {self.direction}" if self.of else ""

    @property
    def is_sorted(self) -> bool:
        """Whether its rows, which are those of one conversation, are sorted for it (docs/decisions/0016-pages-and-usage.md)."""
        return self.of == "conversation" and self.sort != "created_at"


CASES = (
    Case(procedure="get"),
    Case(procedure="list"),
    *(
        Case(procedure="page", of=of, sort=sort, order=order, direction=direction, place=place)
        for of, sort, order, direction, place in itertools.product(
            ("organization", "conversation"), _SORTS, _ORDERS, _DIRECTIONS, _PLACES
        )
    ),
)


class Asker:
    """Makes inputs for one table and sends them to the server on it."""

    def __init__(self, line: Line, count: int) -> None:
        self.line = line
        source = random.Random(count)
        chosen = set(source.sample(range(count), min(_CHOSEN, count)))
        self._rows = [row for number, row in enumerate(bulk.rows(count)) if number in chosen]
        source.shuffle(self._rows)

    def inputs(self, case: Case, count: int) -> list[dict[str, Any]]:
        """So many inputs, each from another row."""
        return [self._input(case, row) for row in self._rows[:count]]

    def _input(self, case: Case, row: PageItem) -> dict[str, Any]:
        if case.procedure == "get":
            return {"id": row.id}
        scope = {} if case.of == "organization" else {"conversationId": row.conversation_id}
        if case.procedure == "list":
            return scope
        asked = scope | {"sort": case.sort, "order": case.order, "direction": case.direction}
        if case.place == "middle":
            return asked | {"cursor": cursor_of(row, case.sort, case.order)}
        if case.place == "last":
            return asked | {"cursor": self._end(asked, case)}
        return asked

    def close(self) -> None:
        """Close the connection."""
        self.line.close()

    def _end(self, asked: dict[str, Any], case: Case) -> str:
        """The cursor before the last page: what is reached first from the other side."""
        other_way = asked | {"direction": "backward" if case.direction == "forward" else "forward"}
        answer = msgspec.json.decode(self.line.get(path_of("page", other_way)))
        items = msgspec.convert(answer["result"]["data"]["json"], Page).items
        return cursor_of(items[0 if case.direction == "forward" else -1], case.sort, case.order)


def path_of(procedure: str, value: dict[str, Any]) -> str:
    """The path of a query."""
    return f"/api/trpc/attachments.{procedure}?input={encode(wrap(value))}"


def page_input(value: dict[str, Any]) -> PageInput:
    """The input of `page` as the server reads it."""
    return msgspec.convert(value, PageInput)
