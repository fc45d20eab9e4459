"""`attachd types`: what a TypeScript client knows of the procedures, written or compared with what was written before."""

from pathlib import Path

import click

from procedures import app_router
from server.arguments import Failure, attempt
from server.typescript import COMMAND, render_module

_file = click.Path(path_type=Path, dir_okay=False)


@click.command("types")
@click.option("--output", type=_file, metavar="FILE", help="Write the module to this file instead of standard output.")
@click.option("--check", type=_file, metavar="FILE", help="Write nothing; fail unless this file holds the module as it is now.")
def types(output: Path | None, check: Path | None) -> None:
    """Write the TypeScript module that exports AppRouter.

    It types @trpc/client and its relatives, imports types only, and is the same text for the same procedures.
    """
    text = render_module(app_router().freeze())
    if check is not None:
        if attempt(lambda: check.read_text(encoding="utf-8")) != text:
            raise Failure(f"{check} is not current: renew it with `{COMMAND} --output {check}`")
    elif output is not None:
        attempt(lambda: output.write_text(text, encoding="utf-8"))
    else:
        click.echo(text, nl=False)
