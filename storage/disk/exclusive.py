"""One process at a time may have a folder to itself. The kernel takes it back when the process ends, however it does."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from schemas import Code, ServiceError


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Have the folder, which must exist, to oneself among those who ask for that.

    Raises CONFLICT when another process has it, OSError when it cannot be opened.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = f"another process is copying from or to {folder}: let it finish, then try again"
            raise ServiceError(Code.CONFLICT, message) from error
        yield
    finally:
        os.close(descriptor)
