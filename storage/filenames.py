"""Which names a file may bear.

Names are kept as the client gave them or refused, never rewritten: they are shown to people and sent back as a download's
name, so they must be one line, one path segment, and read as they are stored.
"""

import re

from schemas import Code, Fault, ServiceError

MAX_NAME_BYTES = 255  # UTF-8; the limit of a file name on ext4, APFS and NTFS, so that what is downloaded can be saved
# Controls, lone surrogates (which UTF-8 cannot hold), line and paragraph separators; and the explicit directional embeddings,
# overrides and isolates (UAX #9), with which `gpj.exe` can be made to read `exe.jpg`.
_REFUSED = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028-\u202e\u2066-\u2069]")


def check_filename(name: str) -> str:
    """The name, if it may be kept. Raises BAD_REQUEST with what to mend."""
    if not name.strip(" ."):
        message = "the file has no name: send one in the part's filename parameter"
        raise ServiceError(Code.BAD_REQUEST, message, fault=Fault.NO_FILENAME)
    if _REFUSED.search(name):
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


def shorten(name: str, max_characters: int) -> str:
    """The name, cut before its extension to at most so many characters and to what `check_filename` takes."""
    if len(name) <= max_characters and len(name.encode("utf-8", "surrogatepass")) <= MAX_NAME_BYTES:
        return name
    stem, dot, extension = name.rpartition(".")
    kept = dot + extension if stem and len(dot + extension) < max_characters else ""
    stem = (stem if kept else name)[: max_characters - len(kept)]
    room = MAX_NAME_BYTES - len(kept.encode("utf-8", "surrogatepass"))
    return stem.encode("utf-8", "surrogatepass")[: max(room, 0)].decode("utf-8", "ignore") + kept
