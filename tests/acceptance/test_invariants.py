"""The invariants of the design, where only the whole product can show them.

What one statement or one function guards is tested next to it; docs/explanation/how-we-test.md
lists the tests of every invariant and how each was proved.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from ops.local import LocalStack
from payouts.domain.payout import OPEN
from payouts.storage.engine import create_engine
from payouts.storage.reading import PayoutsReader
from tests.acceptance.test_callbacks import post, result, silent_payout
from tests.acceptance.watched import (
    Scene,
    beats,
    flood,
    refusing,
    resident_mib,
    stalled_books,
    stuck_on,
    verified,
    waiting_commands,
    watched_world,
)

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.servers]

CONCURRENCY = 8
PREFETCH = 20
BACKLOG = 100_000
GROWTH_MIB = 24


def command(payout_id: str, number: int = 0, **fields: object) -> dict[str, object]:
    """Make a command whose amount no other payout of a test has."""
    amount = f"{100 + number}.50"
    return {"payout_id": payout_id, "amount": amount, "msisdn": "254712345678", **fields}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def scene(
    stack: LocalStack, migrated: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Scene]:
    """Give a watched product with narrow bounds, in which nothing becomes doubtful by waiting."""
    name = secrets.token_hex(6)
    async with watched_world(
        await stack.fresh_vhost(f"watched-{name}"),
        await stack.fresh_database(f"watched_{name}", template=migrated),
        tmp_path_factory.mktemp("watched"),
        PAYOUTS_CONCURRENCY=str(CONCURRENCY),
        PAYOUTS_PREFETCH=str(PREFETCH),
        PAYOUTS_POISON_AFTER="3",
        PAYOUTS_REQUEST_TIMEOUT_S="30",
        PAYOUTS_RESULT_DEADLINE_S="30",
    ) as scene:
        yield scene


async def test_no_request_leaves_before_its_payout_is_durable(scene: Scene) -> None:
    """Invariant 1: while nothing can be written nothing is sent; each send finds its attempt.

    Proved by starting the submission before the intent is written: requests arrive unbooked.
    """
    world, gateway = scene.world, scene.gateway
    ids = [f"intent-{n}" for n in range(2 * CONCURRENCY)]
    again = "intent-lost"  # The gateway loses its first request; proof lets it go out again.
    async with stalled_books(world):
        await world.publish(*[command(one) for one in ids])
        await stuck_on(world, "AS repeat_of")
        await beats(world, 2)
        assert not gateway.of("intent-0")
        assert not await world.connection.fetchval("SELECT count(*) FROM payouts")
    await world.publish(command(again, msisdn="254700000152"))
    await world.all_ended([*ids, again])
    assert len(gateway.arrivals) == len(ids) + 2
    for arrival in gateway.arrivals:
        assert arrival.booked is not None, arrival.originator
        assert (arrival.booked["state"], arrival.booked["told"]) == ("submitting", True)
    assert [one.booked and one.booked["attempts"] for one in gateway.of(again)] == [1, 2]


async def test_every_send_of_a_payout_carries_its_one_id(
    stack: LocalStack, migrated: str, amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    """Invariant 2: after refusals, doubt, another worker, and even a lost database.

    Proved by adding the attempt to the id on the wire: nobody knows what is then asked about;
    and by drawing a part of it at random: the payouts are sent under two ids, and paid twice.
    """
    numbers = ["00", "10", "14", "40", "52", "53"]
    ids = {str(command("", n)["amount"]): f"one-{n}" for n in range(len(numbers))}
    commands = [
        command(f"one-{n}", n, msisdn=f"2547000001{number}") for n, number in enumerate(numbers)
    ]
    lost = f"lost_{secrets.token_hex(6)}"
    async with watched_world(amqp_url, database_url, tmp_path) as scene:
        world = scene.world
        await world.publish(*commands)
        await world.all_ended(list(ids.values()))
        first = world.processes[1]
        first.kill()
        await first.child.wait()
        empty = await stack.fresh_database(lost, template=migrated)
        await scene.start_worker(PAYOUTS_DATABASE_URL=empty)
        await world.publish(*commands)

        async def told_again() -> bool:
            return all(len(world.completions(one)) >= 2 for one in ids.values())

        await world.until(told_again, "each payout has ended in the new database too")
        for payout_id in ids.values():
            assert len({event["id"] for event in world.completions(payout_id)}) == 1
    assert scene.gateway.ids_by_amount() == {
        amount: {f"600000_ORG_{one}"} for amount, one in ids.items()
    }
    assert len(scene.gateway.arrivals) >= 2 * len(ids) + 4
    assert world.paid() == {one: [amount] for amount, one in ids.items()}


async def test_what_is_not_proved_neither_fails_nor_goes_out_again(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    """Invariants 3 and 4: no silence, odd answer, crash, repeat or restart ends or repeats it.

    Proved by failing unknown outcomes, by failing what dead workers left, and by failing overdue
    payouts; by sending repeated commands, and by letting the sweep claim what is in doubt.
    """
    numbers = ["02", *map(str, range(40, 54)), "55", "56", "57"]
    ids = [f"open-{number}" for number in numbers]
    commands = [command(f"open-{one}", msisdn=f"2547000001{one}") for one in numbers]
    async with watched_world(
        amqp_url, database_url, tmp_path, PAYOUTS_AMBIGUOUS="hold", PAYOUTS_RESULT_DEADLINE_S="1"
    ) as scene:
        world = scene.world
        await world.publish(*commands)

        async def at_rest() -> bool:
            busy = "state IN ('received', 'submitting', 'accepted')"
            rows = await world.connection.fetchrow(
                f"SELECT count(*), count(*) FILTER (WHERE {busy}) FROM payouts"  # noqa: S608
            )
            return tuple(rows) == (len(ids), 0)

        await world.until(at_rest, "every answer is written down, or overdue")
        scene.gateway.doors.clear()
        await world.publish(command("open-crash"))
        await world.in_state("open-crash", "submitting")
        world.processes[1].kill()
        await scene.start_worker()
        await world.in_state("open-crash", "in_doubt")
        scene.gateway.doors.set()
        await world.publish(*commands, command("open-crash"), command("open-last"))
        await world.ended("open-last")
        states = await world.connection.fetch("SELECT payout_id, state FROM payouts")
        assert {row["state"] for row in states} == {"in_doubt", "succeeded"}
        paid = {row["payout_id"] for row in states if row["state"] == "succeeded"}
    assert paid <= set(world.paid())
    assert {"open-02", "open-40", "open-52", "open-56", "open-57"}.isdisjoint(paid)
    assert {one: len(scene.gateway.of(one)) for one in ids} == dict.fromkeys(ids, 1)


async def test_an_end_and_its_event_are_one_commit(scene: Scene) -> None:
    """Invariant 6: an end whose event cannot be written is no end, and is not acknowledged.

    Proved by writing the event in a statement of its own, after the one that ends the payout.
    """
    world = scene.world
    await silent_payout(world, "whole-1")
    async with refusing(world, "events", "whole-1"):
        status, _ = await post(world, result("600000_ORG_whole-1"))
        assert status >= 500
        assert await world.state("whole-1") == "accepted"
    status, _ = await post(world, result("600000_ORG_whole-1"))
    assert status == 200
    await world.ended("whole-1")
    written = "SELECT count(*) FROM events WHERE payout_id = 'whole-1'"
    assert await world.connection.fetchval(written) == 1


async def test_a_command_is_acknowledged_only_once_its_payout_is_durable(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    """Invariant 7: a worker that dies before the commit has acknowledged nothing.

    Proved by acknowledging deliveries before their handler: the commands are gone.
    """
    count = 30
    async with watched_world(amqp_url, database_url, tmp_path) as scene:
        world, worker = scene.world, scene.world.processes[1]
        async with stalled_books(world) as connection:
            await world.publish(*[command(f"ack-{n}") for n in range(count)])

            async def taken() -> bool:
                return await waiting_commands(world) == 0

            await world.until(taken, "the worker has them all in hand")
            await stuck_on(world, "AS repeat_of")
            await beats(world, 2)
            worker.kill()
            await worker.child.wait()

            async def returned() -> bool:
                return await waiting_commands(world) == count

            await world.until(returned, "RabbitMQ has them all back")
            await connection.execute(
                """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'"""
            )
        await scene.start_worker()
        await world.all_ended([f"ack-{n}" for n in range(count)])
        assert all(len(paid) == 1 for paid in world.paid().values())


