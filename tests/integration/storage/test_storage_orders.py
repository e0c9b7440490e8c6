"""What people order is guarded in the database, and leaves a line in the audit."""

import asyncio
from dataclasses import replace

import asyncpg
import pytest
from storage_bed import (
    ACCOUNT,
    NOW,
    RECEIVER,
    REFUSED,
    RUN,
    Bed,
    completion,
    move,
    own_id,
    payout,
    received,
    seconds,
)

from payouts.domain.payout import HELD_CONTRADICTED, HELD_RUN, State
from payouts.domain.values import OriginatorConversationId, PayoutId, WorkerId
from payouts.ports import Action, Incident, IncidentKind, Order
from payouts.storage.orders import _LOCKED, PostgresOrders
from payouts.storage.retries import submit_again

JANE = Order(operator="jane", reason="ticket 12", at=NOW + seconds(900))
OTTO = replace(JANE, operator="otto")
A = PayoutId("a")


@pytest.fixture
def orders(bed: Bed) -> PostgresOrders:
    """Give the orders on the bed's books."""
    return PostgresOrders(bed.store._context)


async def bring_to(bed: Bed, state: State, name: str = "a") -> None:
    """Bring a payout to a state as the workers would."""
    match state:
        case State.RECEIVED:
            await bed.intend(received(name))
        case State.SUBMITTING:
            await bed.intend(payout(name))
        case State.WAITING:
            await bed.waiting(name)
        case State.ACCEPTED:
            await bed.accepted(name)
        case State.IN_DOUBT:
            await bed.in_doubt(name)
        case State.SUCCEEDED:
            await bed.succeeded(name)
        case State.FAILED:
            await bed.intend(payout(name))
            await bed.store.move(move(name, State.FAILED))


@pytest.mark.parametrize("state", list(State))
async def test_only_what_has_failed_is_submitted_again(
    bed: Bed, orders: PostgresOrders, state: State
) -> None:
    """A retry of anything else is refused and leaves nothing, not even a line in the audit.

    Proved by leaving the state out of `submit_again` and of its statement: the trigger refuses;
    without the trigger too, seven states are submitted again.
    """
    await bring_to(bed, state)

    carried = await orders.retry(A, JANE)

    assert carried.done == (state is State.FAILED)
    assert await bed.count("payouts WHERE retry_of = 'a'") == int(state is State.FAILED)
    assert await bed.count("audit") == int(state is State.FAILED)


async def test_a_second_submission_has_an_id_of_its_own_and_the_first_stays(
    bed: Bed, orders: PostgresOrders
) -> None:
    """Invariant 2: the second id exists only after a conclusive failure, the first stays."""
    await bring_to(bed, State.FAILED)
    first = await bed.standing("a")

    carried = await orders.retry(A, JANE)

    second = carried.payout
    assert second is not None
    assert (second.payout_id, second.retry_of) == ("a-r2", "a")
    assert second.originator_conversation_id == "600000_ORG-r2_a"
    assert (second.state, second.next_action_at) == (State.RECEIVED, JANE.at)
    assert (second.amount_minor, second.msisdn, second.run_id) == (125_050, RECEIVER, RUN)
    assert await bed.standing("a") == first
    [claimed] = await bed.store.claim_due(WorkerId(7), [ACCOUNT], now=JANE.at, limit=9)
    assert claimed.payout_id == "a-r2"
    late = await bed.store.complete(completion("a"))
    assert (late.applied, late.payout) == (False, first)


async def test_a_payout_has_one_submission_after_another(bed: Bed, orders: PostgresOrders) -> None:
    """Two orders at once make one submission; a further one follows the last only.

    Proved by dropping the unique index and the look for a later submission.
    """
    await bring_to(bed, State.FAILED)

    carried = await asyncio.gather(*(orders.retry(A, JANE) for _ in range(4)))

    assert [one.done for one in carried].count(True) == 1
    assert await bed.count("payouts WHERE retry_of = 'a'") == 1
    [second] = await bed.store.claim_due(WorkerId(7), [ACCOUNT], now=JANE.at, limit=9)
    await bed.store.move(move(second.payout_id, State.FAILED, attempt=1))
    third = await orders.retry(second.payout_id, JANE)
    assert third.payout is not None
    assert (third.payout.payout_id, third.payout.retry_of) == ("a-r3", "a-r2")
    assert third.payout.originator_conversation_id == "600000_ORG-r3_a"
    assert not (await orders.retry(A, JANE)).done


