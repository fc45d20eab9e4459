"""`attachd migrate`."""

import asyncio
from pathlib import Path

import click

from server.arguments import attempt, config_option, load
from server.migration import ensure_schema


@click.command()
@config_option
def migrate(config: Path | None) -> None:
    """Create the database, or bring it to the newest schema.

    On PostgreSQL nothing else does: run it before `serve`. On SQLite `serve`, and every command that opens the store, does so
    by itself; this is for doing it earlier. It may run beside a server and beside itself.
    """
    settings = load(config)
    migrated = attempt(lambda: asyncio.run(ensure_schema(settings.database.url)))
    click.echo("The database was brought to the newest schema." if migrated else "The database has the newest schema already.")
