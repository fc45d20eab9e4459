"""Where attachd keeps bytes in tests, seen and touched beside the program."""

import os
import time
from pathlib import Path
from typing import Protocol


class Bytes(Protocol):
    """A place for bytes of a test's own. Keys are those of the program's blobs."""

    settings: dict[str, str]

    def kept(self) -> set[str]:
        """All that is kept, unfinished uploads too."""
        ...

    def read(self, key: str) -> bytes:
        """The bytes of a blob."""
        ...

    def write(self, key: str, content: bytes) -> None:
        """Keep a blob, over what is there."""
        ...

    def remove(self, key: str) -> None:
        """Lose a blob."""
        ...


class LocalBytes:
    """A folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = {"ATTACHD_UPLOAD_DIRECTORY": str(folder)}

    def kept(self) -> set[str]:
        """See `Bytes`."""
        found: set[str] = set()
        for folder, _, names in os.walk(self.folder):  # unlike Path.rglob, it passes over what goes away meanwhile
            found.update(str(Path(folder, name).relative_to(self.folder)) for name in names)
        return found

    def read(self, key: str) -> bytes:
        """See `Bytes`."""
        return (self.folder / key).read_bytes()

    def write(self, key: str, content: bytes, age_s: float = 0) -> None:
        """See `Bytes`; last written so many seconds ago."""
        path = self.folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (time.time() - age_s,) * 2)

    def remove(self, key: str) -> None:
        """See `Bytes`."""
        (self.folder / key).unlink()