async def test_a_name_that_a_caller_has_taken_is_left_out(bed: Bed, orders: PostgresOrders) -> None:
    """A caller's own payout `a-r2` is not mistaken for a submission of `a`."""
    await bring_to(bed, State.FAILED)
    await bring_to(bed, State.ACCEPTED, "a-r2")

    carried = await orders.retry(A, JANE)

    assert carried.payout is not None
    assert carried.payout.payout_id == "a-r3"


async def test_whoever_writes_past_the_orders_submits_nothing_again(bed: Bed) -> None:
    """The trigger holds the rule for every program: only after a failure, and as it was.

    Proved by dropping the trigger: both rows are written.
    """
    await bring_to(bed, State.IN_DOUBT, "doubt")
    await bring_to(bed, State.FAILED, "failed")
    insert = """INSERT INTO payouts (payout_id, account, amount_minor, currency, msisdn,
        command_id, originator_conversation_id, state, next_action_at, created_at, retry_of)
        VALUES ($1 || 'x', 'default', $2, 'KES', $3, 'SalaryPayment', $1 || 'y', 'received',
        now(), now(), $1)"""

    for name, amount in (("doubt", 125_050), ("failed", 125_051)):
        with pytest.raises(asyncpg.PostgresError) as refused:
            await bed.fetch(insert, name, amount, RECEIVER)
        assert refused.value.constraint_name == "payouts_retry_of_failed"
    await bed.fetch(insert, "failed", 125_050, RECEIVER)


async def test_what_contradicts_the_first_stops_the_second(
    bed: Bed, orders: PostgresOrders
) -> None:
    """A late Result of the first holds the second in the incident's own commit.

    Proved by leaving `_STOP_LATER` out: the second is claimed and sent.
    """
    await bring_to(bed, State.FAILED)
    await orders.retry(A, JANE)

    await bed.store.record_incident(contradiction())

    assert (await bed.standing("a-r2")).held == HELD_CONTRADICTED
    assert await bed.store.claim_due(WorkerId(7), [ACCOUNT], now=JANE.at, limit=9) == []
    refused = await orders.release(PayoutId("a-r2"), JANE)
    assert not refused.done
    cancelled = await orders.cancel(PayoutId("a-r2"), JANE)
    assert cancelled.payout is not None
    assert cancelled.payout.state is State.FAILED
    assert not (await orders.retry(PayoutId("a-r2"), JANE)).done


async def test_what_is_contradicted_is_not_submitted_again(
    bed: Bed, orders: PostgresOrders
) -> None:
    """Once a Result says otherwise, nobody can order a retry.

    Proved by not counting the incidents.
    """
    await bring_to(bed, State.FAILED)
    await bed.store.record_incident(contradiction())

    carried = await orders.retry(A, JANE)

    assert carried.refusal is not None
    assert "contradicts" in carried.refusal


async def test_an_order_and_a_contradiction_at_once_never_leave_a_second_that_goes_out(
    bed: Bed, other: Bed
) -> None:
    """A retry that is not committed yet is seen all the same: the incident waits for it.

    Proved by not locking the first submission for the incident: the second is not held.
    """
    await bring_to(bed, State.FAILED)
    first = await bed.standing("a")

    async with bed.store.database.transaction() as connection:
        await connection.execute(_LOCKED, {"payout_id": "a"})
        made = await submit_again(connection, first, JANE, actor="operator jane")
        assert not isinstance(made, str)
        told = asyncio.create_task(other.store.record_incident(contradiction()))
        await asyncio.wait({told}, timeout=0.5)
    await told

    assert (await bed.standing("a-r2")).held == HELD_CONTRADICTED


