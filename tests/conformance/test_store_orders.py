"""What people order, and what they are refused: what the port of orders promises, of both."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from payouts.domain.errors import StoreRefusedError
from payouts.domain.payout import HELD_CONTRADICTED, State
from payouts.domain.values import PayoutId, RunId, WorkerId
from payouts.ports import Action, Incident, IncidentKind
from tests.conformance.stores import (
    DEFAULT,
    LIMIT,
    Bed,
    later,
    order,
    own_id,
    received,
    result,
    sending,
)

A, SECOND = PayoutId("a"), PayoutId("a-r2")
OPEN = [State.RECEIVED, State.SUBMITTING, State.WAITING, State.ACCEPTED, State.IN_DOUBT]


async def test_what_has_failed_is_submitted_again_once(bed: Bed) -> None:
    """Under a second id, at rest, beside the first, which stays as it ended."""
    first = await bed.stand("a", State.FAILED)
    said = await asyncio.gather(bed.orders.retry(A, order()), bed.orders.retry(A, order()))
    assert sorted(one.done for one in said) == [False, True]
    second = await bed.now("a-r2")
    assert second == received(
        "a-r2",
        originator_conversation_id="600000_ORG-r2_a",
        retry_of=A,
        created_at=later(3600),
        next_action_at=later(3600),
    )
    assert await bed.now("a") == first
    assert not (await bed.orders.retry(PayoutId("nobody"), order())).done


@pytest.mark.parametrize("state", [*OPEN, State.SUCCEEDED])
async def test_what_has_not_failed_is_never_submitted_again(bed: Bed, state: State) -> None:
    """Not conclusively failed: whatever a person says."""
    await bed.stand("a", State.ACCEPTED if state is State.SUCCEEDED else state)
    if state is State.SUCCEEDED:
        await bed.store.complete(result("a"))
    assert not (await bed.orders.retry(A, order())).done
    assert await bed.store.find(SECOND) is None


def contradiction() -> Incident:
    """Give what says that payout a was paid after all."""
    return Incident(
        kind=IncidentKind.CONTRADICTION,
        at=later(7200),
        payout_id=A,
        originator_conversation_id=own_id("a"),
        code="0",
        detail="a late Result",
    )


async def test_a_contradiction_stops_the_second_submission(bed: Bed) -> None:
    """One that is open is held, and no release lets it go; one that is not made is refused."""
    for name in ("a", "b"):
        await bed.stand(name, State.FAILED)
    await bed.orders.retry(A, order())
    await bed.store.record_incident(contradiction())
    assert (await bed.now("a-r2")).held == HELD_CONTRADICTED
    assert not (await bed.orders.release(SECOND, order())).done
    assert await bed.store.claim_due(WorkerId(1), [DEFAULT], now=later(9999), limit=LIMIT) == []
    assert (await bed.orders.cancel(SECOND, order())).done
    assert not (await bed.orders.retry(SECOND, order())).done


async def test_who_has_sworn_needs_another_to_submit_again(bed: Bed) -> None:
    """A payout that failed by an operator's word is retried by somebody else only."""
    await bed.stand("a", State.IN_DOUBT)
    assert (await bed.orders.resolve_not_paid(A, order("jane"), settled_s=60.0)).done
    assert not (await bed.orders.retry(A, order("Jane"))).done
    assert (await bed.orders.retry(A, order("omar"))).done


@pytest.mark.parametrize("state", OPEN)
async def test_only_what_is_not_on_its_way_is_cancelled(bed: Bed, state: State) -> None:
    """Everything else may have been sent."""
    before = await bed.stand("a", state)
    carried = await bed.orders.cancel(A, order())
    assert carried.done is (state in {State.RECEIVED, State.WAITING})
    if carried.done:
        assert carried.event is not None
        assert (await bed.now("a")).state is State.FAILED
    else:
        assert (carried.event, await bed.now("a")) == (None, before)


@pytest.mark.parametrize("state", OPEN)
async def test_only_doubt_is_resolved_by_a_person(bed: Bed, state: State) -> None:
    """By a receipt that no other payout has, or by evidence, once the last send has settled."""
    await bed.stand("other", State.ACCEPTED)
    await bed.store.complete(result("other"))
    await bed.stand("a", state)
    early = await bed.orders.resolve_not_paid(A, order(seconds=60), settled_s=60.0)
    taken = await bed.orders.resolve_paid(A, "Rother", order())
    done = await bed.orders.resolve_paid(A, "R1", order())
    in_doubt = state is State.IN_DOUBT
    assert [one.done for one in (early, taken, done)] == [False, False, in_doubt]
    stands = await bed.now("a")
    assert stands.state is (State.SUCCEEDED if in_doubt else state)
    assert stands.transaction_id == ("R1" if in_doubt else None)


