"""`attachd doctor`: a line for each thing that was looked at, with what to mend."""

import asyncio
import json
import os
import sys
from pathlib import Path

import click

from server.arguments import config_option
from server.doctor import Check, checks_of, examine
from server.settings import SettingsError, config_file, load_settings
from storage import Diagnosis

_WIDTH = 31  # the longest name and two blanks
_LABELS = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}


@click.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line, for programs.")
def doctor(config: Path | None, *, as_json: bool) -> None:
    """Check the settings against the world: database, bytes, links, mail, limits of this machine.

    A line for each thing: ok, warn or FAIL, the setting, what was found, and what to mend. Nothing is changed: objects and
    files of a few bytes are written, to see that they can be, and removed. Secrets are not shown. It may run before a
    server was ever started, and beside one; run it as the user that serves. The exit code is 1 when something failed.
    """
    try:
        settings = load_settings(config)
    except SettingsError as error:
        _tell([Diagnosis("settings", "fail", str(error), "then run `attachd doctor` again")], as_json=as_json)
        sys.exit(1)
    asyncio.run(_run(checks_of(settings, config_file(config)), as_json=as_json))


async def _run(checks: list[Check], *, as_json: bool) -> None:
    """Make all checks side by side, tell them in order, and end the process."""
    failed = False
    async with asyncio.TaskGroup() as group:
        for task in [group.create_task(examine(check)) for check in checks]:
            found = await task
            failed = failed or any(diagnosis.health == "fail" for diagnosis in found)
            try:
                _tell(found, as_json=as_json)
            except BrokenPipeError:  # whoever read has seen enough, as `head` does
                os._exit(1)
    sys.stdout.flush()
    os._exit(1 if failed else 0)  # a thread may wait for ever for a disk that does not answer: nobody else does


def _tell(found: list[Diagnosis], *, as_json: bool) -> None:
    for diagnosis in found:
        if as_json:
            click.echo(json.dumps(diagnosis._asdict()))
            continue
        mend = f" — mend: {diagnosis.mend}" if diagnosis.mend else ""
        text = " ".join(f"{diagnosis.text}{mend}".split())
        click.echo(f"{_LABELS[diagnosis.health]} {diagnosis.check:<{_WIDTH}}{text}")
