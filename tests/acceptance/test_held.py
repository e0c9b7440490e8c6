"""What is durable and yet not sent: repeats, Results that came first, commands without luck."""

from __future__ import annotations

from pathlib import Path

import asyncpg
import pytest

from tests.acceptance.test_callbacks import post, result
from tests.acceptance.watched import stalled_books
from tests.acceptance.world import World, running_world

pytestmark = [pytest.mark.servers]


def command(payout_id: str, **fields: object) -> dict[str, object]:
    return {"payout_id": payout_id, "amount": "150.50", "msisdn": "254712345678", **fields}


async def started(world: World) -> World:
    await world.start_callback_server()
    await world.start_worker()
    await world.listen()
    return world


async def held(world: World, payout_id: str) -> str | None:
    found: str | None = await world.connection.fetchval(
        "SELECT held FROM payouts WHERE payout_id = $1", payout_id
    )
    return found


async def test_a_suspicious_repeat_is_held_for_review(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    """The same receiver and amount under another id, in another run: durable, told, not sent."""
    async with running_world(
        amqp_url, database_url, tmp_path, PAYOUTS_REPEAT_WINDOW_S="3600"
    ) as world:
        await started(world)
        await world.publish(command("repeat-1", run_id="monday"))
        await world.ended("repeat-1")
        await world.publish(
            command("repeat-2", run_id="tuesday"), command("other-1", amount="150.51")
        )
        await world.ended("other-1")
        await world.in_state("repeat-2", "received")
        assert "repeat-1" in (await held(world, "repeat-2") or "")
        worker = world.processes[1]

        async def told() -> bool:
            return "command.held" in worker.said()

        await world.until(told, "it is told")
        assert "repeat-2" not in world.paid()


async def test_a_result_that_came_before_its_command_ends_it_unsent(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    """After a restore: the Result comes, the command is published again, nothing is sent again.

    Proved by taking the sweep out: the payout was held for ever.
    """
    async with running_world(amqp_url, database_url, tmp_path) as world:
        await started(world)
        told = result(
            "600000_ORG_lost-1",
            parameters={
                "TransactionAmount": "150.50",
                "ReceiverPartyPublicName": "254712345678 - Jina Lingine",
            },
        )
        status, _ = await post(world, told)
        assert status == 200
        await world.publish(command("lost-1"))
        event = await world.ended("lost-1")
        assert event["type"] == "payout.succeeded"
        assert event["data"]["transaction_id"] == "UKN0000001"
        assert world.simulator.request("600000_ORG_lost-1") is None
        for process in world.processes:
            assert "254712345678" not in process.said()
            assert "Jina" not in process.said()


async def test_a_failed_result_and_then_a_success_are_a_contradiction_in_that_order(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    """All that came while the payout was gone is applied, in its order; the first end stands."""
    async with running_world(amqp_url, database_url, tmp_path) as world:
        await started(world)
        await post(world, result("600000_ORG_lost-2", code="43"))
        await post(world, result("600000_ORG_lost-2", code="7"))
        await post(world, result("600000_ORG_lost-2"))
        await world.publish(command("lost-2"))
        assert (await world.ended("lost-2"))["data"]["reason"]["code"] == "7"

        async def contradicted() -> bool:
            kinds = await world.connection.fetch(
                "SELECT 1 FROM incidents WHERE kind = 'contradiction' AND payout_id = 'lost-2'"
            )
            return len(kinds) == 1

        await world.until(contradicted, "the later success is an incident")


async def test_commands_that_were_in_hand_when_workers_died_are_no_poison(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    """RabbitMQ blames all of them each time; tried alone, each passes and is paid once.

    Proved by the count of deliveries alone: all were put aside as poison.
    """
    count = 40
    async with running_world(amqp_url, database_url, tmp_path, PAYOUTS_POISON_AFTER="2") as world:
        await started(world)
        ids = [f"innocent-{n}" for n in range(count)]
        async with stalled_books(world) as connection:
            await world.publish(*[command(one) for one in ids])
            for _ in range(3):
                worker = world.processes[-1]
                await world.until(lambda: in_hand(world, count), "the worker has them in hand")
                worker.kill()
                await worker.child.wait()
                await world.until(lambda: in_hand(world, 0), "RabbitMQ has them back")
                await end_waits(connection)
                await world.start_worker()
        await world.all_ended(ids)
        assert world.paid() == {one: ["150.50"] for one in ids}
        assert "command.suspected" in world.processes[-1].said()
        dead = await world.channel.get_queue("payouts.dead-letters", ensure=False)
        assert await dead.get(fail=False) is None
        assert await world.connection.fetchval("SELECT count(*) FROM suspects") == 0


async def in_hand(world: World, count: int) -> bool:
    """Tell whether so many commands are with a worker; the test has published them all."""
    queue = await world.channel.declare_queue("payouts.commands.default", passive=True)
    waiting = queue.declaration_result.message_count or 0
    consumers = queue.declaration_result.consumer_count or 0
    return waiting == 0 and consumers > 0 if count else waiting > 0


async def end_waits(connection: asyncpg.Connection) -> None:
    """End what dead workers' statements still wait for."""
    await connection.execute(
        """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
           WHERE datname = current_database() AND wait_event_type = 'Lock'"""
    )
