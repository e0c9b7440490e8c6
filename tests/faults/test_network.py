"""Payouts survive any network: every fault of the proxy, on every way that bytes can take."""

from __future__ import annotations

import pytest

from tests.faults.arena import Arena
from tests.faults.killing import Order
from tests.faults.rounds.network import FORGOTTEN, STEPS, network
from tests.faults.rounds.stage import Form, require_good

pytestmark = [
    pytest.mark.servers,
    pytest.mark.faults,
    pytest.mark.timeout(300),
    pytest.mark.asyncio(loop_scope="session"),
]

SHORT = Form(short=True)


async def test_no_fault_of_the_network_loses_or_repeats_a_payment(place: Arena) -> None:
    """AMQP, SQL, requests and callbacks are delayed, throttled, stalled, cut, reset and refused.

    Proved by marking events as published before they are confirmed: some were never heard of.
    """
    outcome = await network(place, Order(kind="network", seed=1, payouts=240), SHORT)
    require_good(outcome)
    assert {step for step in STEPS if outcome.faults[step]} == set(STEPS) - FORGOTTEN
    assert outcome.judgement.states == {"succeeded": outcome.judgement.published}
