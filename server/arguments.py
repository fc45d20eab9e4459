"""What the commands share: the types of their arguments, and from --config to an open store.

A failure that a user can mend is one line on standard error, with exit code 2 for what was asked wrongly (options,
settings) and 1 for what the machine refused.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeVar

import click

from schemas import UUID_PATTERN, ServiceError
from server.migration import StartError
from server.settings import CONFIG_VARIABLE, Settings, SettingsError, load_settings
from server.stores import open_store
from storage import Store

T = TypeVar("T")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
# Longer than a session should live; keeps the expiry within the years that a timestamp can write.
_MAX_DURATION_DAYS = 3650


class UuidType(click.ParamType[str]):
    """A UUID as the API takes it: 8-4-4-4-12 hexadecimal digits; kept in lower case."""

    name = "uuid"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The id in lower case."""
        if not re.match(UUID_PATTERN, value):
            self.fail(f"{value!r} is not a UUID such as 0191c2b0-7c1e-7a53-9d0f-3f1b2a4c5d6e", param, ctx)
        return value.lower()


class DurationType(click.ParamType[float]):
    """A number and its unit: 90s, 15m, 24h or 7d; in seconds."""

    name = "duration"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The duration in seconds."""
        match = re.fullmatch(r"([0-9]{1,9})([smhd])", value)
        seconds = float(int(match[1]) * _SECONDS[match[2]]) if match else 0.0
        if not 0 < seconds <= _MAX_DURATION_DAYS * _SECONDS["d"]:
            self.fail(f"{value!r} is not a duration such as 90s, 15m, 24h or 7d, up to {_MAX_DURATION_DAYS}d", param, ctx)
        return seconds


class Failure(click.ClickException):
    """What the machine refused: one line on standard error, exit code 1."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class Mistake(Failure):
    """What was asked wrongly: one line on standard error, exit code 2."""

    exit_code = 2


config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help=f"TOML file of settings; by default the one that {CONFIG_VARIABLE} names, if any.",
)
organization_option = click.option("--organization", type=UuidType(), required=True, help="Organization to act in.")
role_option = click.option(
    "--role",
    type=click.Choice(["member", "admin", "store"]),
    required=True,
    help="member and store delete what is their own; admin deletes anything of the organization.",
)


def load(config: Path | None, options: Mapping[str, object] | None = None) -> Settings:
    """The settings, or a Mistake that names the key."""
    try:
        return load_settings(config, options=options)
    except SettingsError as error:
        raise Mistake(str(error)) from error


def with_store(config: Path | None, action: Callable[[Store, Settings], Awaitable[T]], *, create: bool = False) -> T:
    """What `action` gives for the store of the settings, or a Failure.

    It is migrated first if need be, and made where it is not there if `create` says so.
    """
    settings = load(config)

    async def run() -> T:
        async with await open_store(settings, create=create) as store:
            return await action(store, settings)

    return attempt(lambda: asyncio.run(run()))


def attempt(action: Callable[[], T]) -> T:
    """What `action` gives, a Mistake for a setting that only shows to be one now, a Failure when the machine refuses."""
    try:
        return action()
    except SettingsError as error:
        raise Mistake(str(error)) from error
    except (StartError, ServiceError) as error:
        raise Failure(str(error)) from error
    except OSError as error:
        raise Failure(f"{error.filename or 'cannot go on'}: {error.strerror}") from error
