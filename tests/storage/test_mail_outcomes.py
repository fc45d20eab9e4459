"""What becomes of a message after an attempt: the table of states, without a server."""

import pytest

from storage.mail.outcomes import Failure, Recipient, Result, Retry, again, settle, summary

ADA, BOB = Recipient(kind="to", address="ada@example.com"), Recipient(kind="cc", address="bob@example.com")
LATER, NEVER = Failure(text="451 later"), Failure(text="550 never", permanent=True)
LOST = Failure(text="lost", unanswered=True)
RETRY = Retry(first_s=10, max_s=60, give_up_s=1000)


@pytest.mark.parametrize(
    ("result", "hold", "state", "recipients"),
    [
        (Result(delivered=[ADA.address, BOB.address]), False, "sent", "delivered delivered"),
        (Result(delivered=[ADA.address], refused={BOB.address: NEVER}), False, "failed", "delivered refused"),
        (Result(delivered=[ADA.address], refused={BOB.address: LATER}), False, "queued", "delivered waiting"),
        (Result(refused={ADA.address: NEVER}, failure=LATER), False, "queued", "refused waiting"),
        (Result(refused={ADA.address: LATER, BOB.address: NEVER}), False, "queued", "waiting refused"),
        (Result(failure=LATER), False, "queued", "waiting waiting"),
        (Result(failure=LATER), True, "queued", "waiting waiting"),
        (Result(failure=NEVER), False, "failed", "refused refused"),
        (Result(failure=LOST), False, "queued", "waiting waiting"),
        (Result(failure=LOST), True, "unknown", "waiting waiting"),
        (Result(refused={BOB.address: NEVER}, failure=LOST), True, "unknown", "waiting refused"),
        (Result(), False, "queued", "waiting waiting"),
    ],
)
def test_the_state_after_an_attempt(result: Result, hold: bool, state: str, recipients: str) -> None:
    settled = settle([ADA, BOB], result, RETRY, attempts=1, age_s=5, chance=0.5, hold=hold)
    assert (settled.state, " ".join(recipient.state for recipient in settled.recipients)) == (state, recipients)
    assert (settled.delay_s is not None) == (state == "queued")


def test_what_is_delivered_or_refused_stays_so() -> None:
    first = settle(
        [ADA, BOB], Result(delivered=[ADA.address], refused={BOB.address: NEVER}), RETRY,
        attempts=1, age_s=5, chance=0.5, hold=False,
    )  # fmt: skip
    second = settle(first.recipients, Result(failure=LATER), RETRY, attempts=2, age_s=6, chance=0.5, hold=False)
    assert (second.state, second.recipients) == ("failed", first.recipients)


def test_it_is_given_up_when_the_next_attempt_would_be_too_late() -> None:
    settled = settle([ADA], Result(failure=LATER), RETRY, attempts=9, age_s=941, chance=0.5, hold=False)
    assert (settled.state, settled.error) == ("failed", "ada@example.com: given up after 0.261 hours; 451 later")


@pytest.mark.parametrize(
    ("attempts", "chance", "delay_s"), [(1, 0.5, 10), (2, 0.5, 20), (3, 0, 30), (3, 1, 50), (4, 0.5, 60), (5000, 0.5, 60)]
)
def test_attempts_come_further_apart(attempts: int, chance: float, delay_s: float) -> None:
    assert RETRY.delay_s(attempts, chance) == delay_s


def test_errors_are_summed_up() -> None:
    result = Result(refused={BOB.address: NEVER}, failure=Failure(text="x" * 1000))
    settled = settle([ADA, BOB], result, RETRY, attempts=1, age_s=5, chance=0.5, hold=False)
    assert settled.recipients[0].error == "x" * 500
    assert len(settled.error) == 500
    assert summary([BOB, ADA]) == ""


def test_another_try_leaves_out_who_has_it() -> None:
    settled = settle(
        [ADA, BOB], Result(delivered=[ADA.address], failure=NEVER), RETRY, attempts=1, age_s=5, chance=0.5, hold=False
    )
    assert [recipient.state for recipient in again(settled.recipients)] == ["delivered", "waiting"]
