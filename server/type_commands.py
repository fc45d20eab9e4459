"""`attachd types`: what a TypeScript client knows of the procedures, written or compared with what was written before."""

from pathlib import Path

import click

from procedures import Procedures, app_router
from server.arguments import Failure, Mistake, attempt, config_option, load
from server.plugins import load_routers
from server.settings import SettingsError
from server.typescript import COMMAND, render_module

_file = click.Path(path_type=Path, dir_okay=False)


@click.command("types")
@config_option
@click.option("--output", type=_file, metavar="FILE", help="Write the module to this file instead of standard output.")
@click.option("--check", type=_file, metavar="FILE", help="Write nothing; fail unless this file holds the module as it is now.")
def types(config: Path | None, output: Path | None, check: Path | None) -> None:
    """Write the TypeScript module that exports AppRouter, with the procedures of server.plugins.

    It types @trpc/client and its relatives, imports types only, and is the same text for the same procedures.
    """
    if check is not None and output is not None:
        raise Mistake("--output writes and --check does not: give one of them")
    text = render_module(_procedures(config))
    if check is not None:
        if attempt(check.read_bytes) != text.encode():
            raise Failure(f"{check} is not current: renew it with `{COMMAND} --output {check}`")
    elif output is not None:
        attempt(lambda: output.write_text(text, encoding="utf-8"))
    else:
        click.echo(text, nl=False)


def _procedures(config: Path | None) -> Procedures:
    """Those that a server with these settings serves."""
    router = app_router()
    try:
        for plugin in load_routers(load(config).server.plugins):
            router.merge(plugin)
    except SettingsError as error:
        raise Mistake(str(error)) from error
    return router.freeze()
