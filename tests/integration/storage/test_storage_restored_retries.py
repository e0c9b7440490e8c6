"""A retry that a restore has lost is asked about before the same retry is sent again."""

from dataclasses import replace

import pytest
from storage_bed import ACCOUNT, NOW, Bed, move, payout, seconds

from payouts.domain.payout import HELD_RETURNED, Payout, State
from payouts.domain.values import PayoutId, WorkerId, retry_ids_for
from payouts.ports import Incident, IncidentKind, Order
from payouts.storage.orders import PostgresOrders

JANE = Order(operator="jane", reason="disk lost", at=NOW)
AGAIN = replace(JANE, at=NOW + seconds(60), reason="ordered before the restore")
LATER = NOW + seconds(3600)


@pytest.fixture
def orders(bed: Bed) -> PostgresOrders:
    """Give the orders on the bed's books."""
    return PostgresOrders(bed.store._context)


async def failed(bed: Bed) -> Payout:
    await bed.store.account_statuses([ACCOUNT])
    first = await bed.intend(payout("a"))
    await bed.store.move(move("a", State.FAILED))
    return first


async def test_a_retry_after_a_restore_is_asked_about_first(
    bed: Bed, orders: PostgresOrders
) -> None:
    """The dump may have lost the same retry, and M-PESA may have paid it; its id is the same.

    Proved by leaving `ask_now` out of the insert: it is sent at once, and the drill finds it paid
    twice by a gateway that forgets ids.
    """
    await failed(bed)
    await orders.restored(JANE, ask_first_s=600)
    await orders.set_account_paused(ACCOUNT, paused=False, order=JANE)

    second = (await orders.retry(PayoutId("a"), AGAIN)).payout

    assert second is not None
    assert (second.payout_id, second.ask_now) == ("a-r2", True)
    assert await bed.store.claim_due(WorkerId(7), [ACCOUNT], now=LATER, limit=9) == []
    assert await bed.store.mark_overdue(now=LATER, limit=9, actor="worker 7") == ["a-r2"]


async def test_a_retry_whose_result_came_first_rests_until_it_is_applied(
    bed: Bed, orders: PostgresOrders
) -> None:
    """Whether a restore was told or not; as for a command whose Result came first.

    Proved by leaving the incidents out of the insert: it is sent.
    """
    first = await failed(bed)
    _, own_id = retry_ids_for(first.originator_conversation_id, first.payout_id, 2)
    result = Incident(
        kind=IncidentKind.UNMATCHED,
        at=NOW,
        originator_conversation_id=own_id,
        transaction_id="SKU1",
        code="0",
        evidence={"amount_minor": "125050"},
    )
    await bed.store.record_incident(result)

    second = (await orders.retry(PayoutId("a"), AGAIN)).payout

    assert second is not None
    assert (second.held, second.ask_now) == (HELD_RETURNED, False)
    assert await bed.store.claim_due(WorkerId(7), [ACCOUNT], now=LATER, limit=9) == []
    [returned] = await bed.store.find_returned(since=NOW, limit=9)
    assert returned.payout.payout_id == "a-r2"
