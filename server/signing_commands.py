"""`attachd signing`: the keys that sign links, where the database keeps them. Their secrets are never shown."""

from pathlib import Path

import click

from server.arguments import config_option, with_store


@click.group()
def signing() -> None:
    """Signing keys: what makes links that need no credential."""


@signing.command("list")
@config_option
def list_keys(config: Path | None) -> None:
    """List the keys, the one that signs first: id, state, created, until; separated by tabs.

    A replaced key verifies until its last link has expired, then it is spare: `signing rotate` removes it.
    """
    for info in with_store(config, lambda store, _: store.signing.describe()):
        click.echo("\t".join([info.kid, info.state, info.created_at or "-", info.until or "-"]))


@signing.command("rotate")
@config_option
def rotate(config: Path | None) -> None:
    """Let a new key sign, and print its id.

    Running servers sign with it within a second, and take links of the old ones until these expire. Keys of which no link
    is left are removed; their ids go to standard error.
    """
    kid, removed = with_store(config, lambda store, _: store.signing.rotate())
    for spare in removed:
        click.echo(f"removed key {spare}", err=True)
    click.echo(kid)


@signing.command("remove")
@config_option
@click.argument("kid")
def remove(config: Path | None, kid: str) -> None:
    """Remove a replaced key at once, with all links of it: for a key that has leaked."""
    with_store(config, lambda store, _: store.signing.remove(kid))
