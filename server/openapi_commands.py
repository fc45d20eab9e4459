"""`attachd openapi`: the document that `/openapi.json` serves."""

from importlib.metadata import version
from pathlib import Path

import click
import msgspec

from procedures import app_router
from server.app import TRPC_PREFIX
from server.arguments import attempt, config_option, load
from server.openapi import describe, render
from server.plugins import load_routers


@click.command("openapi")
@config_option
def openapi(config: Path | None) -> None:
    """Print the OpenAPI document of all procedures and routes.

    It is the document that the server serves at /openapi.json, those of plugins included. It speaks of no secrets.
    """
    settings = load(config)
    router = app_router()
    for plugin in attempt(lambda: load_routers(settings.server.plugins)):
        router.merge(plugin)
    document = describe(settings, router.freeze(), TRPC_PREFIX, version("attachd"))
    click.echo(msgspec.json.format(render(document), indent=2))
