"""Runs the SeaweedFS of a run of tests until nobody needs it any more.

python -m tests.engines.seaweedfs_keeper USERS PLACE
"""

import sys
import tempfile
from pathlib import Path

from tests.engines.keeping import keep
from tests.engines.seaweedfs import SeaweedFS


def main(users: Path, place: Path) -> None:
    """Start the server, tell where it is, wait, kill it."""
    with SeaweedFS(Path(tempfile.mkdtemp(prefix="attachd-seaweedfs-"))) as server:
        keep(users, place, {"url": server.url})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
