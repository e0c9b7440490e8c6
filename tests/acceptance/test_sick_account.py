"""A sick account, a gateway that is away, a pace that is kept (design.md §3, §4)."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tests.acceptance.world import World, running_world

pytestmark = [pytest.mark.servers]

REFUSE_ALL = json.dumps({"rule": [{"when": {}, "do": "refuse_before:100000007"}]})
REFUSE_NONE = json.dumps({"rule": []})


def command(payout_id: str, **fields: object) -> dict[str, object]:
    return {"payout_id": payout_id, "amount": "150.50", "msisdn": "254712345678", **fields}


async def started(world: World) -> World:
    await world.start_callback_server()
    await world.start_worker()
    await world.listen()
    return world


async def paused(world: World) -> bool:
    found: bool = await world.connection.fetchval(
        "SELECT paused FROM accounts WHERE name = 'default'"
    )
    return found


async def test_three_configuration_refusals_pause_the_account_until_it_is_resumed(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    """Nothing more is sent, nothing fails, and after a resume everything is paid once."""
    async with running_world(amqp_url, database_url, tmp_path) as world:
        await started(world)
        world.simulator.install_faults(REFUSE_ALL)
        ids = [f"sick-{n}" for n in range(30)]
        await world.publish(*[command(one) for one in ids])
        await world.until(lambda: paused(world), "the account is paused")

        async def at_rest() -> bool:
            count: int = await world.connection.fetchval(
                "SELECT count(*) FROM payouts WHERE state IN ('waiting', 'received')"
            )
            return count == len(ids)

        await world.until(at_rest, "nothing is under way")
        reason = await world.connection.fetchval("SELECT paused_reason FROM accounts")
        assert "100000007" in reason
        assert not world.events
        assert not world.paid()
        world.simulator.install_faults(REFUSE_NONE)
        await world.set_paused("default", paused=False)
        await world.all_ended(ids)
        assert world.paid() == {one: ["150.50"] for one in ids}


async def test_results_that_blame_the_configuration_pause_the_account(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    """What is wrong is told by Results; a few payouts fail, the run does not follow them."""
    async with running_world(
        amqp_url, database_url, tmp_path, PAYOUTS_CONCURRENCY="2", PAYOUTS_PREFETCH="2"
    ) as world:
        await started(world)
        forbidden = {"rule": [{"when": {}, "do": "result_failed:21"}]}
        world.simulator.install_faults(json.dumps(forbidden))
        await world.publish(*[command(f"barred-{n}", run_id="barred") for n in range(2000)])
        await world.until(lambda: paused(world), "the account is paused")
        worker = world.processes[1]

        async def noticed() -> bool:
            return "account.paused" in worker.said()

        await world.until(noticed, "the worker has noticed")
        known = await world.connection.fetchval("SELECT count(*) FROM payouts")
        assert known < 1500
        assert not world.paid()


async def test_a_locked_initiator_pauses_the_account_at_once(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    """One Result that says so is enough; unlocked and resumed, the account pays again.

    Proved by counting such a Result like any other: nothing was paused.
    """
    async with running_world(amqp_url, database_url, tmp_path) as world:
        await started(world)
        world.simulator.lock(initiator=True)
        await world.publish(command("locked-1"))
        await world.until(lambda: paused(world), "the account is paused")
        assert (await world.ended("locked-1"))["data"]["reason"]["code"] == "8006"
        assert "8006" in await world.connection.fetchval("SELECT paused_reason FROM accounts")
        world.simulator.lock(initiator=False)
        worker = world.processes[1]

        async def noticed() -> bool:
            return "account.paused" in worker.said()

        await world.until(noticed, "the worker has noticed")
        await world.publish(command("locked-2"))
        assert not world.paid()
        await world.set_paused("default", paused=False)
        assert (await world.ended("locked-2"))["type"] == "payout.succeeded"


async def test_an_account_pauses_before_its_float_runs_dry(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    """Below PAYOUTS_FLOAT_MIN nothing more is sent; with money in it, a resume goes on.

    Proved by looking at nothing: the float was used up, and payouts failed for it.
    """
    async with running_world(amqp_url, database_url, tmp_path, PAYOUTS_FLOAT_MIN="500") as world:
        world.simulator.set_float(Decimal("1000.00"))
        await started(world)
        enough = [f"float-{n}" for n in range(3)]
        for one in enough:
            await world.publish(command(one))
            await world.ended(one)
        assert not await paused(world)
        await world.publish(command("float-3"))
        await world.until(lambda: paused(world), "the account is paused")
        reason = await world.connection.fetchval("SELECT paused_reason FROM accounts")
        assert "500.00" in reason
        await world.ended("float-3")
        later = [f"float-{n}" for n in range(4, 14)]
        await world.publish(*[command(one) for one in later])
        worker = world.processes[1]
        before = await beats_of(world)

        async def beaten() -> bool:
            return await beats_of(world) != before and "account.paused" in worker.said()

        await world.until(beaten, "the worker has gone on for a while")
        assert len(world.paid()) == 4
        world.simulator.set_float(Decimal("100000.00"))
        await world.set_paused("default", paused=False)
        await world.all_ended(later)
        assert all(paid == ["150.50"] for paid in world.paid().values())


async def beats_of(world: World) -> object:
    return await world.connection.fetchval("SELECT max(heartbeat_at) FROM workers")


async def test_what_rests_expires_in_its_time(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    """`not_after` holds while a run is paused, too: downstream hears of it in time.

    Proved by taking the sweep out: it waited until somebody resumed.
    """
    async with running_world(amqp_url, database_url, tmp_path) as world:
        await started(world)
        await world.connection.execute(
            "INSERT INTO paused_runs (run_id, reason, paused_at) VALUES ('slow', 'a test', now())"
        )
        soon = (datetime.now(UTC) + timedelta(seconds=4)).isoformat()
        await world.publish(command("hurry-1", not_after=soon, run_id="slow"))
        await world.in_state("hurry-1", "received")
        event = await world.ended("hurry-1")
        assert event["data"]["reason"]["class"] == "expired"
        assert not world.paid()


async def test_a_gateway_that_is_away_opens_the_circuit_and_nothing_is_lost(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    """The queue is not drained into the database; when the gateway is back all is paid once."""
    async with running_world(amqp_url, database_url, tmp_path) as world:
        await started(world)
        world.simulator.away(6.0)
        ids = [f"away-{n}" for n in range(500)]
        await world.publish(*[command(one) for one in ids])
        worker = world.processes[1]

        async def opened() -> bool:
            return "circuit.opened" in worker.said()

        await world.until(opened, "the circuit opens")

        async def seen() -> bool:
            cut_off = await world.connection.fetchval("SELECT cut_off FROM workers")
            return bool(cut_off == ["default"])

        await world.until(seen, "others can see that the circuit is open")
        known = await world.connection.fetchval("SELECT count(*) FROM payouts")
        assert known <= 350  # What is in hand: the prefetch and the slots, not the queue.
        await world.all_ended(ids)
        assert "circuit.closed" in worker.said()
        assert all(paid == ["150.50"] for paid in world.paid().values())


async def test_a_gateway_that_answers_rubbish_does_not_turn_the_queue_into_doubt(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    """Answers that nobody understands open the circuit; later all is paid once.

    Proved by resetting the count at such answers: all 600 are in doubt within seconds.
    """
    async with running_world(
        amqp_url, database_url, tmp_path, PAYOUTS_CONCURRENCY="20", PAYOUTS_PREFETCH="20"
    ) as world:
        await started(world)
        rubbish = {"rule": [{"when": {}, "do": "html_page_before"}]}
        world.simulator.install_faults(json.dumps(rubbish))
        ids = [f"rubbish-{n}" for n in range(600)]
        await world.publish(*[command(one) for one in ids])
        worker = world.processes[1]

        async def cut_three_times() -> bool:
            return worker.said().count("circuit.opened") >= 3

        await world.until(cut_three_times, "the circuit opens again and again")
        assert await world.connection.fetchval("SELECT count(*) FROM payouts") < 300
        world.simulator.install_faults(REFUSE_NONE)
        await world.all_ended(ids, within_s=90)
        assert world.paid() == {one: ["150.50"] for one in ids}


async def test_a_slow_account_does_not_stand_in_the_way_of_another(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    """Contract §1: while one account crawls at 1/s, another is paid at once."""
    accounts = tmp_path / "accounts.toml"
    accounts.write_text(
        '[default]\ntps = 1\n\n[loans]\nshortcode = "600001"\norganisation = "LOANS"\n'
    )
    async with running_world(
        amqp_url,
        database_url,
        tmp_path,
        simulator={"short_codes": ("600000", "600001")},
        PAYOUTS_ACCOUNTS_FILE=str(accounts),
        PAYOUTS_CONCURRENCY="10",
    ) as world:
        await started(world)
        await world.publish(*[command(f"slow-{n}") for n in range(60)])
        await world.ended("slow-0")
        ids = [f"quick-{n}" for n in range(30)]
        await world.publish(*[command(one, account="loans") for one in ids], account="loans")
        await world.all_ended(ids, within_s=30)
        slow = [one for one in world.events if one.startswith("slow-") and world.events[one]]
        assert len(slow) < 45


async def test_the_pace_holds_over_two_workers(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    """With PAYOUTS_TPS=40 no second sees more than 40 requests and the rounding of one."""
    async with running_world(amqp_url, database_url, tmp_path, PAYOUTS_TPS="40") as world:
        await started(world)
        await world.start_worker()
        ids = [f"pace-{n}" for n in range(160)]
        await world.publish(*[command(one) for one in ids])
        await world.all_ended(ids)
        rows = await world.connection.fetch(
            """SELECT count(*) OVER (ORDER BY submitted_at
               RANGE BETWEEN CURRENT ROW AND INTERVAL '999 milliseconds' FOLLOWING) AS n
               FROM payouts"""
        )
        assert max(row["n"] for row in rows) <= 48  # Claims, not sends: batches blur the edge.


async def test_hold_leaves_doubt_to_a_person(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    """With PAYOUTS_AMBIGUOUS=hold nothing is asked and nothing is sent again."""
    async with running_world(amqp_url, database_url, tmp_path, PAYOUTS_AMBIGUOUS="hold") as world:
        await started(world)
        await world.publish(command("hold-1", msisdn="254700000157"), command("hold-2"))
        await world.in_state("hold-1", "in_doubt")
        await world.ended("hold-2")
        row = await world.connection.fetchrow(
            "SELECT next_action_at, queries, attempts FROM payouts WHERE payout_id = 'hold-1'"
        )
        assert dict(row) == {"next_action_at": None, "queries": 0, "attempts": 1}


async def test_resend_sends_the_same_id_and_pays_once(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    """With PAYOUTS_AMBIGUOUS=resend a lost request is sent again, a lost answer is recognised."""
    async with running_world(amqp_url, database_url, tmp_path, PAYOUTS_AMBIGUOUS="resend") as world:
        await started(world)
        await world.publish(
            command("resend-lost", msisdn="254700000152"),
            command("resend-paid", msisdn="254700000157"),
        )
        for payout_id in ("resend-lost", "resend-paid"):
            assert (await world.ended(payout_id))["type"] == "payout.succeeded"
            assert world.paid()[payout_id] == ["150.50"]
        attempts = await world.connection.fetchval(
            "SELECT attempts FROM payouts WHERE payout_id = 'resend-lost'"
        )
        assert attempts == 2


async def test_an_event_that_nobody_listens_for_is_kept_until_somebody_does(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    """An unroutable event stays in the outbox and is published when a queue is bound."""
    async with running_world(amqp_url, database_url, tmp_path) as world:
        server = await world.start_callback_server()
        await world.start_worker()
        await world.publish(command("deaf-1"))
        await world.in_state("deaf-1", "succeeded")

        async def refused() -> bool:
            return "event.unroutable" in server.said()

        await world.until(refused, "the event is unroutable")
        await world.listen()
        assert (await world.ended("deaf-1", within_s=60))["type"] == "payout.succeeded"


async def test_progress_events_are_published_where_asked_for(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    """With PAYOUTS_PROGRESS_EVENTS downstream hears of acceptance and doubt too."""
    async with running_world(
        amqp_url, database_url, tmp_path, PAYOUTS_PROGRESS_EVENTS="true"
    ) as world:
        await started(world)
        await world.publish(command("progress-1", msisdn="254700000102"))
        await world.ended("progress-1")

        async def heard() -> bool:
            types = {event["type"] for event in world.events["progress-1"]}
            return types == {"payout.accepted", "payout.in_doubt", "payout.succeeded"}

        await world.until(heard, "all three events")
