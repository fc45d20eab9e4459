"""What is durable only when it was asked for."""

import os


def fsync(folder: str) -> None:
    """Make the entries of a folder durable: the names that were created, renamed or removed in it. Blocks."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
