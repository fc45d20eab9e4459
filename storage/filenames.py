"""Which names a file may bear.

Names are kept as the client gave them or refused, never rewritten: they are shown to people and sent back as a download's
name, so they must be one line, one path segment, and read as they are stored.
"""

import unicodedata

from schemas import Code, ServiceError

MAX_NAME_BYTES = 255  # UTF-8; the limit of a file name on ext4, APFS and NTFS, so that what is downloaded can be saved
# Explicit directional embeddings, overrides and isolates (UAX #9): `gpj.exe` can be made to read `exe.jpg`.
_BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_REFUSED_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})  # controls, surrogates, line and paragraph separators


def check_filename(name: str) -> str:
    """The name, if it may be kept. Raises BAD_REQUEST with what to mend."""
    if not name.strip(" ."):
        raise ServiceError(Code.BAD_REQUEST, "the file has no name: send one in the part's filename parameter")
    if any(unicodedata.category(character) in _REFUSED_CATEGORIES or character in _BIDI_CONTROLS for character in name):
        raise ServiceError(Code.BAD_REQUEST, "the file name has control or text-direction characters: remove them")
    if "/" in name or "\\" in name:
        raise ServiceError(Code.BAD_REQUEST, "the file name has a slash or backslash: send the name without its folders")
    if len(name.encode()) > MAX_NAME_BYTES:
        raise ServiceError(Code.BAD_REQUEST, f"the file name exceeds {MAX_NAME_BYTES} bytes: shorten it")
    return name


def extension_of(name: str) -> str:
    """What follows the last dot, in lower case; empty if there is no dot, or only a leading one."""
    stem, dot, extension = name.rpartition(".")
    return extension.lower() if stem and dot else ""
