"""A made-up router with every feature of types, whose module stands in golden/router.ts as it was written by hand."""

import dataclasses
import datetime as dt
import decimal
import enum
import re
import uuid
from collections.abc import AsyncIterator, Awaitable
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, NotRequired, TypedDict, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from procedures import Context, FileInput, Router, Tracked
from schemas import Code, ServiceError
from server.trpc.superjson import ErrorValue, Url
from storage import Upload
from tests.typescript import desk, shop

T = TypeVar("T")
Slug = NewType("Slug", str)
Size = Annotated[int, Meta(ge=1, le=200, description="How many.")]


class Color(enum.Enum):
    """What it looks like."""

    RED = "red"
    DEEP_BLUE = "deep blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Unit(enum.StrEnum):
    METRE = "m"
    SECOND = "s"


class Leaves(Struct, frozen=True):
    """Everything without parts.

    A second paragraph, which ends no comment: */ is harmless.
    """

    anything: Any
    flag: bool
    count: int
    huge: Annotated[int, Meta(le=2**62)]
    ratio: float
    slug: Slug
    raw: bytes
    moment: dt.datetime
    day: dt.date
    clock: dt.time
    lasting: dt.timedelta
    price: decimal.Decimal
    key: uuid.UUID
    page: Url
    pattern: re.Pattern[str]
    failure: ErrorValue
    color: Color
    level: Level
    fixed: Literal["on", "off", 3, True] | None


class Local(Struct, frozen=True):
    """A time without zone is no moment: it is text, and cannot be sent back."""

    at: Annotated[dt.datetime, Meta(tz=False)]


class Containers(Struct, frozen=True):
    names: list[str]
    nullable_names: list[str | None]
    matrix: list[list[int]]
    several: tuple[int, ...]
    pair: tuple[int, str]
    tags: set[str]
    frozen: frozenset[int]
    by_name: dict[str, int]
    by_number: dict[int, str]
    by_unit: dict[Unit, float]
    by_letter: dict[Literal["a", "b"], bool]
    by_key: dict[uuid.UUID, int]
    by_either: dict[str | int, int]
    by_anything: dict[Any, int]
    untyped: list  # type: ignore[type-arg]  # what a bare list becomes


class Options(Struct, frozen=True, kw_only=True, rename="camel"):
    """Optional and nullable."""

    must_be: Annotated[str, Meta(description="Always there.")]
    may_be_null: str | None
    page_size: Size = 50
    with_color: Color = Color.RED
    list_of_names: list[str] = msgspec.field(default_factory=list)
    null_by_default: Annotated[str, Meta(description="A name.")] | None = None
    unset_by_default: str | UnsetType = UNSET
    content_type: str = msgspec.field(default="text/plain", name="content-type")


class Sparse(Struct, frozen=True, omit_defaults=True):
    always: int
    sometimes: int = 0


class Node(Struct, frozen=True):
    """A tree."""

    name: str
    children: "list[Node]" = []


class Cat(Struct, frozen=True, tag="cat"):
    lives: int


class Dog(Struct, frozen=True, tag_field="kind", tag="dog"):
    tricks: list[str]


class Bird(Struct, frozen=True, tag_field="kind", tag="bird"):
    wings: int


class Point(Struct, frozen=True, array_like=True):
    """On the wire an array."""

    x: float
    y: float
    label: str = ""


class Range(NamedTuple):
    start: int
    stop: int = 0


@dataclasses.dataclass(frozen=True)
class Settings:
    width: int
    height: int = 480


class Headers(TypedDict):
    accept: str
    range: NotRequired[str]


class Page(Struct, Generic[T], frozen=True):
    """A page of anything."""

    items: list[T]
    next_cursor: str | None


class Later(Struct, frozen=True):
    now: str
    soon: Awaitable[int]
    piece_by_piece: AsyncIterator[Node]


router = Router()


@router.query()
async def nothing(ctx: Context) -> None:
    """No input, no output."""


@router.query(name="leaves.get")
async def leaves(ctx: Context, input: Leaves) -> Leaves:
    """Leaves in both directions.

    They differ by the decimal, which may be sent as text.
    """
    return input


@router.query()
async def local(ctx: Context, input: Local) -> str:
    return input.at.isoformat()


@router.query(name="leaves.containers")
async def containers(ctx: Context, input: Containers) -> Containers:
    return input


@router.mutation(name="leaves.deep.options")
async def options(ctx: Context, input: Options) -> Options:
    return input


@router.mutation()
async def sparse(ctx: Context, input: Sparse | None) -> Sparse | None:
    return input


@router.query()
async def tree(ctx: Context, input: Node) -> list[Node]:
    return [input]


@router.query()
async def animals(ctx: Context, input: Dog | Bird) -> Cat:
    return Cat(lives=len(input.tricks) if isinstance(input, Dog) else input.wings)


@router.query()
async def arrays(ctx: Context, input: Point) -> tuple[Range, Point]:
    return Range(int(input.x), int(input.y)), input


@router.query()
async def dicts(ctx: Context, input: Settings) -> Headers:
    return {"accept": f"{input.width}x{input.height}"}


@router.query()
async def headers(ctx: Context, input: Headers) -> Settings:
    return Settings(width=len(input["accept"]))


@router.query()
async def pages(ctx: Context, input: list[str]) -> Page[Node]:
    return Page([Node(name) for name in input], None)


@router.query(name="pages_of_text")
async def pages_of_text(ctx: Context, input: str) -> tuple[Page[str], Page[list[int] | None]]:
    return Page([input], "next"), Page([[1], None], None)


@router.query()
async def items(ctx: Context) -> tuple[shop.Map, shop.Item, desk.Item]:
    return shop.Map(3), shop.Item(4), desk.Item("five")


@router.query()
async def later(ctx: Context) -> Later:
    async def pieces() -> AsyncIterator[Node]:
        yield Node("first")
        yield Node("second")

    async def soon() -> int:
        return 7

    return Later("now", soon(), pieces())


@router.query()
async def count(ctx: Context, input: int) -> AsyncIterator[int]:
    yield input


@router.mutation()
async def upload(ctx: Context, input: FileInput) -> str:
    def begin(filename: str, least_bytes: int | None) -> Upload:
        raise ServiceError(Code.NOT_IMPLEMENTED, f"{filename} is not kept here")

    return (await input.store(begin)).filename


@router.subscription()
async def ticks(ctx: Context) -> AsyncIterator[dt.datetime]:
    yield dt.datetime.now(dt.UTC)


@router.subscription()
async def changes(ctx: Context, input: Literal["all", "mine"]) -> AsyncIterator[Tracked[Node]]:
    yield Tracked("1", Node("root"))
