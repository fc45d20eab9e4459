"""Values that JavaScript has and Python has not, and the containers under construction.

`SetDraft`, `MapDraft` and `ErrorDraft` stand for a set, map or error while annotations are applied: a path may lead
into them by position, in the order that the client sent, which a Python set does not keep. They never leave `reader`.
"""

from typing import Final

import msgspec

from schemas import Code, ServiceError


class Url(str):
    """An absolute URL, as a client's `URL` object; kept as sent, not normalised."""

    __slots__ = ()


class ErrorValue(msgspec.Struct):
    """A client's `Error`: a value, not an exception of ours. `cause` is UNSET when there is none."""

    name: str
    message: str
    cause: object = msgspec.UNSET


class InvalidDate:
    """The type of INVALID_DATE, which no input type but `object` accepts."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "INVALID_DATE"


INVALID_DATE: Final = InvalidDate()


class SetDraft:
    __slots__ = ("members",)

    def __init__(self, members: list[object]) -> None:
        self.members = members


class MapDraft:
    __slots__ = ("rows",)

    def __init__(self, rows: list[list[object]]) -> None:
        self.rows = rows


class ErrorDraft:
    __slots__ = ("members",)

    def __init__(self, members: dict[str, object]) -> None:
        self.members = members


def refusal(message: str) -> ServiceError:
    """The error to raise for an annotation that cannot be applied."""
    return ServiceError(Code.BAD_REQUEST, f"superjson: {message}")
