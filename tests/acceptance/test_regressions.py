"""What a review found broken once: each test failed before the guard that it names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.acceptance.test_callbacks import incidents, post, result
from tests.acceptance.world import World, running_world

pytestmark = [pytest.mark.servers]


def command(payout_id: str, **fields: object) -> dict[str, object]:
    return {"payout_id": payout_id, "amount": "150.50", "msisdn": "254712345678", **fields}


async def started(world: World) -> World:
    await world.start_callback_server()
    await world.start_worker()
    await world.listen()
    return world


async def put_received(world: World, prefix: str, count: int, numbers: list[str]) -> None:
    """Write payouts that wait for their turn, as intake does while an account is closed."""
    await world.connection.execute(
        """INSERT INTO payouts (payout_id, account, amount_minor, currency, msisdn, command_id,
               originator_conversation_id, state, created_at, next_action_at)
           SELECT $1 || n, 'default', 15050, 'KES', ($3::text[])[1 + n % cardinality($3::text[])],
               'BusinessPayment', '600000_ORG_' || $1 || n, 'received', now(), now()
           FROM generate_series(1, $2::integer) AS n""",
        prefix,
        count,
        numbers,
    )


async def test_a_refusal_of_a_second_send_does_not_fail_what_the_first_paid(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    """Invariant 3: with `resend`, a refused repeat proves nothing about the send before it.

    Proved by deciding the refusal alone: the payout was told as failed although it was paid.
    """
    async with running_world(amqp_url, database_url, tmp_path, PAYOUTS_AMBIGUOUS="resend") as world:
        await started(world)
        rules = [
            {"when": {"send": 1}, "do": ["drop_answer", "result_late:8"]},
            {"when": {"operation": "payment"}, "do": "refuse_before:100000005"},
        ]
        world.simulator.install_faults(json.dumps({"rule": rules}))
        await world.publish(command("repeat-1"))
        event = await world.ended("repeat-1")
        assert event["type"] == "payout.succeeded"
        assert world.paid()["repeat-1"] == ["150.50"]
        assert await incidents(world, "contradiction") == []


async def test_an_answer_to_a_question_is_never_taken_for_a_payments_result(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    """A query's Result is about the query, even if it names the payment's ConversationID.

    Proved by matching it to payouts first: code 0, "the query worked", paid a declined payment.
    """
    async with running_world(amqp_url, database_url, tmp_path, PAYOUTS_QUERY_URL="") as world:
        await started(world)
        silence = [
            {"when": {"operation": one}, "do": "result_never"} for one in ("payment", "query")
        ]
        world.simulator.install_faults(json.dumps({"rule": silence}))
        await world.publish(command("asked-1"))

        async def asked() -> bool:
            return bool(await world.connection.fetchval("SELECT count(*) FROM queries"))

        await world.until(asked, "the gateway is asked")
        query_id = await world.connection.fetchval("SELECT query_id FROM queries LIMIT 1")
        conversation = await world.connection.fetchval("SELECT conversation_id FROM payouts")
        declined = result(
            query_id, conversation=conversation, parameters={"TransactionStatus": "Declined"}
        )
        assert (await post(world, declined))[0] == 200
        event = await world.ended("asked-1")
        assert event["type"] == "payout.failed"
        assert event["data"]["reason"]["source"] == "query"


async def test_a_pause_holds_back_what_was_claimed_before_it(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    """What waits for its turn under PAYOUTS_TPS is not sent once the account is paused.

    Proved by asking the lease alone at the last instant: 16 more were sent after the pause.
    """
    async with running_world(amqp_url, database_url, tmp_path, PAYOUTS_TPS="4") as world:
        await started(world)
        await put_received(world, "turn-", 20, ["254712345678"])

        async def some_sent() -> bool:
            return len(world.paid()) >= 2

        await world.until(some_sent, "some are sent")
        await world.set_paused("default", paused=True)
        worker = world.processes[1]

        async def noticed() -> bool:
            return "account.paused" in worker.said()

        await world.until(noticed, "the worker knows of the pause")
        sent = world.simulator.statistics()["requests"]

        async def none_in_flight() -> bool:
            query = "SELECT count(*) FROM payouts WHERE state IN ('submitting', 'accepted')"
            return not await world.connection.fetchval(query)

        await world.until(none_in_flight, "all others are held back")
        assert world.simulator.statistics()["requests"] <= sent + 1
        held = await world.connection.fetchval(
            "SELECT count(*) FROM payouts WHERE state = 'waiting' AND submitted_at IS NULL"
        )
        assert held > 0


async def test_a_drain_starts_nothing_that_it_would_cut_off(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    """While a worker drains its sweeps bring nothing more; what is in flight ends, undoubted.

    Proved by leaving the pool open: what the sweep of due payouts started meanwhile was cut off.
    """
    quick, slow = "254712345678", "254712345679"
    async with running_world(amqp_url, database_url, tmp_path) as world:
        await world.start_callback_server()
        worker = await world.start_worker(PAYOUTS_CONCURRENCY="10")
        rules = [
            {"when": {"msisdn": quick}, "do": "slow_answer:0.3"},
            {"when": {"msisdn": slow}, "do": "slow_answer:1.6"},
        ]
        world.simulator.install_faults(json.dumps({"rule": rules}))
        await put_received(world, "drain-", 200, [quick, slow])

        async def full() -> bool:
            query = "SELECT count(*) FROM payouts WHERE state = 'submitting'"
            return int(await world.connection.fetchval(query)) >= 8

        await world.until(full, "requests are in flight")
        assert await worker.stop() == 0
        assert '"abandoned": 0' in worker.said()
        doubted = await world.connection.fetchval(
            "SELECT count(*) FROM timeline WHERE to_state = 'in_doubt'"
        )
        assert doubted == 0


async def test_doubts_are_asked_about_side_by_side(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    """Forty doubts at a gateway that answers questions late are settled in little time.

    Proved by asking one after the other: each waited for all answers before its own.
    """
    async with running_world(amqp_url, database_url, tmp_path) as world:
        await started(world)
        rules = [
            {"when": {"operation": "payment"}, "do": "result_never"},
            {"when": {"operation": "transaction"}, "do": "slow_answer:1"},
            {"when": {"operation": "query"}, "do": "slow_answer:1"},
        ]
        world.simulator.install_faults(json.dumps({"rule": rules}))
        ids = [f"side-{n}" for n in range(40)]
        await world.publish(*[command(one) for one in ids])
        await world.all_ended(ids, within_s=30)
