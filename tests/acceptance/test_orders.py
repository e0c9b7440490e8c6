"""None can send a payout again that is not conclusively failed: a test for each order tries."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aio_pika
import pytest

from tests import command_line
from tests.acceptance.test_callbacks import incidents, post, result
from tests.acceptance.watched import Scene, watched_world

pytestmark = [pytest.mark.servers]

WHY = ("--reason", "a test tries", "--operator", "jane", "--yes")
# Nothing moves by itself: each payout stays in the state that it was brought to.
STILL = {
    "PAYOUTS_AMBIGUOUS": "hold",
    "PAYOUTS_QUERY_URL": "",  # Questions go to the core, which knows the end.
    "PAYOUTS_REQUEST_TIMEOUT_S": "60",
    "PAYOUTS_RESULT_DEADLINE_S": "300",
    "PAYOUTS_RETRY_FIRST_S": "250",
    "PAYOUTS_TRIES_AT_ONCE": "1",
    "PAYOUTS_CIRCUIT_FAILURES": "1000",
    "PAYOUTS_RESOLVE_AFTER_S": "0.001",
}
HALTED = "halted"
RECEIVERS = {
    "received": "254712345678",
    "submitting": "254712345678",
    "waiting": "254700000110",  # Refused, to be tried again.
    "accepted": "254700000102",  # Paid, and never told.
    "in_doubt": "254700000157",  # Paid, the answer lost, and never told.
    "succeeded": "254712345678",
    "failed": "254700000189",
}
STATES = tuple(RECEIVERS)
# What each order does, by state; it is refused in all others.
DONE: dict[str, set[str]] = {
    "retry": {"failed"},
    "cancel": {"received", "waiting"},
    "resolve-paid": {"in_doubt"},
    "resolve-not-paid": {"in_doubt"},
    "hold": {"submitting", "waiting", "accepted", "in_doubt"},
    "release": set(),
    "reconcile": {"accepted", "in_doubt"},
    "republish": {"succeeded", "failed"},
}
# Commands that come once more are no orders; nobody is told, and nothing is sent.
AGAIN = ("publish", "replay")


async def payouts(scene: Scene, *arguments: str, apart: bool = False) -> command_line.Ran:
    """Runs `payouts` beside the running product; `apart` lets it run beside the test, too."""
    run = command_line.payouts_apart if apart else command_line.payouts
    return await run(*arguments, environ=scene.world.environ)


async def ordered(
    scene: Scene, *arguments: str, operator: str = "jane", apart: bool = False
) -> dict[str, bool]:
    """Orders something and gives, for each payout, whether it was done."""
    why = ("--reason", "a test tries", "--operator", operator)
    yes = () if arguments[0] in {"hold", "reconcile", "events"} else ("--yes",)
    ran = await payouts(scene, *arguments, *why, *yes, "--json", apart=apart)
    assert ran.status in {0, 1}, ran
    assert ran.status == (0 if all(line["done"] for line in ran.lines) else 1), ran
    return {line["payout_id"]: line["done"] for line in ran.lines}


def command(payout_id: str, state: str = "succeeded", **fields: object) -> dict[str, object]:
    """Gives a command whose payout comes to a state and stays there."""
    run = HALTED if state == "received" else "running"
    wanted = {"amount": "150.50", "msisdn": RECEIVERS[state], "run_id": run}
    return {"payout_id": payout_id, **wanted, **fields}


async def stand_by(scene: Scene, names: list[str]) -> None:
    """Brings one payout of each name to each state; those on their way wait at the door."""
    world, gateway = scene.world, scene.gateway
    paused = await payouts(scene, "run", "pause", HALTED, *WHY[:4])
    assert paused.status == 0, paused
    for state in STATES:
        if state == "submitting":
            continue
        await world.publish(*(command(f"{name}.{state}", state) for name in names))
    for state in STATES:
        if state != "submitting":
            for name in names:
                await world.in_state(f"{name}.{state}", state)
    gateway.doors.clear()
    state = "submitting"
    await world.publish(*(command(f"{name}.{state}", state) for name in names))

    async def at_the_door() -> bool:
        return gateway.in_flight == len(names)

    await world.until(at_the_door, "requests wait at the door")


@asynccontextmanager
async def still_world(amqp_url: str, database_url: str, folder: Path) -> AsyncIterator[Scene]:
    """Gives a running product that does nothing by itself."""
    async with watched_world(amqp_url, database_url, folder, **STILL) as scene:
        yield scene


async def order_each(scene: Scene, name: str) -> dict[str, bool]:
    """Tries one order on a payout of each state; gives for each state whether it was done."""
    ids = [f"{name}.{state}" for state in STATES]
    told: dict[str, bool] = {}
    match name:
        case "resolve-paid" | "resolve-not-paid":
            for one in ids:
                verdict = ("--not-paid",) if name.endswith("not-paid") else ("--paid", f"R.{one}")
                told |= await ordered(scene, "resolve", one, *verdict)
        case "republish":
            told = await ordered(scene, "events", "republish", *ids)
        case _:
            told = await ordered(scene, name, *ids)
    return {one.removeprefix(f"{name}."): done for one, done in told.items()}


async def bury(scene: Scene, body: dict[str, object]) -> None:
    """Puts a command among the dead letters that was never wrong."""
    exchange = await scene.world.channel.get_exchange("payouts.dead-letters", ensure=False)
    headers = {"x-payouts-reason": "poison", "x-payouts-routing-key": "default"}
    await exchange.publish(
        aio_pika.Message(json.dumps(body).encode(), headers=dict(headers)),
        routing_key="payouts.dead-letters",
    )


async def come_again(scene: Scene) -> None:
    """Has the commands of payouts in every state come once more, also from the dead letters."""
    for state in STATES:
        await scene.world.publish(command(f"publish.{state}", state))
        await bury(scene, command(f"replay.{state}", state))
    replayed = await payouts(scene, "dead-letters", "replay", "--all", *WHY)
    assert replayed.status == 0, replayed
    assert len(replayed.out.splitlines()) == len(STATES)

    async def taken() -> bool:
        queue = await scene.world.channel.declare_queue("payouts.commands.default", passive=True)
        return queue.declaration_result.message_count == 0

    await scene.world.until(taken, "the commands were taken")


@pytest.mark.timeout(300)
async def test_no_order_sends_again_what_has_not_conclusively_failed(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    """Every order on a payout of every state; and every command once more, by hand and replayed.

    Judged at the gateway's door: one request for each payout, whatever was ordered; a second
    one, under a second id, only for what had failed and was retried. Proved by letting what is
    in doubt through: in the order, its statement and the trigger, as each of them is enough.
    """
    async with still_world(amqp_url, database_url, tmp_path) as scene:
        world, gateway = scene.world, scene.gateway
        await stand_by(scene, [*DONE, *AGAIN])
        told = {name: await order_each(scene, name) for name in DONE}
        await come_again(scene)
        for name, done in told.items():
            assert {state for state, was in done.items() if was} == DONE[name], name

        async def settled() -> bool:
            asked = [await world.state(f"reconcile.{one}") for one in ("accepted", "in_doubt")]
            return asked == ["succeeded"] * 2 and len(gateway.of("retry.failed")) == 2

        await world.until(settled, "what was ordered has been done")
        gateway.doors.set()
        ids = [f"{name}.submitting" for name in (*DONE, *AGAIN)]
        await world.all_ended([*ids, "retry.failed-r2"])
        seen = Counter(one.originator for one in gateway.arrivals)
        assert set(seen.values()) == {1}
        expected = {
            f"600000_ORG_{name}.{state}"
            for name in (*DONE, *AGAIN)
            for state in STATES
            if state != "received"
        }
        assert set(seen) == {*expected, "600000_ORG-r2_retry.failed"}
        assert all(len(amounts) == 1 for amounts in world.paid().values())


@pytest.mark.timeout(200)
async def test_a_late_result_of_the_first_submission_stops_the_second(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    """The first is told as paid after all: an incident, and the second is not sent any more.

    Neither releasing it nor resuming its account sends it; it can only be cancelled. Proved by
    letting the incident hold nothing: the second was not stopped.
    """
    async with still_world(amqp_url, database_url, tmp_path) as scene:
        world, gateway = scene.world, scene.gateway
        await world.publish(command("twice", "failed"), command("third", "failed"))
        await world.all_ended(["twice", "third"])
        pause = ("--reason", "a test tries", "--operator", "jane")
        assert (await payouts(scene, "pause", "default", *pause)).status == 0
        assert await ordered(scene, "retry", "twice") == {"twice": True}
        await post(world, result("600000_ORG_twice"))
        assert "600000_ORG_twice" in await incidents(world, "contradiction")
        await post(world, result("600000_ORG_third"))
        assert await ordered(scene, "retry", "third") == {"third": False}
        released = await payouts(scene, "release", "twice-r2", *WHY)
        assert released.status == 1
        assert "cancel this one" in released.out
        assert (await payouts(scene, "resume", "default", *WHY)).status == 0
        # What comes after it has been sent: the sweeps have had their turn.
        await world.publish(command("after"))
        await world.ended("after")
        await ordered(scene, "retry", "twice")
        assert await ordered(scene, "cancel", "twice-r2") == {"twice-r2": True}
        await world.ended("twice-r2")
        assert len(gateway.of("twice")) == 1
        assert await ordered(scene, "retry", "twice-r2") == {"twice-r2": False}
        assert world.completions("twice")[0]["type"] == "payout.failed"


@pytest.mark.timeout(200)
async def test_what_one_operator_declares_unpaid_another_one_pays_again(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    """Four eyes: the word of one person moves no money; with two the payout is paid once more.

    Each submission has one completion event of its own, and its own id at the gateway. Proved by
    not comparing the operators.
    """
    async with still_world(amqp_url, database_url, tmp_path) as scene:
        world, gateway = scene.world, scene.gateway
        lost = json.dumps({"rule": [{"when": {"send": 1}, "do": "lost_request"}]})
        world.simulator.install_faults(lost)
        await world.publish(command("eyes"))
        await world.in_state("eyes", "in_doubt")
        world.simulator.install_faults(json.dumps({"rule": []}))
        assert await ordered(scene, "resolve", "eyes", "--not-paid") == {"eyes": True}
        assert await ordered(scene, "retry", "eyes") == {"eyes": False}
        assert await ordered(scene, "retry", "eyes", operator="JANE ") == {"eyes": False}
        assert len(gateway.of("eyes")) == 1
        assert await ordered(scene, "retry", "eyes", operator="amina") == {"eyes": True}
        second = await world.ended("eyes-r2")
        assert (second["type"], second["retryof"]) == ("payout.succeeded", "eyes")
        assert (await world.ended("eyes"))["type"] == "payout.failed"
        assert {one.originator for one in gateway.of("eyes")} == {
            "600000_ORG_eyes",
            "600000_ORG-r2_eyes",
        }
        assert world.paid()["eyes"] == ["150.50"]


@pytest.mark.timeout(200)
async def test_a_replayed_dead_letter_pays_nobody_twice(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    """A conflict stays one; the command of a paid payout repeats its event; a new one pays once."""
    async with still_world(amqp_url, database_url, tmp_path) as scene:
        world, gateway = scene.world, scene.gateway
        await world.publish(command("dead-1"))
        await world.ended("dead-1")
        await world.publish(command("dead-1", amount="99.00"))
        replay = ("dead-letters", "replay", "--payout-id")

        async def buried() -> bool:
            ran = await payouts(scene, "dead-letters", "list", "--why", "conflict", "--json")
            return len(json.loads(ran.out)) == 1

        await world.until(buried, "the conflict is put aside")
        assert (await payouts(scene, *replay, "dead-1", *WHY)).status == 0
        await world.until(buried, "the conflict is put aside again")
        await bury(scene, command("dead-1"))
        for _ in range(2):
            await bury(scene, command("dead-2"))
        assert (await payouts(scene, *replay, "dead-2", *WHY)).status == 0
        assert (await payouts(scene, "dead-letters", "replay", "--why", "poison", *WHY)).status == 0
        await world.ended("dead-2")

        async def repeated() -> bool:
            return len(world.completions("dead-1")) > 1

        await world.until(repeated, "the event comes again")
        assert len({one["id"] for one in world.completions("dead-1")}) == 1
        assert world.paid() == {"dead-1": ["150.50"], "dead-2": ["150.50"]}
        assert len(gateway.arrivals) == 2


@pytest.mark.timeout(200)
async def test_a_cancel_and_the_sweep_never_both_win(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    """While a run is let go, all of it is cancelled: each payout is paid or cancelled, never both.

    Proved by letting `cancel` end what is being sent: the same were cancelled and paid.
    """
    async with still_world(amqp_url, database_url, tmp_path) as scene:
        world = scene.world
        assert (await payouts(scene, "run", "pause", HALTED, *WHY[:4])).status == 0
        ids = [f"race-{number}" for number in range(200)]
        await world.publish(*(command(one, "received") for one in ids))

        async def durable() -> bool:
            found: int = await world.connection.fetchval("SELECT count(*) FROM payouts")
            return found == len(ids)

        await world.until(durable, "all are durable")
        resumed, told = await asyncio.gather(
            payouts(scene, "run", "resume", HALTED, *WHY, apart=True),
            ordered(scene, "cancel", *ids, apart=True),
        )
        assert resumed.status == 0, resumed
        await world.all_ended(ids)
        cancelled = {one for one, done in told.items() if done}
        assert cancelled.isdisjoint(world.paid())
        assert cancelled | set(world.paid()) == set(ids)
        assert all(len(amounts) == 1 for amounts in world.paid().values())
