"""After a restore: asked before sent, Results that came first, repeats, and what stands still."""

from datetime import UTC, datetime

import pytest
from storage_bed import ACCOUNT, NOW, Bed, move, open_bed, own_id, payout, received, seconds

from payouts.domain.payout import HELD_RETURNED, State
from payouts.domain.values import AccountName, PayoutId, WorkerId
from payouts.ports import Incident, IncidentKind, Intent, Order
from payouts.storage.orders import PostgresOrders

JANE = Order(operator="jane", reason="disk lost", at=NOW)
LATER = NOW + seconds(3600)


def unmatched(name: str) -> Incident:
    """Give a Result that came for an id that nobody knew."""
    return Incident(
        kind=IncidentKind.UNMATCHED,
        at=NOW,
        originator_conversation_id=own_id(name),
        transaction_id="SKU1",
        code="0",
        evidence={"amount_minor": "125050"},
    )


async def test_a_payout_whose_result_came_first_is_not_sent(bed: Bed) -> None:
    """It rests until that Result is applied; neither a claim nor its expiry passes it by.

    Proved by leaving the incidents out of the insert: it is sent.
    """
    await bed.store.record_incident(unmatched("a"))

    came = await bed.intend(payout("a", not_after=NOW + seconds(30)))
    late = await bed.intend(
        payout(
            "b",
            state=State.FAILED,
            attempts=0,
            owner=None,
            claimed_at=None,
            reason=move("b", State.FAILED).reason,
            completed_at=NOW,
        )
    )

    assert (came.state, came.held) == (State.RECEIVED, HELD_RETURNED)
    assert late.state is State.FAILED
    assert await bed.store.claim_due(WorkerId(7), [ACCOUNT], now=LATER, limit=9) == []
    assert await bed.store.expire_unsent(now=LATER, limit=9, actor="worker 7") == []
    [returned] = await bed.store.find_returned(since=NOW, limit=9)
    assert returned.payout.payout_id == "a"
    assert returned.incident == unmatched("a")


async def test_after_a_restore_everything_open_is_asked_about_before_it_is_sent(
    bed: Bed, orders: PostgresOrders
) -> None:
    """All accounts rest; what was open, and what is new for a while, becomes doubt first.

    Proved by leaving `ask_now` out of the claim: they are sent at once.
    """
    await bed.store.account_statuses([ACCOUNT])
    await bed.intend(received("received"))
    await bed.waiting("waiting")
    await bed.accepted("accepted")
    await bed.in_doubt("in_doubt")
    await bed.intend(payout("submitting"))

    assert await orders.restored(JANE, ask_first_s=600) == 5
    await orders.set_account_paused(ACCOUNT, paused=False, order=JANE)
    new = await bed.intend(payout("new", created_at=NOW + seconds(599)))
    much_later = await bed.intend(payout("later", created_at=NOW + seconds(600)))

    assert (new.state, new.ask_now) == (State.RECEIVED, True)
    assert much_later.state is State.SUBMITTING
    now = NOW + seconds(601)
    assert await bed.store.claim_due(WorkerId(7), [ACCOUNT], now=now, limit=9) == []
    await bed.store.mark_overdue(now=now, limit=9, actor="worker 7")
    await bed.store.mark_abandoned(lease_s=15, now=now, limit=9, actor="worker 7")
    due = await bed.store.claim_doubts([ACCOUNT], now=now, until=now, limit=9)
    assert {one.payout_id for one in due} >= {
        "received",
        "waiting",
        "accepted",
        "in_doubt",
        "submitting",
        "new",
    }


async def test_an_account_that_is_new_to_a_restored_database_is_asked_about_first_too(
    bed: Bed, orders: PostgresOrders
) -> None:
    """The dump may be older than the account; it may have paid since.

    Proved by dropping the trigger `accounts_ask_first`: its commands are sent at once.
    """
    now = datetime.now(UTC)
    order = Order(operator="jane", reason="disk lost", at=now)

    assert await orders.restored(order, ask_first_s=600) == 0
    standing = (await bed.store.account_statuses([ACCOUNT]))[ACCOUNT]

    assert standing.paused
    await orders.set_account_paused(ACCOUNT, paused=False, order=order)
    await orders.set_account_paused(AccountName("second"), paused=False, order=order)
    second = await bed.intend(payout("b", account="second", created_at=now, claimed_at=now))
    assert (second.state, second.ask_now) == (State.RECEIVED, True)
    new = await bed.intend(payout("new", created_at=now, claimed_at=now))
    assert (new.state, new.ask_now) == (State.RECEIVED, True)


async def test_what_expired_before_a_restore_is_known_is_neither_sent_nor_failed(
    bed: Bed, orders: PostgresOrders
) -> None:
    """Its `not_after` has passed, but it may have been sent in another life; a core may lag.

    That it was twice not found would let it be sent again. It fails nobody.

    Proved by letting the insert of an expired command stand after a restore.
    """
    await bed.store.account_statuses([ACCOUNT])
    await orders.restored(JANE, ask_first_s=600)
    await orders.set_account_paused(ACCOUNT, paused=False, order=JANE)
    expired = payout(
        "a",
        created_at=NOW + seconds(1),
        not_after=NOW,
        state=State.FAILED,
        attempts=0,
        owner=None,
        claimed_at=None,
        reason=move("a", State.FAILED).reason,
        completed_at=NOW + seconds(1),
    )

    assert (await bed.intend(expired)).state is State.RECEIVED
    assert await bed.store.expire_unsent(now=LATER, limit=9, actor="w") == []
    await bed.store.mark_overdue(now=NOW + seconds(2), limit=9, actor="w")
    for asked in (100, 200):
        await bed.store.record_not_found(
            PayoutId("a"),
            asked_at=NOW + seconds(asked),
            grace_s=60,
            interval_s=30,
            next_action_at=LATER,
            actor="w",
            query_id=None,
        )
    again = await bed.store.resend(
        PayoutId("a"),
        WorkerId(7),
        now=LATER,
        grace_s=60,
        interval_s=30,
        by_policy=False,
        actor="w",
    )

    assert again is None
    assert await bed.store.expire_unsent(now=LATER, limit=9, actor="w") == []
    assert (await bed.standing("a")).state is State.IN_DOUBT


