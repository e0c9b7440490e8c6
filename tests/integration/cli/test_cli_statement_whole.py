"""The whole way: pay over the simulator, make its ledger a statement, compare, tamper, compare."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.acceptance.world import World, running_world
from tests.command_line import payouts_apart
from tests.statements import Statement, ledger_at, of_ledger

pytestmark = [pytest.mark.servers, pytest.mark.timeout(120)]

PAYOUTS = 40
# Paid late, paid and told by a query, refused for good, not paid and told by a query.
SPECIAL = ("254700000101", "254700000102", "254700000120", "254700000109")


async def compared(world: World, statement: Statement, path: Path) -> tuple[int, list[str]]:
    await asyncio.to_thread(path.write_bytes, statement.content())
    # From the first command on: the second of the first line would leave out what it began with.
    ran = await payouts_apart(
        *("reconcile", str(path), "--json", "--since", "1h", "--until", "0s"), environ=world.environ
    )
    return ran.status, sorted(one["kind"] for one in ran.json["differences"])


async def test_what_was_paid_is_what_the_statement_says(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    """Equal after a run with failures in it; one tampered line each is found, and nothing else."""
    async with running_world(amqp_url, database_url, tmp_path) as world:
        await world.start_callback_server()
        await world.start_worker()
        await world.listen()
        ids = [f"run-{number}" for number in range(PAYOUTS)]
        numbers = [*SPECIAL, *(f"25471171{n:04}" for n in range(PAYOUTS - len(SPECIAL)))]
        await world.publish(
            *(
                {"payout_id": one, "amount": f"{100 + n}.25", "msisdn": numbers[n]}
                for n, one in enumerate(ids)
            )
        )
        await world.all_ended(ids)
        ledger = await ledger_at(world.simulator.base_url)
        statement = of_ledger(ledger)
        assert len(ledger) == PAYOUTS - 2
        path = tmp_path / "statement.csv"
        assert await compared(world, statement, path) == (0, [])
        receipt = ledger[5]["receipt"]
        for tampered, kinds in (
            (statement.without(receipt), ["missing there"]),
            (statement.changed(receipt, amount="1.00"), ["different amount"]),
            (statement.changed(receipt, status="Failed"), ["different status"]),
            (statement.changed(receipt, receipt="UKZ9999999"), ["different receipt"]),
        ):
            assert await compared(world, tampered, path) == (3, kinds)
