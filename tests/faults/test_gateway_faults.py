"""Payouts survive their gateway: all its faults at once, and when it forgets what it has paid."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from tests.faults.arena import Arena
from tests.faults.killing import Order, Outcome
from tests.faults.rounds.gateway import FAULTS, UNDECIDED, gateway, gateway_forgetful
from tests.faults.rounds.stage import Form, require_good

pytestmark = [
    pytest.mark.servers,
    pytest.mark.faults,
    pytest.mark.timeout(300),
    pytest.mark.asyncio(loop_scope="session"),
]


@pytest.mark.parametrize("hold", [gateway, gateway_forgetful])
async def test_all_faults_of_the_gateway_at_once(
    hold: Callable[[Arena, Order, Form], Awaitable[Outcome]], place: Arena
) -> None:
    """Every payout ends as the gateway's ledger has it, whatever it says and however it says it.

    Proved, where it forgets, by a grace of 0 s: what it hid for a while was paid twice.
    """
    order = Order(kind=hold.__name__.replace("_", "-"), seed=1, payouts=5 * len(FAULTS) // 2)
    outcome = await hold(place, order, Form(short=True))
    require_good(outcome)
    met = {name for name in FAULTS if outcome.faults[f"gateway {name}"]}
    assert met == set(FAULTS) - {UNDECIDED}
    assert set(outcome.judgement.states) == {"succeeded", "failed"}
