"""Holds, paused runs, questions, repeats of events, and the audit that keeps who ordered what."""

import asyncio
from dataclasses import replace

import asyncpg
import pytest
from storage_bed import (
    ACCOUNT,
    NOW,
    RUN,
    Bed,
    move,
    payout,
    received,
    seconds,
)

from payouts.domain.payout import HELD_RUN, State
from payouts.domain.values import PayoutId, WorkerId
from payouts.ports import Action, Order
from payouts.storage.orders import PostgresOrders

JANE = Order(operator="jane", reason="ticket 12", at=NOW + seconds(900))
OTTO = replace(JANE, operator="otto")
A = PayoutId("a")


async def test_what_is_held_is_not_sent_until_it_is_released(
    bed: Bed, orders: PostgresOrders
) -> None:
    """Neither a due payout nor one whose doubt is proved goes out while it is held.

    Proved by leaving `held` out of the claim and out of the resend.
    """
    await bed.bring_to(State.RECEIVED)
    await bed.bring_to(State.IN_DOUBT, "b")
    await bed.fetch(
        "UPDATE payouts SET not_found_count = 2, first_not_found_at = $1, last_not_found_at = $2"
        " WHERE payout_id = 'b'",
        NOW + seconds(200),
        NOW + seconds(300),
    )
    for name in ("a", "b"):
        assert (await orders.hold(PayoutId(name), JANE)).done

    async def sent() -> list[str]:
        now = NOW + seconds(1000)
        due = await bed.store.claim_due(WorkerId(7), [ACCOUNT], now=now, limit=9)
        again = await bed.store.resend(
            PayoutId("b"),
            WorkerId(7),
            now=now,
            grace_s=60,
            interval_s=30,
            by_policy=False,
            actor="worker 7",
        )
        return [one.payout_id for one in (*due, *([again] if again else []))]

    assert await sent() == []
    for name in ("a", "b"):
        assert (await orders.release(PayoutId(name), JANE)).done
    assert await sent() == ["a", "b"]


async def test_a_paused_run_rests_whole_and_goes_on_whole(bed: Bed, orders: PostgresOrders) -> None:
    """What waits, what comes, and what is refused meanwhile: nothing of the run goes out.

    Proved by leaving the run out of the insert, of the claim, of the resend.
    """
    await bed.intend(received("waits"))
    await bed.intend(payout("on-its-way"))
    await orders.set_run_paused(RUN, paused=True, order=JANE)
    await bed.store.move(move("on-its-way", State.WAITING, next_action_at=NOW))

    came = await bed.intend(payout("comes"))
    other = await bed.intend(payout("other", run_id=None))

    assert (came.state, came.held, came.attempts) == (State.RECEIVED, HELD_RUN, 0)
    assert other.state is State.SUBMITTING
    assert await bed.store.claim_due(WorkerId(7), [ACCOUNT], now=JANE.at, limit=9) == []
    assert not (await orders.release(PayoutId("comes"), JANE)).done
    assert list(await orders.paused_runs()) == [RUN]

    await orders.set_run_paused(RUN, paused=False, order=JANE)

    claimed = await bed.store.claim_due(WorkerId(7), [ACCOUNT], now=JANE.at, limit=9)
    assert {one.payout_id for one in claimed} == {"waits", "comes", "on-its-way"}


async def test_an_account_paused_in_the_database_takes_no_intent_to_send(
    bed: Bed, orders: PostgresOrders
) -> None:
    """A worker that has not heard of the pause yet writes `received`, and must not send.

    Proved by leaving the account out of the insert.
    """
    await orders.set_account_paused(ACCOUNT, paused=True, order=JANE)

    assert (await bed.intend(payout("a"))).state is State.RECEIVED


