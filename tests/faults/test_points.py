"""Processes die at every point of the table, and at random instants; all is judged."""

from __future__ import annotations

import pytest

from tests.faults.arena import Arena
from tests.faults.killing import RANDOM, Order, kill
from tests.faults.points import POINTS, Load
from tests.faults.report import replay_of
from tests.faults.rounds.stage import require_good

pytestmark = [
    pytest.mark.servers,
    pytest.mark.faults,
    pytest.mark.timeout(420),
    pytest.mark.asyncio(loop_scope="session"),
]


@pytest.mark.parametrize(
    ("kind", "payouts"), [(Load.MIXED, 20_000), (Load.STUCK, 1000), (Load.SUSPECTED, 1000)]
)
async def test_every_point_kills_and_is_recovered_from(
    place: Arena, kind: Load, payouts: int
) -> None:
    """Whatever two steps a process dies between, each payout is paid once at most, and ends.

    It takes as long as it takes until each has killed once: commands enough are at hand.

    Proved by acknowledging commands before the intent's commit: payouts are lost; and by marking
    events before they are published: payouts end without one.
    """
    order = Order(kind=kind, seed=1, payouts=payouts, times=1, killing_s=240)
    outcome = await kill(place, order)
    require_good(outcome)
    assert not outcome.owed, replay_of(order)
    killed = {name for name in outcome.kills if name in POINTS}
    assert killed == {name for name, point in POINTS.items() if point.place.load is kind}


async def test_deaths_at_random_instants_lose_nobody_and_pay_nobody_twice(place: Arena) -> None:
    """Invariants 1 to 7 under SIGKILL at any instant, of processes that people start, too.

    Proved by acknowledging commands before the intent's commit: payouts are lost.
    """
    order = Order(kind=RANDOM, seed=1, payouts=240)
    outcome = await kill(place, order)
    require_good(outcome)
    assert outcome.kills.total() >= order.payouts // 8
