"""Payouts survive their servers: killed together, away, and full."""

from __future__ import annotations

import pytest

from tests.faults.arena import Arena
from tests.faults.killing import Order
from tests.faults.rounds.servers import servers
from tests.faults.rounds.stage import Form, require_good

pytestmark = [
    pytest.mark.servers,
    pytest.mark.faults,
    pytest.mark.timeout(300),
    pytest.mark.asyncio(loop_scope="session"),
]


async def test_rabbitmq_and_postgresql_can_die_at_once_and_a_disk_can_run_full(
    place: Arena,
) -> None:
    """Both are killed under load; then RabbitMQ takes no messages for want of disk.

    Proved by marking events as published before they are confirmed: some were never heard of.
    """
    steps = ("both killed", "disk full")
    order = Order(kind="servers", seed=1, payouts=160)
    outcome = await servers(place, order, Form(short=True, names=steps))
    require_good(outcome)
    assert [outcome.faults[step] for step in steps] == [1, 1]
    assert outcome.judgement.states == {"succeeded": outcome.judgement.published}
