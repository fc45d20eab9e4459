"""How often somebody may come."""

import asyncio
import itertools
import time

import pytest

from rest.rates import MEMORY, RateLimits, parse_rate
from schemas import Code, RateLimited, ServiceError

TWO = parse_rate("2/minute")


async def test_one_too_many_is_told_when_to_come_again() -> None:
    rates, began = RateLimits(MEMORY), time.monotonic()
    for _ in range(2):
        await rates.hit("uploads", TWO, "a")
    with pytest.raises(RateLimited) as caught:
        await rates.hit("uploads", TWO, "a")
    assert caught.value.code is Code.TOO_MANY_REQUESTS
    assert 59 - (time.monotonic() - began) <= caught.value.retry_after_s <= 60
    await rates.hit("uploads", TWO, "b")
    await rates.hit("others", TWO, "a")


async def test_the_window_ends() -> None:
    rates, rate = RateLimits(), parse_rate("1/second")
    caught: RateLimited | None = None
    for caller in map(str, itertools.count()):  # the machine may stall for longer than a window
        try:
            began = time.monotonic()
            await rates.hit("uploads", rate, caller)
            await rates.hit("uploads", rate, caller)
        except RateLimited as error:
            caught = error
            break
        assert time.monotonic() - began > 0.9
    assert caught is not None
    assert caught.retry_after_s == 1
    await asyncio.sleep(1.05)
    await rates.hit("uploads", rate, caller)


async def test_side_by_side_no_more_come_through() -> None:
    rates, rate = RateLimits(), parse_rate("10/minute")
    outcomes = await asyncio.gather(*(rates.hit("uploads", rate, "a") for _ in range(50)), return_exceptions=True)
    assert outcomes.count(None) == 10
    assert sum(isinstance(outcome, ServiceError) for outcome in outcomes) == 40


@pytest.mark.parametrize("text", ["", "10", "ten/minute", "10/fortnight", "/minute"])
def test_rates_that_are_none(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (the library's words)
        parse_rate(text)


@pytest.mark.parametrize("text", ["10/minute", "10 per minute", "100/2 hours", "1/second"])
def test_rates(text: str) -> None:
    assert parse_rate(text).amount in (1, 10, 100)
