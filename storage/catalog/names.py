"""File names as searches compare them: the same text in every engine, because Python makes it and not the database."""

import unicodedata


def fold(text: str) -> str:
    """The text without the differences that a search ignores: upper and lower case, composed and decomposed accents."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFC", text.casefold())


def search_name(filename: str) -> str | None:
    """What the column `search_name` holds: None for ASCII, most names, of which the database's own `lower` makes the same."""
    return None if filename.isascii() else fold(filename)
