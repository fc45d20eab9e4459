"""Runs the PostgreSQL server of a run of tests until nobody needs it any more.

python -m tests.engines.postgresql_keeper USERS PLACE
"""

import sys
from pathlib import Path

from tests.engines.keeping import keep
from tests.engines.postgresql_server import PostgresqlServer


def main(users: Path, place: Path) -> None:
    """Start the server, tell where it is, wait, stop it."""
    # Nothing of it must outlive the machine, and tests commit thousands of times: no fsync.
    with PostgresqlServer(durable=False) as server:
        keep(users, place, {"folder": str(server.folder), "port": server.port})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