async def test_a_repeat_is_held_across_runs_batches_and_processes(books_url: str) -> None:
    """The same receiver and amount within the window rests for review, where that is asked for.

    Proved by leaving out the look at the database, and the look into the batch.
    """
    async with open_bed(books_url, repeat_window_s=3600.0) as bed:
        first = await bed.intend(payout("a", run_id=None))
        again = await bed.intend(payout("b", created_at=NOW + seconds(3599)))
        other = await bed.intend(payout("c", amount_minor=1))
        after = await bed.intend(payout("d", created_at=NOW + seconds(7200)))

        assert (first.held, other.held, after.held) == (None, None, None)
        assert (again.state, again.held) == (State.RECEIVED, "same receiver and amount as a")
        [one, two] = await bed.store._write_intents(
            [_intent("x", amount_minor=7), _intent("y", amount_minor=7)]
        )
        assert [one.payout.held, two.payout.held] == [None, "same receiver and amount as x"]
        same = await bed.intend(payout("a", run_id=None))
        assert same.state is State.SUBMITTING
    async with open_bed(books_url) as bed:
        assert (await bed.intend(payout("e"))).held is None


async def test_a_failed_payout_is_no_reason_to_hold_the_next(books_url: str) -> None:
    """Paying somebody whose payout has failed is what a new command is for."""
    async with open_bed(books_url, repeat_window_s=3600.0) as bed:
        await bed.intend(payout("a"))
        await bed.store.move(move("a", State.FAILED))

        assert (await bed.intend(payout("b"))).held is None


async def test_what_stands_still_is_told_once(bed: Bed, worker: None) -> None:
    """Held, waiting, left to a person, or of an account that nobody serves."""
    await bed.waiting("waiting")
    await bed.in_doubt("to-a-person", next_action_at=None)
    await bed.in_doubt("asked")
    await bed.intend(received("held"))
    await bed.fetch("UPDATE payouts SET held = 'by jane' WHERE payout_id = 'held'")
    await bed.intend(received("strange", account="unserved"))
    await bed.accepted("accepted")

    told = await bed.store.record_stuck(before=LATER, limit=9)

    assert {one.payout_id for one in told} == {"waiting", "to-a-person", "held", "strange"}
    assert await bed.store.record_stuck(before=LATER, limit=9) == []
    assert await bed.store.record_stuck(before=NOW, limit=9) == []
    assert await bed.count("incidents WHERE kind = 'stuck'") == 4


async def test_a_sighting_makes_earlier_not_found_count_no_more(bed: Bed) -> None:
    """The gateway that knows the payout now has not *not found* it.

    Proved by leaving the update out: the same id is sent again.
    """
    await bed.in_doubt("a")
    for asked in (100, 200):
        await bed.store.record_not_found(
            PayoutId("a"),
            asked_at=NOW + seconds(asked),
            grace_s=60,
            interval_s=30,
            next_action_at=LATER,
            actor="w",
            query_id=None,
        )

    await bed.store.record_sighting(PayoutId("a"), seen_at=NOW + seconds(201), actor="w")

    assert (await bed.standing("a")).not_found_count == 0
    assert "sighted" in await bed.kinds("a")


async def test_a_suspect_is_counted_until_it_is_cleared(bed: Bed) -> None:
    """Each trial counts once, however often its beginning is written down."""
    begin = bed.store.begin_suspect
    assert await begin("k", at=NOW) == 0
    assert await begin("k", at=NOW) == 0
    assert await begin("k", at=NOW + seconds(1)) == 1

    await bed.store.clear_suspect("k")

    assert await begin("k", at=NOW + seconds(2)) == 0


async def test_an_account_tells_its_circuits_and_what_it_may_lose(bed: Bed) -> None:
    """Living workers whose circuit is open; the balance; the sum that is on its way."""
    owner = await bed.store.enlist("w", accounts=[ACCOUNT])
    await bed.store.beat(owner, cut_off=[ACCOUNT])
    await bed.store.record_balance(ACCOUNT, minor=900_000, at=NOW)
    await bed.accepted("a")
    await bed.in_doubt("b")
    await bed.succeeded("c")
    await bed.intend(received("d"))

    status = (await bed.store.account_statuses([ACCOUNT]))[ACCOUNT]
    [exposure] = await bed.store.exposures([ACCOUNT])

    assert (status.cut_off_workers, status.balance_at) == (1, NOW)
    assert (exposure.utility_balance_minor, exposure.at_risk_minor) == (900_000, 250_100)
    resumed = await bed.store.set_paused(ACCOUNT, paused=False, reason="", at=NOW)
    assert resumed.utility_balance_minor is None
    await bed.store.retire(owner)
    assert (await bed.store.account_statuses([ACCOUNT]))[ACCOUNT].cut_off_workers == 0


@pytest.fixture
async def worker(bed: Bed) -> None:
    """Have a living worker that serves the default account."""
    await bed.store.enlist("w", accounts=[ACCOUNT])


def _intent(name: str, **changes: object) -> Intent:
    return Intent(payout=payout(name, **changes), actor="worker 1")
