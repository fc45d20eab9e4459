"""A module with names that others have as well."""

from msgspec import Struct


class Item(Struct, frozen=True):
    """What is sold."""

    price: int


class Map(Struct, frozen=True):
    """Named like a type of the language."""

    scale: int
