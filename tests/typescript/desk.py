"""A module with a name that another has as well."""

from msgspec import Struct


class Item(Struct, frozen=True):
    """What is to be done."""

    title: str
