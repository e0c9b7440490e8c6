"""Each event hears what RabbitMQ says of it, in whatever order and however many at once."""

from __future__ import annotations

import asyncio

import pytest

from payouts.domain.errors import BrokerUnavailableError, UnroutableError
from payouts.messaging.event_publisher import Unconfirmed


async def test_a_confirm_is_for_one_event_or_for_all_up_to_it() -> None:
    """What is behind it goes on waiting; what was told already is not told again."""
    unconfirmed = Unconfirmed()
    events = [unconfirmed.add(f"id-{number}") for number in range(5)]
    unconfirmed.settle(2, multiple=False, taken=True)
    assert [one.done() for one in events] == [False, True, False, False, False]
    unconfirmed.settle(4, multiple=True, taken=True)
    assert [one.done() for one in events] == [True, True, True, True, False]
    unconfirmed.settle(4, multiple=True, taken=False)
    unconfirmed.settle(5, multiple=False, taken=False)
    with pytest.raises(BrokerUnavailableError, match="refused"):
        await events[4]
    assert [one.exception() for one in events[:4]] == [None] * 4


async def test_events_of_one_id_that_come_back_are_all_unroutable() -> None:
    """RabbitMQ may return several before it confirms them together.

    Proved by keeping which ids came back without counting how often: four count as published.
    """
    unconfirmed = Unconfirmed()
    events = [unconfirmed.add("same") for _ in range(5)]
    for _ in events:
        unconfirmed.came_back("same")
    unconfirmed.settle(5, multiple=True, taken=True)
    assert [type(one.exception()) for one in events] == [UnroutableError] * 5
    published = unconfirmed.add("same")
    unconfirmed.settle(6, multiple=False, taken=True)
    assert published.exception() is None


async def test_whoever_waits_no_more_is_passed_over() -> None:
    """A late confirm of a cancelled publication harms nobody."""
    unconfirmed = Unconfirmed()
    gone, here = unconfirmed.add("a"), unconfirmed.add("b")
    gone.cancel()
    unconfirmed.settle(2, multiple=True, taken=True)
    assert here.exception() is None


async def test_a_lost_channel_is_told_to_all() -> None:
    """With what RabbitMQ said; each gets an error of its own."""
    unconfirmed = Unconfirmed()
    events = [unconfirmed.add("a"), unconfirmed.add("b")]
    unconfirmed.fail("no exchange")
    found = await asyncio.gather(*events, return_exceptions=True)
    assert [type(one) for one in found] == [BrokerUnavailableError] * 2
    assert found[0] is not found[1]
    assert "no exchange" in str(found[0])
