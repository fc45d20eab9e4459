"""`attachd sweep`: what it removed or moved, a line each, for people or for programs."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click

from server.arguments import Failure, config_option, with_store
from server.settings import Settings
from storage import Store, SweepReport

_DAY_S = 86_400.0


class _Done(NamedTuple):
    """What was done to blobs of one kind, in the infinitive and in the past."""

    do: str
    did: str
    kind: str
    keys: list[str]
    size: int


def _done(report: SweepReport) -> Iterator[_Done]:
    yield _Done("remove", "removed", "unfinished", report.orphans, report.orphan_bytes)
    yield _Done("quarantine", "quarantined", "unclaimed", report.quarantined, report.quarantined_bytes)
    yield _Done("remove", "removed", "quarantined", report.discarded, report.discarded_bytes)
    yield _Done("put back", "put back", "claimed", report.released, report.released_bytes)
    yield _Done("remove", "removed", "deleted", report.expired, report.expired_bytes)
    yield _Done("remove", "removed", "unlinked", report.unlinked, report.unlinked_bytes)


@click.command()
@config_option
@click.option("--dry-run", is_flag=True, help="Only list what would be done.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line, for programs.")
def sweep(config: Path | None, *, dry_run: bool, as_json: bool) -> None:
    """Take away bytes that nothing refers to any more.

    These are what is left of uploads that never finished, older than sweep.grace_seconds; the bytes of attachments deleted
    longer ago than sweep.retention_days; and media older than sweep.unlinked_days that belong to no conversation. Whole
    files that no attachment claims are moved to quarantine, for sweep.quarantine_days; what an attachment claims is put
    back from there. It may run beside a server; run it daily. Attachments whose bytes are missing are listed on standard
    error, and the exit code is then 1.
    """

    async def run(store: Store, settings: Settings) -> SweepReport:
        return await store.sweep(
            grace_s=settings.sweep.grace_seconds,
            quarantine_s=settings.sweep.quarantine_days * _DAY_S,
            retention_s=settings.sweep.retention_days * _DAY_S,
            unlinked_s=settings.sweep.unlinked_days * _DAY_S,
            dry_run=dry_run,
        )

    report = with_store(config, run)
    for line in _json_lines(report, dry_run=dry_run) if as_json else _lines(report, dry_run=dry_run):
        click.echo(line)
    if not as_json:
        for attachment in report.missing:
            click.echo(f"attachment {attachment} has lost its bytes", err=True)
    if report.missing:
        raise Failure(f"{len(report.missing)} attachments have no bytes; restore them from a backup")


def _lines(report: SweepReport, *, dry_run: bool) -> Iterator[str]:
    for done in _done(report):
        verb = f"would {done.do}" if dry_run else done.did
        yield from (f"{verb} {done.kind} {key}" for key in done.keys)
    for done in _done(report):
        verb = f"would {done.do}" if dry_run else done.did
        yield f"{verb} {len(done.keys)} {done.kind} ({done.size} bytes)"


def _json_lines(report: SweepReport, *, dry_run: bool) -> Iterator[str]:
    for done in _done(report):
        for key in done.keys:
            yield json.dumps({"action": done.do, "kind": done.kind, "key": key, "dry_run": dry_run})
    for attachment in report.missing:
        yield json.dumps({"action": "report", "kind": "missing", "attachment": attachment, "dry_run": dry_run})
    totals = {done.kind: {"count": len(done.keys), "bytes": done.size} for done in _done(report)}
    yield json.dumps({"summary": totals | {"missing": {"count": len(report.missing)}}, "dry_run": dry_run})