async def test_what_is_asked_for_is_asked_for_at_once(bed: Bed, orders: PostgresOrders) -> None:
    """In doubt: due now, marked; accepted: overdue now. The question takes the mark away."""
    await bed.bring_to(State.IN_DOUBT)
    await bed.bring_to(State.ACCEPTED, "b")

    for name in ("a", "b"):
        assert (await orders.ask_now(PayoutId(name), JANE)).done
    await bed.store.mark_overdue(now=JANE.at, limit=9, actor="worker 7")

    due = await bed.store.claim_doubts([ACCOUNT], now=JANE.at, until=JANE.at, limit=9)
    assert {one.payout_id for one in due if one.ask_now} == {"a", "b"}


async def test_an_event_is_published_again_with_its_id(bed: Bed, orders: PostgresOrders) -> None:
    """Ordered by a person, or by the same command again: the relay finds it, also after a crash.

    Proved by not writing it down for the repeated command.
    """
    outcome = await bed.succeeded("a")
    assert outcome.event is not None
    for again in range(2):
        await bed.store.mark_published(outcome.event.event_id)
        if again:
            await bed.intend(payout("a"))
        else:
            assert (await orders.republish(A, JANE)).done
        later = NOW + seconds(3600)
        found = await bed.store.claim_unpublished(older_than=later, until=later, limit=9)
        assert [event.event_id for event in found] == [outcome.event.event_id]


async def test_the_audit_is_a_chain_that_shows_what_was_done_to_it(
    bed: Bed, orders: PostgresOrders
) -> None:
    """Each line carries the hash of the one before; a changed, lost or added line is found.

    Proved by leaving the reason out of the hash.
    """
    await bed.bring_to(State.RECEIVED)
    await orders.hold(A, JANE)
    await orders.release(A, OTTO)
    await orders.note_order(Action.REPLAY_DEAD_LETTER, "3f9a", JANE, {"reason": "invalid"})
    whole = await orders.check_audit()
    assert (whole.entries, whole.broken_at) == (3, None)
    lines = await orders.audit_lines(before=None, limit=2)
    assert [(line.number, line.action, line.operator) for line in lines] == [
        (3, "replay-dead-letter", "jane"),
        (2, "release", "otto"),
    ]
    assert whole.head == lines[0].hash
    assert [line.action for line in await orders.audit_about("a")] == ["hold", "release"]

    for statement in ("UPDATE audit SET reason = 'x'", "DELETE FROM audit", "TRUNCATE audit"):
        with pytest.raises(asyncpg.PostgresError):
            await bed.fetch(statement)
    past = await asyncpg.connect(bed.url)
    await past.execute("SET session_replication_role = 'replica'")
    await past.execute("UPDATE audit SET reason = 'another' WHERE number = 2")
    assert (await orders.check_audit()).broken_at == 2
    await past.execute("UPDATE audit SET reason = 'ticket 12' WHERE number = 2")
    assert (await orders.check_audit()).broken_at is None
    await past.execute("DELETE FROM audit WHERE number = 1")
    assert (await orders.check_audit()).broken_at == 1
    await past.close()


async def test_orders_at_once_write_one_chain(bed: Bed, orders: PostgresOrders) -> None:
    """Writers wait for each other; no line is lost and no number given twice.

    Proved by leaving the lock out: orders fail.
    """
    names = [f"p{number}" for number in range(20)]
    for name in names:
        await bed.bring_to(State.RECEIVED, name)

    await asyncio.gather(*(orders.hold(PayoutId(name), JANE) for name in names))

    check = await orders.check_audit()
    assert (check.entries, check.broken_at) == (20, None)


async def test_a_nameless_or_groundless_order_is_none(bed: Bed, orders: PostgresOrders) -> None:
    """The database wants to know who and why; without, nothing is done."""
    await bed.bring_to(State.RECEIVED)

    for order in (replace(JANE, operator=" "), replace(JANE, reason=" ")):
        with pytest.raises(Exception, match="audit_names_somebody"):
            await orders.cancel(A, order)
    assert (await bed.standing("a")).state is State.RECEIVED
