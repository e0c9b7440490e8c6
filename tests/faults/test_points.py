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
    pytest.mark.timeout(240),
    pytest.mark.asyncio(loop_scope="session"),
]


@pytest.mark.parametrize(
    ("kind", "payouts", "killing_s"),
    [(Load.MIXED, 5000, 30), (Load.STUCK, 1000, 10), (Load.SUSPECTED, 1000, 10)],
)
async def test_points_kill_and_are_recovered_from(
    place: Arena, kind: Load, payouts: int, killing_s: float
) -> None:
    """Whatever two steps a process dies between, each payout is paid once at most, and ends.

    How many points are come to in so short a time depends on the machine; `ops/chaos.sh` goes on
    until it has been at all of them, and names those that it has not.

    Proved by acknowledging commands before the intent's commit: payouts are lost; and by marking
    events before they are published: payouts end without one.
    """
    order = Order(kind=kind, seed=1, payouts=payouts, times=1, killing_s=killing_s)
    outcome = await kill(place, order)
    require_good(outcome)
    points = {name for name, point in POINTS.items() if point.place.load is kind}
    killed = points & set(outcome.kills)
    assert len(killed) >= len(points) // 8, replay_of(order)
    assert set(outcome.owed) == points - killed


async def test_deaths_at_random_instants_lose_nobody_and_pay_nobody_twice(place: Arena) -> None:
    """Invariants 1 to 7 under SIGKILL at any instant.

    Proved by acknowledging commands before the intent's commit: payouts are lost.
    """
    outcome = await kill(place, Order(kind=RANDOM, seed=1, payouts=160))
    require_good(outcome)
    assert outcome.kills.total() >= 10
