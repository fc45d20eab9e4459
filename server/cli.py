"""The command `attachd`, whose commands have modules of their own."""

import importlib

import click

# A module is imported when its command runs, or its help is asked for: `key create` need not wait for what only `serve` takes.
_COMMANDS = {
    "backup": "server.backup_commands",
    "doctor": "server.doctor_commands",
    "fsck": "server.fsck_commands",
    "key": "server.credential_commands",
    "migrate": "server.migrate_commands",
    "migrate-storage": "server.transfer_commands",
    "openapi": "server.openapi_commands",
    "outbox": "server.outbox_commands",
    "restore": "server.backup_commands",
    "serve": "server.serve_commands",
    "session": "server.credential_commands",
    "signing": "server.signing_commands",
    "sweep": "server.sweep_commands",
    "types": "server.type_commands",
}


class _Commands(click.Group):
    """The commands by their names; each is the function of that name in its module."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's)
        """All names."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command of that name, or None."""
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(_COMMANDS[cmd_name]), cmd_name.replace("-", "_"))
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="attachd", message="%(prog)s %(version)s")
def main() -> None:
    """Keep the attachments of conversations and tickets.

    Settings come from the file of --config, then from variables named ATTACHD_SECTION_KEY, then from options;
    the README lists them.
    """