async def test_a_result_is_acknowledged_only_once_it_is_durable(scene: Scene) -> None:
    """Invariant 7: M-PESA hears nothing while nothing can be written, and then the truth.

    Proved by acknowledging before the Result is taken.
    """
    world = scene.world
    await silent_payout(world, "ack-result")
    async with stalled_books(world):
        answer = asyncio.create_task(post(world, result("600000_ORG_ack-result")))
        await stuck_on(world, "UPDATE payouts")
        await beats(world, 2)
        assert not answer.done()
    status, _ = await answer
    assert status == 200
    assert await world.state("ack-result") == "succeeded"


async def test_a_command_that_always_fails_is_put_aside_and_the_queue_goes_on(
    scene: Scene,
) -> None:
    """Invariant 8: what the database refuses again and again becomes a dead letter, `poison`.

    Proved by taking the count of deliveries out of the handler: it comes back for ever.
    """
    world = scene.world
    async with refusing(world, "payouts", "poison-1"):
        ids = [f"sound-{n}" for n in range(3 * PREFETCH)]
        await world.publish(command("poison-1"), *[command(one) for one in ids])
        await world.all_ended(ids)
        [(body, headers)] = await world.dead_letters(1)
    assert b"poison-1" in body
    assert headers["x-payouts-reason"] == "poison"
    assert await world.state("poison-1") is None
    await world.publish(command("poison-1"))
    assert (await world.ended("poison-1"))["type"] == "payout.succeeded"


