"""What operators see across payouts: accounts, holds, submissions, orders, repeats."""

import pytest
from storage_bed import ACCOUNT, NOW, RUN, Bed, completion, payout, received, seconds

from payouts.domain.payout import State
from payouts.domain.values import PayoutId
from payouts.ports import Order
from payouts.storage.orders import PostgresOrders
from payouts.storage.oversight import Oversight, Wanted
from payouts.storage.parts import Context

ORDER = Order(operator="jane", reason="asked by payroll", at=NOW + seconds(60))


@pytest.fixture
def oversight(bed: Bed) -> Oversight:
    """Give the reader on the store's database."""
    return Oversight(bed.store.database.engine)


@pytest.fixture
def orders(bed: Bed) -> PostgresOrders:
    """Give who carries orders out."""
    return PostgresOrders(Context(database=bed.store.database, clock=bed.clock))


async def test_open_payouts_are_summed_by_account_with_their_holds(
    bed: Bed, oversight: Oversight, orders: PostgresOrders
) -> None:
    """Ended ones are left out."""
    for name in ("a", "b"):
        await bed.intend(received(name))
    await bed.accepted("c")
    await bed.store.complete(completion("c"))
    await orders.hold(PayoutId("a"), ORDER)

    (total,) = await oversight.open_by_account()

    amount = payout("a").amount_minor
    assert (total.account, total.count, total.held) == (ACCOUNT, 2, 1)
    assert total.amount_minor == 2 * amount
    assert await oversight.held_in(RUN) == {total.currency: (1, amount)}


async def test_all_submissions_are_found_from_each_of_them(
    bed: Bed, oversight: Oversight, orders: PostgresOrders
) -> None:
    """The first one first, whichever is asked about; orders of each are told by line."""
    await bed.accepted("a")
    await bed.store.complete(completion("a", to=State.FAILED))
    await orders.retry(PayoutId("a"), ORDER)
    await orders.cancel(PayoutId("a-r2"), ORDER)
    await orders.retry(PayoutId("a-r2"), ORDER)

    for name in ("a", "a-r2", "a-r3"):
        found = await oversight.submissions(PayoutId(name))
        assert [one.payout_id for one in found] == ["a", "a-r2", "a-r3"]
    lines = await oversight.orders_about(["a", "a-r2"])
    assert [(one.number, one.action, one.subject) for one in lines] == [
        (1, "retry", "a"),
        (2, "cancel", "a-r2"),
        (3, "retry", "a-r2"),
    ]
    assert await oversight.submissions(PayoutId("nobody")) == []


async def test_repeats_are_found_by_receiver_amount_and_time(
    bed: Bed, oversight: Oversight
) -> None:
    """Another id within the time; not itself, not what failed, not another amount or time."""
    await bed.accepted("paid")
    await bed.store.complete(completion("paid"))
    like = payout("paid")
    wanted = [
        Wanted(
            payout_id=PayoutId(name),
            msisdn=msisdn,
            amount_minor=minor,
            currency=currency,
        )
        for name, msisdn, minor, currency in (
            ("new", like.msisdn, like.amount_minor, like.currency),
            ("more", like.msisdn, like.amount_minor + 1, like.currency),
            ("paid", like.msisdn, like.amount_minor, like.currency),
            ("else", "254700000000", like.amount_minor, like.currency),
            ("dollars", like.msisdn, like.amount_minor, "USD"),
        )
    ]

    found = await oversight.repeats(wanted, since=like.created_at)

    assert {name: one.payout_id for name, one in found.items()} == {"new": "paid"}
    assert await oversight.repeats(wanted, since=like.created_at + seconds(1)) == {}
    assert await oversight.repeats([], since=like.created_at) == {}
    await bed.accepted("failed")
    await bed.store.complete(completion("failed", to=State.FAILED))
    again = await oversight.repeats(wanted, since=like.created_at)
    assert again[PayoutId("new")].payout_id == "paid"
