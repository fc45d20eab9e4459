"""`attachd backup` and `attachd restore`: of the embedded default, a SQLite file and the bytes of its rows."""

import asyncio
from pathlib import Path

import click
import msgspec

from server.arguments import Failure, Mistake, attempt, config_option, load, with_store
from server.copying import Copied, follow
from server.findings import finding_line
from server.progress import progress
from server.settings import Settings
from server.upload_rules import place_of
from storage import MEBIBYTE, Backup, Finding, Store, TransferOptions, is_postgresql, open_blobs, sqlite_path

_folder = click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
_parallel = click.option(
    "--parallel", type=click.IntRange(1, 64), default=4, show_default=True, help="Files to copy or read at a time."
)
_json = click.option("--json", "as_json", is_flag=True, help="A JSON object a line, for programs; the last one sums up.")


def _database(settings: Settings) -> Path:
    """The file of the database. Raises Mistake for another one."""
    if is_postgresql(settings.database.url):
        raise Mistake("this is for SQLite: docs/operations.md says how PostgreSQL and its bytes are backed up and put back")
    return sqlite_path(settings.database.url)


@click.command()
@config_option
@_folder
@click.option("--verify", is_flag=True, help="Read all of the backup and compare it with its checksums; make none.")
@_parallel
@click.option("--max-mb-per-second", type=click.FloatRange(min=0, min_open=True), help="MiB that are read in a second at most.")
@_json
def backup(
    config: Path | None, folder: Path, parallel: int, max_mb_per_second: float | None, *, verify: bool, as_json: bool
) -> None:
    """Bring the backup in FOLDER up to date: the SQLite database as it is now, and the bytes of all its attachments.

    Servers go on. FOLDER is made if need be; what is in it already is not copied again. Until the new backup is whole the
    earlier one counts, so that it may be stopped at any time. Every file is compared with its SHA-256.

    The exit code is 1 when the store had lost bytes, or damaged ones: they are listed, and the rest is in the backup; and
    when --verify finds something.
    """
    settings = load(config)
    database = _database(settings)
    if verify:
        attempt(lambda: asyncio.run(_verify(Backup(folder), parallel, as_json=as_json)))
        return
    options = TransferOptions(parallel=parallel, max_bytes_per_s=(max_mb_per_second or 0) * MEBIBYTE)

    async def run(store: Store, settings: Settings) -> Copied:
        _, size = await store.totals()
        events = store.backup(folder, database, settings.database.busy_timeout_seconds, options)
        return await follow(events, size, as_json=as_json)

    copied = with_store(config, run)
    if copied.problems:
        raise Failure(f"the store lacks the bytes of {copied.problems} attachments; the backup has all the others")


async def _verify(backup: Backup, parallel: int, *, as_json: bool) -> None:
    manifest = backup.manifest()
    findings = 0
    with progress("bytes", manifest.bytes) as bar:
        async for event in backup.verify(parallel):
            if isinstance(event, Finding):
                findings += 1
                bar.tell(msgspec.json.encode(event).decode() if as_json else finding_line(event))
            else:
                bar.advance(event.size)
    if as_json:
        click.echo(msgspec.json.encode({"summary": {"findings": findings, "backup": manifest}}).decode())
    else:
        click.echo(f"backup of {manifest.created_at}: {manifest.attachments} attachments ({manifest.bytes} bytes)")
    if findings:
        raise Failure(f"{findings} files of the backup are missing or damaged")


@click.command()
@config_option
@_folder
@click.option("--partial", is_flag=True, help="Put the database in place also when files are missing or damaged.")
@_parallel
@_json
def restore(config: Path | None, folder: Path, parallel: int, *, partial: bool, as_json: bool) -> None:
    """Put the database and the bytes of the backup in FOLDER where the settings say that they are.

    No server may run. Nothing is written over: the database must not be there, and a file that is there must be that of
    the backup. Every file is compared with its SHA-256, and the database is put in place last, so that it may be stopped
    at any time and run again. The exit code is 1 when files were missing or wrong, and the database is then not in place,
    unless --partial wants it.
    """
    settings = load(config)
    database = _database(settings)

    async def run() -> Copied:
        target = open_blobs(place_of(settings.upload, settings.upload.backend))
        try:
            source = Backup(folder)
            options = TransferOptions(parallel=parallel, verify=True)
            events = source.restore(database, target, options, partial=partial)
            return await follow(events, source.manifest().bytes, as_json=as_json)
        finally:
            await target.aclose()

    copied = attempt(lambda: asyncio.run(run()))
    if copied.problems:
        place = "is in place all the same" if partial else "is not in place; --partial puts it there"
        raise Failure(f"{copied.problems} attachments have not got their bytes; the database {place}")
