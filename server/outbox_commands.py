"""`attachd outbox`: what was not sent, why, and sending it again."""

from pathlib import Path

import click

from server.arguments import Failure, Mistake, UuidType, config_option, with_store
from storage import OutboxEntry
from storage.mail import OutboxState

_STATES = ("queued", "sent", "failed", "unknown")


@click.group()
def outbox() -> None:
    """The outbox: messages on their way, and those that did not get there."""


@outbox.command("list")
@config_option
@click.option("--state", type=click.Choice(_STATES), help="Only those, the newest first; without it all that are not sent.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=1000, show_default=True, help="Messages at most.")
def list_outbox(config: Path | None, state: OutboxState | None, limit: int) -> None:
    """List messages: id, state, created, attempts, recipients who have it of all, due or changed, error; with tabs between.

    A state with `?` behind it: the mail may have been delivered before, since an answer to it was lost.
    """
    for entry in with_store(config, lambda store, _: store.outbox.entries(state, limit)):
        click.echo("\t".join(_columns(entry)))


def _columns(entry: OutboxEntry) -> list[str]:
    delivered = sum(recipient.state == "delivered" for recipient in entry.recipients)
    doubtful = entry.unanswered or entry.handed_over_at
    return [
        entry.id,
        f"{entry.state}?" if doubtful and entry.state != "sent" else entry.state,
        entry.created_at,
        str(entry.attempts),
        f"{delivered}/{len(entry.recipients)}",
        entry.due_at if entry.state == "queued" else entry.changed_at,
        entry.error or "-",
    ]


@outbox.command("retry")
@config_option
@click.argument("ids", type=UuidType(), nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Whatever failed or is unknown.")
def retry(config: Path | None, ids: tuple[str, ...], *, everything: bool) -> None:
    """Send messages again, to those who have not got them: what failed or is unknown, or waits for its next attempt.

    Running servers notice within mail.poll_seconds. A message that is older than mail.give_up_hours gets one attempt.
    """
    if bool(ids) == everything:
        raise Mistake("name messages by their ids, or all of them by --all")
    queued = with_store(config, lambda store, _: store.outbox.retry(None if everything else ids))
    for id in queued:
        click.echo(f"queued {id}")
    if missing := sorted(set(ids) - set(queued)):
        raise Failure(f"not in the outbox, sent, or being sent now: {', '.join(missing)}")