async def test_work_in_hand_is_bounded_when_the_gateway_is_slow(scene: Scene) -> None:
    """Invariant 9: no more in flight than the concurrency, no more in hand than the prefetch.

    Proved by taking no slot before the intent, and by asking RabbitMQ for no prefetch.
    """
    world, gateway = scene.world, scene.gateway
    ids = [f"bound-{n}" for n in range(2 * (CONCURRENCY + PREFETCH))]
    left = len(ids) - CONCURRENCY - PREFETCH
    gateway.doors.clear()
    gateway.most_in_flight = 0
    await world.publish(*[command(one) for one in ids])

    async def full() -> bool:
        return gateway.in_flight >= CONCURRENCY and await waiting_commands(world) <= left

    await world.until(full, "all slots are taken")
    await beats(world, 2)
    assert await waiting_commands(world) == left
    gateway.doors.set()
    await world.all_ended(ids)
    assert gateway.most_in_flight == CONCURRENCY


async def test_the_books_balance_at_every_moment(scene: Scene) -> None:
    """Invariant 10: whenever one looks during a run, and against the gateway's ledger after it.

    Proved by leaving the events out of the statement that ends payouts, and by leaving out its
    timeline: the books are out of balance while the run is under way.
    """
    world, gateway, count = scene.world, scene.gateway, 300
    numbers = ("00", "24", "71", "76")  # Paid, refused, and failed by two Results.
    commands = [
        command(f"book-{n}", n, run_id="books", msisdn=f"2547000001{numbers[n % 4]}")
        for n in range(count)
    ]
    reader_engine = create_engine(world.database_url)
    reader, under_way = PayoutsReader(reader_engine), 0
    try:
        await world.publish(*commands[: count // 2])
        await world.ended("book-0")
        gateway.doors.clear()
        await world.publish(*commands[count // 2 :])

        async def balanced_and_ended() -> bool:
            nonlocal under_way
            books = await reader.books()
            assert books.problems == ()
            under_way += len({one.state in OPEN for one in books.states}) == 2
            if under_way:
                gateway.doors.set()  # It has been seen in the middle; the rest is as it comes.
            return all(world.completions(f"book-{n}") for n in range(count))

        await world.until(balanced_and_ended, "the run has ended", 60)
    finally:
        gateway.doors.set()
        await reader_engine.dispose()
    assert under_way
    verdict = await verified(world, "books")
    assert (verdict["exit"], verdict["balanced"]) == (0, True)
    expected = sum(100.5 + n for n in range(0, count, 4))
    assert float(verdict["ledger"]["succeeded_sum"]) == expected
    assert float(verdict["ledger"]["paid_sum"]) >= expected


async def test_a_long_queue_does_not_grow_the_worker(scene: Scene) -> None:
    """Invariant 9: 100,000 commands wait in RabbitMQ, not in the worker's memory.

    Proved by asking RabbitMQ for as much as it gives: the worker grows by 57 MiB in a second.
    """
    world, gateway, worker = scene.world, scene.gateway, scene.world.processes[1]
    gateway.doors.clear()
    before = resident_mib(worker)
    await flood(world, BACKLOG)
    await beats(world, 2)
    assert resident_mib(worker) - before < GROWTH_MIB
    assert await waiting_commands(world) == BACKLOG - CONCURRENCY - PREFETCH
    queue = await world.channel.get_queue("payouts.commands.default", ensure=False)
    await queue.purge()
    gateway.doors.set()
