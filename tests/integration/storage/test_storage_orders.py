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
    seconds,
)

from payouts.domain.payout import HELD_CONTRADICTED, State
from payouts.domain.values import OriginatorConversationId, PayoutId, WorkerId
from payouts.ports import Incident, IncidentKind, Order
from payouts.storage.orders import _LOCKED, PostgresOrders
from payouts.storage.retries import submit_again

JANE = Order(operator="jane", reason="ticket 12", at=NOW + seconds(900))
OTTO = replace(JANE, operator="otto")
A = PayoutId("a")


@pytest.mark.parametrize("state", list(State))
async def test_only_what_has_failed_is_submitted_again(
    bed: Bed, orders: PostgresOrders, state: State
) -> None:
    """A retry of anything else is refused and leaves nothing, not even a line in the audit.

    Proved by leaving the state out of `submit_again` and of its statement: the trigger refuses;
    without the trigger too, seven states are submitted again.
    """
    await bed.bring_to(state)

    carried = await orders.retry(A, JANE)

    assert carried.done == (state is State.FAILED)
    assert await bed.count("payouts WHERE retry_of = 'a'") == int(state is State.FAILED)
    assert await bed.count("audit") == int(state is State.FAILED)


async def test_a_second_submission_has_an_id_of_its_own_and_the_first_stays(
    bed: Bed, orders: PostgresOrders
) -> None:
    """Invariant 2: the second id exists only after a conclusive failure, the first stays."""
    await bed.bring_to(State.FAILED)
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
    await bed.bring_to(State.FAILED)

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
    await bed.bring_to(State.FAILED)
    await bed.bring_to(State.ACCEPTED, "a-r2")

    carried = await orders.retry(A, JANE)

    assert carried.payout is not None
    assert carried.payout.payout_id == "a-r3"


async def test_whoever_writes_past_the_orders_submits_nothing_again(bed: Bed) -> None:
    """The trigger holds the rule for every program: only after a failure, and as it was.

    Proved by dropping the trigger: both rows are written.
    """
    await bed.bring_to(State.IN_DOUBT, "doubt")
    await bed.bring_to(State.FAILED, "failed")
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
    await bed.bring_to(State.FAILED)
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
    await bed.bring_to(State.FAILED)
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
    await bed.bring_to(State.FAILED)
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
    await bed.bring_to(state)
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
    await bed.bring_to(state)
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
    await bed.bring_to(State.IN_DOUBT)

    carried = await orders.resolve_paid(A, "SKUother", JANE)

    assert carried.refusal is not None
    assert (await bed.standing("a")).state is State.IN_DOUBT


async def test_two_people_with_one_receipt_resolve_one_payout(
    bed: Bed, orders: PostgresOrders
) -> None:
    """Who reads the same line of a statement for another payout comes second, and is refused.

    Proved by leaving the lock out: several are resolved by one receipt.
    """
    names = [f"p{number}" for number in range(8)]
    for name in names:
        await bed.bring_to(State.IN_DOUBT, name)

    carried = await asyncio.gather(
        *(orders.resolve_paid(PayoutId(name), "SKU1", JANE) for name in names)
    )

    assert [one.done for one in carried].count(True) == 1


async def test_nobody_says_not_paid_too_soon_and_two_people_pay_again(
    bed: Bed, orders: PostgresOrders
) -> None:
    """A time-out is not taken for a failure by a person either: time, then four eyes.

    Proved by leaving out the time, and the comparison of the operators.
    """
    await bed.bring_to(State.IN_DOUBT)
    soon = replace(JANE, at=NOW + seconds(120))
    assert not (await orders.resolve_not_paid(A, soon, settled_s=600)).done

    assert (await orders.resolve_not_paid(A, JANE, settled_s=600)).done

    alone = await orders.retry(A, replace(JANE, operator=" Jane "))
    assert alone.refusal is not None
    assert "four eyes" in alone.refusal
    assert (await orders.retry(A, OTTO)).done


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
