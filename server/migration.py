"""Bringing the database to the newest schema in a process of its own.

Alembic and SQLAlchemy stay out of the serving process, whose idle memory is limited (docs/decisions/0012). The URL goes by
standard input, because arguments show in the process list and a URL may hold a password.
"""

import asyncio
import subprocess
import sys

import storage
from schemas import ServiceError

WAIT_S = 60.0  # for a PostgreSQL server that does not answer yet: it may be started together with this


class StartError(Exception):
    """The server cannot start, or a command cannot run; the text is one line that says what to mend."""


async def ensure_schema(database_url: str) -> bool:
    """Migrate unless the schema is current; whether it had to. Raises StartError."""
    try:
        if await storage.schema_is_current(database_url, wait_s=WAIT_S):
            return False
    except ServiceError as error:
        raise StartError(error.message) from error
    # -P: a folder named `storage` in the current directory must not stand for the package.
    command = [sys.executable, "-P", "-m", "server.migration"]
    done = await asyncio.to_thread(subprocess.run, command, input=database_url, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise StartError(f"cannot bring the database to the newest schema: {lines[-1]}")
    return True


def main(database_url: str) -> None:
    """Migrate; what PostgreSQL refuses is one line on standard error."""
    try:
        storage.migrate(database_url)
    except ServiceError as error:
        sys.exit(error.message)


if __name__ == "__main__":
    main(sys.stdin.read())
