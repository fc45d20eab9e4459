"""The command `attachd`: serving and migrating; what else it does has modules of its own."""

import asyncio
import sys
from pathlib import Path

import click

from server import dev, serving
from server.arguments import Mistake, attempt, config_option, load
from server.backup_commands import backup, restore
from server.credential_commands import key, session
from server.doctor_commands import doctor
from server.fsck_commands import fsck
from server.log import configure_logging
from server.migration import ensure_schema
from server.openapi_commands import openapi
from server.outbox_commands import outbox
from server.settings import SettingsError
from server.signing_commands import signing
from server.sweep_commands import sweep
from server.transfer_commands import migrate_storage
from server.type_commands import types


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="attachd", message="%(prog)s %(version)s")
def main() -> None:
    """Keep the attachments of conversations and tickets.

    Settings come from the file of --config, then from variables named ATTACHD_SECTION_KEY, then from options;
    the README lists them.
    """


main.add_command(session)
main.add_command(key)
main.add_command(signing)
main.add_command(outbox)
main.add_command(types)
main.add_command(openapi)
main.add_command(sweep)
main.add_command(fsck)
main.add_command(doctor)
main.add_command(backup)
main.add_command(restore)
main.add_command(migrate_storage)


@main.command()
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


@main.command()
@config_option
def migrate(config: Path | None) -> None:
    """Create the database, or bring it to the newest schema.

    On PostgreSQL nothing else does: run it before `serve`. On SQLite `serve`, and every command that opens the store, does so
    by itself; this is for doing it earlier. It may run beside a server and beside itself.
    """
    settings = load(config)
    migrated = attempt(lambda: asyncio.run(ensure_schema(settings.database.url)))
    click.echo("The database was brought to the newest schema." if migrated else "The database has the newest schema already.")