@pytest.mark.parametrize("state", list(State))
async def test_only_what_nothing_is_on_its_way_of_is_cancelled(
    bed: Bed, orders: PostgresOrders, state: State
) -> None:
    """`received` and `waiting` end as failed, with their event; the rest stays as it is."""
    await bring_to(bed, state)
    before = await bed.standing("a")

    carried = await orders.cancel(A, JANE)

    after = await bed.standing("a")
    if state not in {State.RECEIVED, State.WAITING}:
        assert carried.refusal is not None
        assert after == before
        return
    assert carried.event is not None
    assert (after.state, after.reason and after.reason.code) == (State.FAILED, "cancelled")
    assert await bed.count("events WHERE type = 'payout.failed'") == 1


@pytest.mark.parametrize("state", list(State))
async def test_only_doubt_is_resolved(bed: Bed, orders: PostgresOrders, state: State) -> None:
    """A person's word ends what is in doubt, and nothing else."""
    await bring_to(bed, state)
    before = await bed.standing("a")

    paid = await orders.resolve_paid(A, "SKUX1", JANE)
    not_paid = await orders.resolve_not_paid(A, JANE, settled_s=600)

    assert not not_paid.done
    assert paid.done == (state is State.IN_DOUBT)
    if paid.done:
        after = await bed.standing("a")
        assert (after.state, after.transaction_id) == (State.SUCCEEDED, "SKUX1")
    else:
        assert await bed.standing("a") == before


async def test_a_receipt_belongs_to_one_payout(bed: Bed, orders: PostgresOrders) -> None:
    """The line of a statement that was read for another payout resolves nothing."""
    await bed.succeeded("other")
    await bring_to(bed, State.IN_DOUBT)

    carried = await orders.resolve_paid(A, "SKUother", JANE)

    assert carried.refusal is not None
    assert (await bed.standing("a")).state is State.IN_DOUBT


async def test_nobody_says_not_paid_too_soon_and_two_people_pay_again(
    bed: Bed, orders: PostgresOrders
) -> None:
    """A time-out is not taken for a failure by a person either: time, then four eyes.

    Proved by leaving out the time, and the comparison of the operators.
    """
    await bring_to(bed, State.IN_DOUBT)
    soon = replace(JANE, at=NOW + seconds(120))
    assert not (await orders.resolve_not_paid(A, soon, settled_s=600)).done

    assert (await orders.resolve_not_paid(A, JANE, settled_s=600)).done

    alone = await orders.retry(A, replace(JANE, operator=" Jane "))
    assert alone.refusal is not None
    assert "four eyes" in alone.refusal
    assert (await orders.retry(A, OTTO)).done


async def test_what_is_held_is_not_sent_until_it_is_released(
    bed: Bed, orders: PostgresOrders
) -> None:
    """Neither a due payout nor one whose doubt is proved goes out while it is held.

    Proved by leaving `held` out of the claim and out of the resend.
    """
    await bring_to(bed, State.RECEIVED)
    await bring_to(bed, State.IN_DOUBT, "b")
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
    await bring_to(bed, State.IN_DOUBT)
    await bring_to(bed, State.ACCEPTED, "b")

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
    await bring_to(bed, State.RECEIVED)
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
        await bring_to(bed, State.RECEIVED, name)

    await asyncio.gather(*(orders.hold(PayoutId(name), JANE) for name in names))

    check = await orders.check_audit()
    assert (check.entries, check.broken_at) == (20, None)


async def test_a_nameless_or_groundless_order_is_none(bed: Bed, orders: PostgresOrders) -> None:
    """The database wants to know who and why; without, nothing is done."""
    await bring_to(bed, State.RECEIVED)

    for order in (replace(JANE, operator=" "), replace(JANE, reason=" ")):
        with pytest.raises(Exception, match="audit_names_somebody"):
            await orders.cancel(A, order)
    assert (await bed.standing("a")).state is State.RECEIVED


def contradiction(name: str = "a") -> Incident:
    """Give what a late Result of the first submission leaves."""
    return Incident(
        kind=IncidentKind.CONTRADICTION,
        at=NOW + seconds(901),
        payout_id=PayoutId(name),
        originator_conversation_id=OriginatorConversationId(own_id(name)),
        code=REFUSED.code,
        detail="the payout had ended as failed; this Result says otherwise",
    )
