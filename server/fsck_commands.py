"""`attachd fsck`: findings on standard output, progress on standard error, and how far it got in a file."""

import sys
from pathlib import Path

import click
import msgspec

from server.arguments import Failure, Mistake, attempt, config_option, with_store
from server.findings import finding_line
from server.progress import progress
from server.settings import Settings
from storage import Finding, Fsck, FsckOptions, Store

CANNOT_FINISH = 3


class _Done(msgspec.Struct, forbid_unknown_fields=True):
    """How far a run got: what the file of `--resume` holds. Everything up to `key` was looked at."""

    checksums: bool
    key: str = ""
    attachments: int = 0
    bytes: int = 0
    findings: dict[str, int] = {}


@click.command()
@config_option
@click.option("--checksums", is_flag=True, help="Read every file, and compare it with the SHA-256 of its attachment.")
@click.option("--repair", is_flag=True, help="Put back from quarantine what an attachment claims; set wrong counters right.")
@click.option(
    "--resume",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Keep in this file how far it got, and go on from there when it exists; it is removed at the end.",
)
@click.option("--parallel", type=click.IntRange(1, 64), default=4, show_default=True, help="Files to read at a time.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line, for programs; the last one sums up.")
def fsck(config: Path | None, resume: Path | None, *, checksums: bool, repair: bool, parallel: int, as_json: bool) -> None:
    """Check that the table of attachments, their bytes and the counters agree.

    It finds attachments without bytes, bytes without an attachment that are older than sweep.grace_seconds, sizes and
    digests that differ, and counters that are wrong. It changes nothing without --repair, and may run beside servers: an
    upload under way is no finding.

    The exit code is 0 when all agrees, 1 when something was found, 2 for options or settings that cannot be used, and 3
    when it did not come to an end: the database or the storage did not answer, or it was stopped.
    """
    done = _read(resume, checksums=checksums)

    async def run(store: Store, settings: Settings) -> None:
        options = FsckOptions(grace_s=settings.sweep.grace_seconds, checksums=checksums, repair=repair, parallel=parallel)
        await _run(store.fsck(options), done, resume, as_json=as_json)

    try:
        with_store(config, run)
    except Mistake:
        raise
    except (Failure, KeyboardInterrupt) as error:
        why = error.message if isinstance(error, Failure) else "it was stopped"
        click.echo(f"Error: {why}{f'; run it again to go on ({resume})' if resume else ''}", err=True)
        sys.exit(CANNOT_FINISH)
    if resume is not None:
        attempt(lambda: resume.unlink(missing_ok=True))
    click.echo(_summary(done, as_json=as_json))
    sys.exit(1 if done.findings else 0)


async def _run(check: Fsck, done: _Done, resume: Path | None, *, as_json: bool) -> None:
    count, size = await check.totals()
    with progress("bytes" if done.checksums else "attachments", size if done.checksums else count) as bar:
        bar.advance(done.bytes if done.checksums else done.attachments)
        async for event in check.run(done.key):
            if isinstance(event, Finding):
                done.findings[event.finding] = done.findings.get(event.finding, 0) + 1
                bar.tell(msgspec.json.encode(event).decode() if as_json else finding_line(event))
                continue
            done.key, done.attachments, done.bytes = event.key, done.attachments + event.rows, done.bytes + event.size
            bar.advance(event.size if done.checksums else event.rows)
            if resume is not None:
                _write(resume, done)


def _read(file: Path | None, *, checksums: bool) -> _Done:
    """Where to go on. Raises Mistake for a file that is none of ours, or of a run that was another."""
    if file is None or not file.exists():
        return _Done(checksums=checksums)
    try:
        done = msgspec.json.decode(attempt(file.read_bytes), type=_Done)
    except msgspec.DecodeError as error:
        raise Mistake(f"{file} is not a file that `attachd fsck --resume` wrote") from error
    if done.checksums != checksums:
        raise Mistake(f"{file} is of a run {'with' if done.checksums else 'without'} --checksums; go on likewise, or remove it")
    return done


def _write(file: Path, done: _Done) -> None:
    """Keep it: whatever happens, the file is whole."""
    new = file.with_name(f"{file.name}.new")
    new.write_bytes(msgspec.json.encode(done))
    new.replace(file)


def _summary(done: _Done, *, as_json: bool) -> str:
    if as_json:
        return msgspec.json.encode(
            {"summary": {"attachments": done.attachments, "bytes": done.bytes, "findings": done.findings}}
        ).decode()
    found = ", ".join(f"{count} {kind}" for kind, count in sorted(done.findings.items())) or "all agree"
    how = "read" if done.checksums else "looked at"
    return f"{how} {done.attachments} attachments ({done.bytes} bytes): {found}"
