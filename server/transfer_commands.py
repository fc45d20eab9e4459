"""`attachd migrate-storage`: the bytes go from the folder to the bucket or back, beside running servers."""

from pathlib import Path

import click

from schemas import ServiceError
from server.arguments import Failure, Mistake, config_option, with_store
from server.copying import Copied, follow
from server.settings import Settings
from server.upload_rules import BACKENDS, check_s3, place_of
from storage import MEBIBYTE, Store, TransferOptions, exclusive, open_blobs


@click.command("migrate-storage")
@config_option
@click.option(
    "--to", "target", type=click.Choice(BACKENDS), required=True, help="Where the bytes shall be; they are at the other."
)
@click.option("--parallel", type=click.IntRange(1, 64), default=4, show_default=True, help="Files to copy at a time.")
@click.option("--max-mb-per-second", type=click.FloatRange(min=0, min_open=True), help="MiB that are read in a second at most.")
@click.option("--verify", is_flag=True, help="Read also what is at the target already, and compare it.")
@click.option(
    "--remove-source",
    is_flag=True,
    help="Remove the bytes of every attachment whose bytes were read at the target and are right.",
)
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line, for programs; the last one sums up.")
def migrate_storage(
    config: Path | None,
    target: str,
    parallel: int,
    max_mb_per_second: float | None,
    *,
    verify: bool,
    remove_source: bool,
    as_json: bool,
) -> None:
    """Copy the bytes of all attachments from upload.directory to the bucket of upload.s3_bucket, or back.

    Servers go on serving and taking uploads. It may be stopped at any time and goes on when it is run again: what is at the
    target is not copied again, and nothing there is written over. Every copy is compared with the SHA-256 of its attachment,
    then read back. Nothing is removed without --remove-source.

    Reads find the bytes at either place while upload.fallback names the old one: docs/operations.md has the steps. The exit
    code is 1 when bytes were missing or wrong; they are listed.
    """
    options = TransferOptions(
        parallel=parallel,
        max_bytes_per_s=(max_mb_per_second or 0) * MEBIBYTE,
        verify=verify,
        remove_source=remove_source,
    )

    async def run(store: Store, settings: Settings) -> Copied:
        try:
            check_s3(settings.upload)
        except ValueError as error:
            raise Mistake(str(error)) from error
        if remove_source and settings.upload.backend != target:
            raise Mistake(f'--remove-source is for when upload.backend is "{target}": servers would look for the bytes in vain')
        return await _run(store, settings, target, options, as_json=as_json)

    copied = with_store(config, run)
    if copied.problems:
        raise Failure(f"{copied.problems} attachments have not got their bytes at the target")


async def _run(store: Store, settings: Settings, target: str, options: TransferOptions, *, as_json: bool) -> Copied:
    upload = settings.upload
    (source,) = set(BACKENDS) - {target}
    if target == "local":
        upload.directory.mkdir(parents=True, exist_ok=True)
    there, here = open_blobs(place_of(upload, target)), open_blobs(place_of(upload, source), create=False)
    try:
        await there.check()
        with exclusive(upload.directory):
            _, size = await store.totals()
            copied = await follow(store.transfer(here, there, options).run(), size, as_json=as_json)
    except ServiceError as error:
        raise Failure(f"{error}; run it again to go on") from error
    finally:
        await there.aclose()
        await here.aclose()
    if not as_json:
        click.echo(_what_next(settings, source, target, copied), err=True)
    return copied


def _what_next(settings: Settings, source: str, target: str, copied: Copied) -> str:
    if copied.problems:
        return f"Keep {source}: not all bytes are at {target}."
    if settings.upload.backend != target:
        return (
            f'All bytes that there were are at {target}. Set upload.backend = "{target}" and upload.fallback = "{source}", '
            "restart the servers, and run this again for those that came meanwhile."
        )
    if settings.upload.fallback:
        return f"All bytes are at {target}. Take upload.fallback out of the settings and restart the servers."
    return f"All bytes are at {target}."
