"""The command `attachd`: serving, and looking after what is kept. Credentials have a module of their own."""

import asyncio
import sys
from pathlib import Path

import click

from server import dev, serving
from server.arguments import Failure, Mistake, attempt, config_option, load, with_store
from server.credential_commands import key, session
from server.log import configure_logging
from server.migration import ensure_schema
from server.openapi_commands import openapi
from server.outbox_commands import outbox
from server.settings import Settings, SettingsError
from server.signing_commands import signing
from server.type_commands import types
from storage import Store, SweepReport

_DAY_S = 86_400.0


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

    Requests in flight are then finished, within server.shutdown_grace_seconds. The database is created, or brought to
    the newest schema, before the first request.
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
    sys.exit(attempt(lambda: dev.serve(settings) if development else serving.serve(settings)))


@main.command()
@config_option
def migrate(config: Path | None) -> None:
    """Create the database, or bring it to the newest schema.

    `serve` does so by itself; this is for doing it earlier. It may run beside a server and beside itself.
    """
    settings = load(config)
    migrated = attempt(lambda: asyncio.run(ensure_schema(settings.database.url)))
    click.echo("The database was brought to the newest schema." if migrated else "The database has the newest schema already.")


@main.command()
@config_option
@click.option("--dry-run", is_flag=True, help="Only list what would be removed.")
def sweep(config: Path | None, *, dry_run: bool) -> None:
    """Remove bytes that nothing refers to any more.

    These are the bytes of uploads that never finished, older than sweep.grace_seconds, of attachments deleted longer
    ago than sweep.retention_days, and media older than sweep.unlinked_days that belong to no conversation. It may run
    beside a server; run it daily. Attachments whose bytes are missing are listed on standard error, and the exit code is
    then 1.
    """

    async def run(store: Store, settings: Settings) -> SweepReport:
        grace_s, retention_s = settings.sweep.grace_seconds, settings.sweep.retention_days * _DAY_S
        unlinked_s = settings.sweep.unlinked_days * _DAY_S
        return await store.sweep(grace_s=grace_s, retention_s=retention_s, unlinked_s=unlinked_s, dry_run=dry_run)

    report = with_store(config, run)
    verb = "would remove" if dry_run else "removed"
    for kind, paths in (("unfinished", report.orphans), ("deleted", report.expired), ("unlinked", report.unlinked)):
        for path in paths:
            click.echo(f"{verb} {kind} {path}")
    click.echo(f"{verb} {len(report.orphans)} unfinished ({report.orphan_bytes} bytes)")
    click.echo(f"{verb} {len(report.expired)} deleted ({report.expired_bytes} bytes)")
    click.echo(f"{verb} {len(report.unlinked)} unlinked ({report.unlinked_bytes} bytes)")
    for attachment in report.missing:
        click.echo(f"attachment {attachment} has lost its bytes", err=True)
    if report.missing:
        raise Failure(f"{len(report.missing)} attachments have no bytes; restore them from a backup")
