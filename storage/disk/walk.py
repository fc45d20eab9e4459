"""Which files of a folder are ours, in the order of their keys, so that a walk that was left can be gone on with."""

import os
import re
from collections.abc import Iterator

from storage.blobs import BLOB_KEY, QUARANTINE, UUID, BlobInfo
from storage.disk.folder import PARTIAL

# The files that this program makes. What else lies in the folder is somebody's, and sweep must not even look at it.
_OURS = re.compile(
    rf"(?:(?:{QUARANTINE})?{BLOB_KEY}"
    rf"|attachments/[^/]+/\.{UUID}{re.escape(PARTIAL)}"
    rf"|\.check-{UUID}{re.escape(PARTIAL)})\Z"
)
_OUR_FOLDER = re.compile(rf"(?:{QUARANTINE})?(?:attachments/(?:[^/]+/)?)?\Z")


def walk(root: str, after: str) -> Iterator[BlobInfo]:
    """Our files below `root` whose key is behind `after`, in the order of the keys. Blocks. Raises OSError."""
    for key, path in _below(root, "", after):
        if _OURS.match(key):
            try:
                status = os.stat(path, follow_symlinks=False)
            except FileNotFoundError:
                continue  # committed or removed meanwhile
            yield BlobInfo(key, status.st_size, status.st_mtime, key.endswith(PARTIAL))


def _below(folder: str, prefix: str, after: str) -> Iterator[tuple[str, str]]:
    """Key and path of every file; a folder counts as its name and a slash, so that keys come in the order of their text."""
    try:
        with os.scandir(folder) as entries:
            found = sorted((f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name) for entry in entries)
    except FileNotFoundError:
        if not prefix:  # the root itself: an unmounted disk, say, which must not look like an empty one
            raise
        return  # removed meanwhile
    for name in found:
        key = prefix + name
        if name.endswith("/"):
            if _OUR_FOLDER.match(key) and key >= after[: len(key)]:  # else all below it comes before `after`
                yield from _below(f"{folder}/{name[:-1]}", key, after)
        elif key > after:
            yield key, f"{folder}/{name}"
