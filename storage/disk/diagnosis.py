"""How it is with the folder of the bytes."""

import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from storage.diagnosis import Diagnosis, file_system, is_remote, space
from storage.ids import fresh_id

_CHECK = "upload.directory"
_SLOW_S = 0.5  # for two syncs: each upload waits for three
_LEAST_BYTES, _LEAST_INODES = 2**30, 10_000


def examine_folder(directory: Path) -> list[Diagnosis]:
    """What is found out by looking and by writing a file of a few bytes. Blocks."""
    if not directory.exists():
        return [_missing(directory)]
    if not directory.is_dir():
        return [Diagnosis(_CHECK, "fail", f"{directory} is not a folder", "name a folder of its own")]
    try:
        seconds = _write(directory)
    except OSError as error:
        mend = f"let uid {os.geteuid()} write there, or mend the disk"
        return [Diagnosis(_CHECK, "fail", f"{directory} cannot be written: {error.strerror}", mend)]
    return [_speed(directory, seconds), *_rights(directory), *_room(directory)]


def _missing(directory: Path) -> Diagnosis:
    parent = next(parent for parent in directory.absolute().parents if parent.exists())
    if os.access(parent, os.W_OK | os.X_OK):
        return Diagnosis(_CHECK, "warn", f"{directory} does not exist; `attachd serve` makes it", "is its disk mounted?")
    return Diagnosis(
        _CHECK, "fail", f"{directory} does not exist, and {parent} cannot be written", f"let uid {os.geteuid()} write there"
    )


def _write(directory: Path) -> float:
    """Write a file, make it durable, rename and remove it, as uploads do; how many seconds that took. Raises OSError."""
    path, renamed = (directory / f".check-{fresh_id()}.partial" for _ in range(2))
    begun = time.perf_counter()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            os.write(descriptor, b"attachd")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        path.rename(renamed)
        folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        path.unlink(missing_ok=True)
        renamed.unlink(missing_ok=True)
    return time.perf_counter() - begun


def _speed(directory: Path, seconds: float) -> Diagnosis:
    text = f"{directory}: written, synced and removed in {seconds * 1000:.0f} ms"
    if seconds > _SLOW_S:
        return Diagnosis(_CHECK, "warn", text, "uploads wait for this: a disk that syncs faster, or fewer others on it")
    return Diagnosis(_CHECK, "ok", text)


def _rights(directory: Path) -> Iterator[Diagnosis]:
    status = directory.stat()
    if status.st_uid != os.geteuid():
        text = f"{directory} belongs to uid {status.st_uid}, this runs as uid {os.geteuid()}"
        yield Diagnosis(_CHECK, "warn", text, "run commands as the user that serves, and let the folder be its own")
    if status.st_mode & stat.S_IRWXO:
        text = f"{directory} is open to every user of this machine (mode {stat.S_IMODE(status.st_mode):03o})"
        yield Diagnosis(_CHECK, "warn", text, f"chmod o-rwx {directory}")
    if is_remote(kind := file_system(directory)):
        text = f"{directory} is on {kind}, which is another machine's"
        yield Diagnosis(_CHECK, "warn", text, "see that it honours fsync; for several machines S3 is made")


def _room(directory: Path) -> Iterator[Diagnosis]:
    room = os.statvfs(directory)
    yield space(_CHECK, room.f_bavail * room.f_frsize, room.f_blocks * room.f_frsize, "bytes", _LEAST_BYTES)
    if room.f_files:  # btrfs and others have no fixed number
        yield space(_CHECK, room.f_favail, room.f_files, "inodes", _LEAST_INODES)
