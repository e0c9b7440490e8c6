"""Workers and callback servers are killed in the middle of a run; the books are compared."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.world import World, running_world

pytestmark = [pytest.mark.servers, pytest.mark.faults, pytest.mark.timeout(240)]

PAYOUTS = 2000
KILLS = 10


def commands(count: int) -> list[dict[str, object]]:
    return [
        {"payout_id": f"run-{n}", "amount": f"{100 + n}.25", "msisdn": f"254711{n:06}"}
        for n in range(count)
    ]


async def judge(world: World, count: int) -> None:
    """Compare the gateway's ledger, the database and the events, without the product's code."""
    paid = world.paid()
    for command in commands(count):
        payout_id = str(command["payout_id"])
        assert paid.get(payout_id) == [command["amount"]], payout_id
        completions = world.completions(payout_id)
        assert {event["type"] for event in completions} == {"payout.succeeded"}, payout_id
        assert len({event["id"] for event in completions}) == 1, payout_id
    states = await world.connection.fetch("SELECT state, count(*) FROM payouts GROUP BY state")
    assert {row["state"]: row["count"] for row in states} == {"succeeded": count}


async def test_ten_killed_workers_pay_nobody_twice_and_lose_nobody(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    """Invariants 1 to 4 under SIGKILL, ten times in a run of 2,000.

    Proved by acknowledging commands before the intent's commit: payouts are lost.
    """
    async with running_world(amqp_url, database_url, tmp_path) as world:
        await world.start_callback_server()
        workers = [await world.start_worker(), await world.start_worker()]
        await world.listen()
        ids = [str(command["payout_id"]) for command in commands(PAYOUTS)]
        await world.publish(*commands(PAYOUTS))
        for kill in range(KILLS):
            wanted = (kill + 1) * PAYOUTS // (KILLS + 2)

            async def so_many(wanted: int = wanted) -> bool:
                return len(world.events) >= wanted

            await world.until(so_many, f"{wanted} payouts have ended", 120)
            workers[kill % 2].kill()
            await workers[kill % 2].child.wait()
            workers[kill % 2] = await world.start_worker()
        await world.all_ended(ids, within_s=120)
        await judge(world, PAYOUTS)


async def test_killed_callback_servers_lose_no_result_and_tell_it_once(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    """Invariants 6 and 7: a Result is acknowledged only when it and its event are durable.

    Proved by acknowledging before the commit: payouts stay accepted until they are asked about.
    """
    count = 500
    async with running_world(amqp_url, database_url, tmp_path) as world:
        server = await world.start_callback_server()
        await world.start_worker()
        await world.listen()
        await world.publish(*commands(count))
        for kill in range(3):
            wanted = (kill + 1) * count // 5

            async def so_many(wanted: int = wanted) -> bool:
                return len(world.events) >= wanted

            await world.until(so_many, f"{wanted} payouts have ended", 60)
            server.kill()
            await server.child.wait()
            server = await world.start_callback_server()
        await world.all_ended([str(one["payout_id"]) for one in commands(count)], within_s=90)
        await judge(world, count)
