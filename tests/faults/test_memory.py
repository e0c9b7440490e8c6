"""Memory is the same however long the queue is; `ops/memory.sh` shows it for a million."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.local import LocalStack
from tests.acceptance.watched import watched_world
from tests.faults.memory import SETTINGS, TOLERANCE, Figures, compared, growth
from tests.faults.stalls import stalled

pytestmark = [pytest.mark.servers, pytest.mark.faults, pytest.mark.timeout(240)]

MANY = 20_000


async def test_memory_stays_with_twenty_thousand_commands_waiting(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    """With a gateway that does not answer, and with a paused account, memory stays within 10 %.

    Proved by asking RabbitMQ for 10,000 commands at a time: the worker grows by 30 %.
    """
    figures: list[Figures] = []
    async with watched_world(amqp_url, database_url, tmp_path, **SETTINGS) as scene:
        pairs = await compared(scene, MANY, figures.append)
    assert all(few.waiting < MANY / 10 < many.waiting for few, many in pairs)
    assert max(growth(few, many) for few, many in pairs) < TOLERANCE, figures


async def test_memory_stays_while_a_neighbour_stands_still(stack: LocalStack) -> None:
    """PostgreSQL, RabbitMQ and the gateway stop answering in turn, and paying goes on after each.

    `ops/memory.sh stalls` does so for a minute each. Proved by asking RabbitMQ for 10,000 commands
    at a time: the worker grows by 17 %.
    """
    found = await stalled(stack, payouts=10_000, seconds=3.0, tell=lambda _: None)
    assert [one.who for one in found] == ["PostgreSQL", "RabbitMQ", "gateway"]
    assert max(one.growth for one in found) < TOLERANCE, [str(one) for one in found]
