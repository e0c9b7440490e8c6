"""Processes that froze or whose clocks are wrong harm nobody when they go on."""

from __future__ import annotations

import pytest

from tests.faults.arena import Arena
from tests.faults.killing import Order
from tests.faults.rounds.clocks import clocks
from tests.faults.rounds.stage import Form, require_good
from tests.faults.rounds.zombies import zombies

pytestmark = [
    pytest.mark.servers,
    pytest.mark.faults,
    pytest.mark.timeout(300),
    pytest.mark.asyncio(loop_scope="session"),
]

SHORT = Form(short=True)


async def test_what_others_took_over_is_not_sent_by_a_worker_that_wakes_up(place: Arena) -> None:
    """SIGSTOP with requests about to be sent, for longer than the lease, then SIGCONT.

    The gateway pays an id as often as it is sent. Proved by giving the frozen worker a lease of an
    hour: some of its payouts were paid twice.
    """
    outcome = await zombies(place, Order(kind="zombies", seed=1, payouts=40), SHORT)
    require_good(outcome)
    assert outcome.faults["worker frozen"] == outcome.faults["callback server frozen"] == 1


async def test_clocks_that_jump_by_hours_neither_pay_twice_nor_delay(place: Arena) -> None:
    """Two of three workers, and a callback server, are hours ahead, then behind, then right.

    Proved by letting each process believe its machine's time of day: a quarter of all payouts had
    not ended two minutes later, and would have lain for hours.
    """
    outcome = await clocks(place, Order(kind="clocks", seed=1, payouts=80), SHORT)
    require_good(outcome)
    assert outcome.judgement.states == {"succeeded": outcome.judgement.published}
