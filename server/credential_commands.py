"""`attachd session` and `attachd key`. A secret is printed once, alone on standard output, and read from standard input:
never an argument, which the process list shows and the shell remembers.
"""

import sys
from pathlib import Path

import click

from schemas import Role
from server.arguments import (
    DurationType,
    Failure,
    Mistake,
    UuidType,
    config_option,
    organization_option,
    role_option,
    with_store,
)


@click.group()
def session() -> None:
    """Sessions: what a user's cookie holds."""


@session.command("create")
@config_option
@click.option("--user", type=UuidType(), required=True, help="The user, who owns what the session uploads.")
@organization_option
@role_option
@click.option("--ttl", type=DurationType(), default="24h", show_default=True, help="How long it lasts: 90s, 15m, 24h, 7d.")
def create_session(config: Path | None, user: str, organization: str, role: Role, ttl: float) -> None:
    """Create a session and print its token, which is kept nowhere else."""
    click.echo(
        with_store(
            config,
            lambda store, _: store.credentials.create_session(user_id=user, organization_id=organization, role=role, ttl_s=ttl),
            create=True,
        )
    )


@session.command("revoke")
@config_option
def revoke_session(config: Path | None) -> None:
    """End the session whose token is on standard input.

    Servers notice within auth.session_cache_seconds.
    """
    token = sys.stdin.read().strip()
    if not token:
        raise Mistake("write the session's token to standard input")
    if not with_store(config, lambda store, _: store.credentials.revoke_session(token)):
        raise Failure("no session has that token")


@click.group()
def key() -> None:
    """API keys: what a program sends as `Authorization: Bearer`."""


@key.command("create")
@config_option
@organization_option
@role_option
@click.option("--name", required=True, help="What the key is for; shown by `key list`.")
def create_key(config: Path | None, organization: str, role: Role, name: str) -> None:
    """Create an API key and print it; it is kept nowhere else.

    Its id, which `key revoke` takes, goes to standard error.
    """
    if not name.isprintable():
        raise Mistake("--name must be printable, without tabs and line ends: it is a column of `key list`")
    info, secret = with_store(
        config, lambda store, _: store.credentials.create_key(organization_id=organization, role=role, name=name), create=True
    )
    click.echo(f"created key {info.id}", err=True)
    click.echo(secret)


@key.command("list")
@config_option
def list_keys(config: Path | None) -> None:
    """List all API keys, revoked ones too: id, created, revoked, role, organization and name, separated by tabs."""
    for info in with_store(config, lambda store, _: store.credentials.list_keys()):
        click.echo("\t".join([info.id, info.created_at, info.revoked_at or "-", info.role, info.organization_id, info.name]))


@key.command("revoke")
@config_option
@click.argument("id", type=UuidType())
def revoke_key(config: Path | None, id: str) -> None:
    """Revoke the API key of that id.

    Servers notice within auth.session_cache_seconds.
    """
    if not with_store(config, lambda store, _: store.credentials.revoke_key(id)):
        raise Failure(f"there is no key {id}, or it was revoked before")
