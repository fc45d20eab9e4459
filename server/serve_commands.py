"""`attachd serve`."""

import sys
from pathlib import Path

import click

from server import dev, serving
from server.arguments import Mistake, attempt, config_option, load
from server.log import configure_logging
from server.settings import SettingsError


@click.command()
@config_option
@click.option("--host", help="Address to listen on, instead of server.host.")
@click.option("--port", type=int, help="Port to listen on, instead of server.port; 0 picks a free one.")
@click.option("--workers", type=int, help="Number of processes, instead of server.workers.")
@click.option(
    "--dev", "development", is_flag=True, help="Try it out: loopback only, all in ./data, demo credentials, curl lines."
)
def serve(config: Path | None, host: str | None, port: int | None, workers: int | None, *, development: bool) -> None:
    """Serve until SIGTERM or Ctrl+C.

    Requests in flight are then finished, within server.shutdown_grace_seconds. On SQLite the database is created, or
    brought to the newest schema, before the first request; on PostgreSQL `migrate` must have done that.
    """
    configure_logging()
    given = {"server.host": host, "server.port": port, "server.workers": workers}
    options: dict[str, object] = {name: value for name, value in given.items() if value is not None}
    if development:
        try:
            options |= dev.dev_options(host)
        except SettingsError as error:
            raise Mistake(str(error)) from error
    settings = load(config, options)
    configure_logging(settings.log.level, settings.log.format)
    sys.exit(attempt(lambda: dev.serve(settings) if development else serving.serve(settings)))
