"""What becomes of a message after an attempt to send it. Pure: the time and the chance come as numbers.

    queued  --taken, under a lease--------------------------------------> queued, being sent
    queued, being sent
        --all recipients delivered--------------------------------------> sent
        --none is left to try, some were refused------------------------> failed
        --some failed for now, and it is not too late-------------------> queued, due after a while
        --some failed for now, and it is too late (`give_up_s`)---------> failed
        --the process ended before the mail was handed over-------------> queued, once the lease is over
        --handed over, and nobody knows the answer----------------------> queued, or unknown where that is wished
    failed, unknown --`attachd outbox retry`----------------------------> queued

A mail is *handed over* when the line that ends it is written: from then on the server may have it, whatever we hear. That is
written down before (`Outbox.hand_over`), so that a process that died knows of it afterwards. The server's 250 makes it
*delivered*, which is written down at once; a recipient who has that is never sent the mail again. When the answer is lost, with
the connection or with the process, RFC 5321 (4.2.5, 4.5.3.2.6) has the client send it again, with the same Message-ID.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

RecipientState = Literal["waiting", "delivered", "refused"]
OutboxState = Literal["queued", "sent", "failed", "unknown"]
UNANSWERED = "the server may have it: its answer did not arrive"
MAX_ERROR_CHARACTERS = 500


class Recipient(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Somebody a message goes to; `error` is what the last attempt came to."""

    kind: Literal["to", "cc"]
    address: str
    name: str = ""
    state: RecipientState = "waiting"
    error: str = ""

    @property
    def written(self) -> str:
        """The recipient for a person to read."""
        return f"{self.name} <{self.address}>" if self.name else self.address


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why something was not delivered. `permanent`: trying again would not help. `unanswered`: it may have been."""

    text: str
    permanent: bool = False
    unanswered: bool = False


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What an attempt came to: who has the mail, who was refused alone, and what stopped the rest."""

    delivered: Sequence[str] = ()
    refused: Mapping[str, Failure] = {}
    failure: Failure | None = None


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """When to try again: after `first_s`, twice as long each time, at most `max_s`; never after `give_up_s`."""

    first_s: float = 30.0
    max_s: float = 3600.0
    give_up_s: float = 72 * 3600.0

    def delay_s(self, attempts: int, chance: float) -> float:
        """Seconds until the next attempt after so many; `chance` from 0 to 1 spreads it by a quarter both ways."""
        return min(self.first_s * 2.0 ** min(attempts - 1, 30), self.max_s) * (0.75 + chance / 2)


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """What a message has become; without `delay_s` there is nothing more to do. `error` sums up what is not delivered."""

    state: OutboxState
    recipients: Sequence[Recipient]
    delay_s: float | None = None
    error: str = ""


def settle(
    recipients: Sequence[Recipient], result: Result, retry: Retry, *, attempts: int, age_s: float, chance: float, hold: bool
) -> Settled:
    """What the result of attempt number `attempts` makes of a message that is `age_s` old.

    With `hold`, what may have been delivered is not sent again by itself.
    """
    after = [_after(recipient, result) for recipient in recipients]
    waiting = any(recipient.state == "waiting" for recipient in after)
    if waiting and hold and result.failure is not None and result.failure.unanswered:
        return Settled(state="unknown", recipients=after, error=summary(after))
    delay_s = retry.delay_s(attempts, chance)
    if waiting and age_s + delay_s <= retry.give_up_s:
        return Settled(state="queued", recipients=after, delay_s=delay_s, error=summary(after))
    after = [_given_up(recipient, age_s) for recipient in after]
    state: OutboxState = "sent" if all(recipient.state == "delivered" for recipient in after) else "failed"
    return Settled(state=state, recipients=after, error=summary(after))


def _after(recipient: Recipient, result: Result) -> Recipient:
    if recipient.state != "waiting":
        return recipient
    if recipient.address in result.delivered:
        return msgspec.structs.replace(recipient, state="delivered", error="")
    failure = result.refused.get(recipient.address, result.failure)
    if failure is None:
        return recipient
    state: RecipientState = "refused" if failure.permanent else "waiting"
    return msgspec.structs.replace(recipient, state=state, error=failure.text[:MAX_ERROR_CHARACTERS])


def _given_up(recipient: Recipient, age_s: float) -> Recipient:
    if recipient.state != "waiting":
        return recipient
    text = f"given up after {age_s / 3600:.3g} hours; {recipient.error}"
    return msgspec.structs.replace(recipient, state="refused", error=text[:MAX_ERROR_CHARACTERS])


def summary(recipients: Sequence[Recipient]) -> str:
    """The errors of those who have not got it, each once, with its first address."""
    first: dict[str, str] = {}
    for recipient in recipients:
        if recipient.state != "delivered" and recipient.error:
            first.setdefault(recipient.error, recipient.address)
    return "; ".join([f"{address}: {error}" for error, address in first.items()])[:MAX_ERROR_CHARACTERS]


def again(recipients: Sequence[Recipient]) -> list[Recipient]:
    """The recipients for another try: those who have it stay out."""
    return [
        recipient if recipient.state == "delivered" else msgspec.structs.replace(recipient, state="waiting")
        for recipient in recipients
    ]