async def test_a_hold_is_laid_on_and_taken_off(bed: Bed) -> None:
    """Once each; what has ended is not held."""
    await bed.stand("a", State.WAITING)
    held = [(await bed.orders.hold(A, order())).done for _ in range(2)]
    released = [(await bed.orders.release(A, order(seconds=9))).done for _ in range(2)]
    assert (held, released) == ([True, False], [True, False])
    assert (await bed.now("a")).next_action_at == later(9)
    await bed.orders.cancel(A, order())
    assert not (await bed.orders.hold(A, order())).done


@pytest.mark.parametrize("state", OPEN)
async def test_what_may_have_arrived_is_asked_about_now(bed: Bed, state: State) -> None:
    """Accepted or in doubt; an accepted one falls into doubt by the next sweep."""
    await bed.stand("a", state)
    carried = await bed.orders.ask_now(A, order(seconds=9))
    assert carried.done is (state in {State.ACCEPTED, State.IN_DOUBT})
    if carried.done:
        await bed.store.mark_overdue(now=later(9), limit=LIMIT, actor="s")
        stands = await bed.now("a")
        assert (stands.state, stands.ask_now) == (State.IN_DOUBT, True)
        assert stands.next_action_at == later(9)


async def test_an_event_is_published_again_by_order(bed: Bed) -> None:
    """The same event, with the same id; what is open has none."""
    await bed.stand("a", State.ACCEPTED)
    assert not (await bed.orders.republish(A, order())).done
    event = (await bed.store.complete(result("a"))).event
    assert event is not None
    await bed.store.mark_published(event.event_id)
    assert (await bed.orders.republish(A, order())).event == event
    claim: dict[str, Any] = {"older_than": later(9), "until": later(60), "limit": LIMIT}
    assert await bed.store.claim_unpublished(**claim) == [event]


async def test_runs_and_accounts_are_paused_by_order(bed: Bed) -> None:
    """What rests is held row by row, what is on its way goes on, and all of it is undone."""
    run = RunId("r")
    await bed.intend(received("a", run_id=run))
    await bed.stand("b", State.ACCEPTED, run_id=run)
    await bed.orders.set_run_paused(run, paused=True, order=order())
    assert await bed.orders.paused_runs() == {run: "they called (jane)"}
    assert [(await bed.now(name)).held is None for name in ("a", "b")] == [False, True]
    assert not (await bed.orders.release(A, order())).done
    await bed.orders.set_run_paused(run, paused=False, order=order())
    assert await bed.orders.paused_runs() == {}
    assert (await bed.now("a")).held is None
    await bed.orders.set_account_paused(DEFAULT, paused=True, order=order())
    status = (await bed.store.account_statuses([DEFAULT]))[DEFAULT]
    assert (status.paused, status.paused_reason) == (True, "they called (jane)")


async def test_restored_books_ask_first(bed: Bed) -> None:
    """Accounts pause; what is open, and what is new for a while, is asked about before a send."""
    await bed.store.account_statuses([DEFAULT])
    worker = await bed.store.enlist("one")
    await bed.intend(received("a"))
    await bed.intend(sending("b", owner=worker))
    await bed.stand("c", State.ACCEPTED)
    assert await bed.orders.restored(order(seconds=100), ask_first_s=60.0) == 3
    assert not (await bed.store.beat(worker)).alive
    await bed.orders.set_account_paused(DEFAULT, paused=False, order=order())
    new = (await bed.intend(sending("d", created_at=later(159), claimed_at=later(159)))).payout
    old = (await bed.intend(sending("e", created_at=later(160), claimed_at=later(160)))).payout
    assert [(one.state, one.ask_now) for one in (new, old)] == [
        (State.RECEIVED, True),
        (State.SUBMITTING, False),
    ]
    assert await bed.store.claim_due(WorkerId(1), [DEFAULT], now=later(900), limit=LIMIT) == []
    doubted = await bed.store.mark_overdue(now=later(900), limit=LIMIT, actor="s")
    assert sorted(doubted) == ["a", "c", "d"]
    assert not (await bed.orders.cancel(A, order())).done


async def test_every_order_is_in_the_audit_and_refused_ones_are_not(bed: Bed) -> None:
    """Newest first, in an unbroken chain; an order without a name or a reason is refused whole."""
    await bed.stand("a", State.WAITING)
    await bed.orders.hold(A, order("omar"))
    await bed.orders.hold(A, order())
    await bed.orders.note_order(Action.DISCARD_DEAD_LETTER, "m-1", order(), {"count": "2"})
    for nobody in (order(" "), order(reason=" ")):
        with pytest.raises(StoreRefusedError):
            await bed.orders.cancel(A, nobody)
    lines = await bed.orders.audit_lines(before=None, limit=LIMIT)
    check = await bed.orders.check_audit()
    assert [(one.number, one.operator, one.action) for one in lines] == [
        (2, "jane", "discard-dead-letter"),
        (1, "omar", "hold"),
    ]
    assert lines[0].details == {"count": "2"}
    assert (check.entries, check.head, check.broken_at) == (2, lines[0].hash, None)
    assert await bed.orders.audit_lines(before=2, limit=LIMIT) == lines[1:]
    assert (await bed.now("a")).state is State.WAITING
