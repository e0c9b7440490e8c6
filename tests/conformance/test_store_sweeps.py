"""Claims, doubts, workers, accounts and the outbox: what the store's port promises, of both."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from payouts.domain.payout import Payout, State
from payouts.domain.values import (
    AccountName,
    ConversationId,
    OriginatorConversationId,
    PayoutId,
    RunId,
    WorkerId,
)
from payouts.ports import Query
from tests.conformance.stores import (
    DEFAULT,
    LIMIT,
    NOON,
    Bed,
    later,
    move,
    order,
    received,
    result,
    sending,
)

WORKER = WorkerId(7)
QUERY = OriginatorConversationId("600000_ORG-q1_a")


def names(payouts: object) -> list[str]:
    """Return the payout ids, in order."""
    assert isinstance(payouts, list | tuple)
    return sorted(one.payout_id if isinstance(one, Payout) else str(one) for one in payouts)


async def claimed(bed: Bed, at_s: float, limit: int = LIMIT) -> list[str]:
    """Claim what is due and return which payouts that were."""
    due = await bed.store.claim_due(WORKER, [DEFAULT], now=later(at_s), limit=limit)
    return names(list(due))


async def test_the_due_are_claimed_once_and_in_order(bed: Bed) -> None:
    """The one that waits longest goes first; two processes never get the same one."""
    for number in range(6):
        await bed.intend(received(f"a{number}", next_action_at=later(number)))
    await bed.intend(received("far", account=AccountName("far")))
    assert await claimed(bed, 1, limit=1) == ["a0"]
    said = await asyncio.gather(
        *(one.claim_due(WORKER, [DEFAULT], now=later(4), limit=9) for one in (bed.store, bed.other))
    )
    assert names([*said[0], *said[1]]) == ["a1", "a2", "a3", "a4"]
    stands = await bed.now("a1")
    assert (stands.state, stands.owner, stands.attempts) == (State.SUBMITTING, WORKER, 1)
    assert stands.claimed_at == later(4)


async def test_what_may_not_go_out_is_not_claimed(bed: Bed) -> None:
    """Held, expired unsent, of a paused run or account: each waits for somebody else."""
    await bed.intend(received("held"))
    await bed.orders.hold(PayoutId("held"), order())
    await bed.intend(received("late", not_after=later(5)))
    await bed.intend(received("run", run_id=RunId("r")))
    await bed.orders.set_run_paused(RunId("r"), paused=True, order=order())
    assert await claimed(bed, 10) == []
    await bed.orders.set_run_paused(RunId("r"), paused=False, order=order())
    await bed.orders.release(PayoutId("held"), order(seconds=8))
    await bed.store.set_paused(DEFAULT, paused=True, reason="sick", at=NOON)
    assert await claimed(bed, 10) == []
    await bed.store.set_paused(DEFAULT, paused=False, reason="well", at=NOON)
    assert await claimed(bed, 10) == ["held", "run"]


async def test_what_expired_unsent_ends_paused_or_not(bed: Bed) -> None:
    """Each with its event; what was sent never expires."""
    await bed.intend(received("a", not_after=later(5)))
    await bed.stand("sent", State.WAITING, not_after=later(5))
    await bed.store.set_paused(DEFAULT, paused=True, reason="sick", at=NOON)
    assert await bed.store.expire_unsent(now=later(4), limit=LIMIT, actor="s") == []
    (event,) = await bed.store.expire_unsent(now=later(5), limit=LIMIT, actor="s")
    ended = await bed.now("a")
    assert (event.type, event.subject) == ("payout.failed", "a")
    assert (ended.state, ended.completed_at) == (State.FAILED, later(5))
    assert ended.reason is not None
    assert ended.reason.code == "expired"
    assert (await bed.now("sent")).state is State.WAITING


async def test_overdue_results_are_doubted(bed: Bed) -> None:
    """Only once their deadline has passed, and to be asked about at once."""
    await bed.stand("a", State.ACCEPTED)
    assert await bed.store.mark_overdue(now=later(29), limit=LIMIT, actor="s") == []
    assert await bed.store.mark_overdue(now=later(30), limit=LIMIT, actor="s") == ["a"]
    stands = await bed.now("a")
    assert (stands.state, stands.next_action_at) == (State.IN_DOUBT, later(30))
    assert (stands.doubt_since, stands.last_sent_at) == (later(30), later(1))


async def test_what_silent_workers_had_is_doubted(bed: Bed) -> None:
    """A living worker keeps its payouts; a dead one beats in vain and takes another number."""
    living = await bed.store.enlist("one", accounts=[DEFAULT])
    await bed.intend(sending("a", owner=living))
    await bed.intend(sending("b", owner=10_000))
    mark: dict[str, Any] = {"now": later(60), "limit": LIMIT, "actor": "s"}
    assert await bed.store.mark_abandoned(lease_s=3600.0, **mark) == ["b"]
    assert (await bed.store.beat(living)).alive
    assert await bed.store.mark_abandoned(lease_s=0.0, **mark) == ["a"]
    assert not (await bed.store.beat(living)).alive
    assert await bed.store.enlist("one") > living
    stands = await bed.now("a")
    assert (stands.state, stands.submitted_at) == (State.IN_DOUBT, NOON)
    assert (stands.last_sent_at, stands.owner) == (later(60), None)


async def test_a_retired_worker_leaves_its_payouts_at_once(bed: Bed) -> None:
    """Whoever has given its number back sends nothing under it."""
    worker = await bed.store.enlist("one")
    await bed.intend(sending("a", owner=worker))
    await bed.store.retire(worker)
    assert not (await bed.store.beat(worker)).alive
    mark: dict[str, Any] = {"now": later(60), "limit": LIMIT, "actor": "s"}
    assert await bed.store.mark_abandoned(lease_s=3600.0, **mark) == ["a"]


async def test_orphans_are_doubted_but_not_what_is_in_flight(bed: Bed) -> None:
    """Of this worker, claimed before, and unknown to it."""
    for name, owner in (("a", 7), ("b", 7), ("c", 8)):
        await bed.intend(sending(name, owner=owner))
    flying = [PayoutId("b")]
    early = await bed.store.mark_orphaned(WORKER, flying, before=NOON, now=later(9))
    moved = await bed.store.mark_orphaned(WORKER, flying, before=later(1), now=later(9))
    assert (early, moved) == ([], ["a"])


async def test_doubts_are_taken_by_one_at_a_time(bed: Bed) -> None:
    """A claim pushes them out of the others' sight; postponing sets when, or leaves it."""
    await bed.stand("a", State.IN_DOUBT)
    claim: dict[str, Any] = {"now": later(30), "until": later(90), "limit": LIMIT}
    said = await asyncio.gather(
        *(one.claim_doubts([DEFAULT], **claim) for one in (bed.store, bed.other))
    )
    assert names([*said[0], *said[1]]) == ["a"]
    assert (await bed.now("a")).next_action_at == later(90)
    await bed.store.postpone(PayoutId("a"), next_action_at=None)
    assert (await bed.now("a")).next_action_at is None
    assert await bed.store.claim_doubts([DEFAULT], **claim) == []


async def test_claims_of_what_is_still_in_doubt_are_renewed(bed: Bed) -> None:
    """What has been settled meanwhile is not among them, and stays as it is."""
    await bed.stand("a", State.IN_DOUBT)
    await bed.stand("b", State.WAITING)
    settled = await bed.now("b")
    both = [PayoutId("a"), PayoutId("b")]
    kept = await bed.store.keep_doubts(both, until=later(90))
    assert set(kept) == {"a"}
    assert (await bed.now("a")).next_action_at == later(90)
    assert await bed.now("b") == settled


async def test_a_question_is_written_down_once(bed: Bed) -> None:
    """It counts, it is found by either id, and the first id of the gateway stays."""
    await bed.stand("a", State.IN_DOUBT)
    query = Query(query_id=QUERY, payout_id=PayoutId("a"), asked_at=later(40))
    for _ in range(2):
        await bed.store.record_query(query, next_action_at=later(70), actor="w")
    for number in (1, 2):
        await bed.store.attach_conversation(QUERY, ConversationId(f"AG_{number}"))
    stands = await bed.now("a")
    assert (stands.queries, stands.next_action_at) == (1, later(70))
    assert await bed.store.find_query(QUERY, None) == query
    assert await bed.store.find_query(None, ConversationId("AG_1")) == query
    assert await bed.store.find_query(None, ConversationId("AG_2")) is None


async def not_found(bed: Bed, at_s: float) -> int:
    """Say that the gateway did not find payout a; return how often that counts."""
    stands = await bed.store.record_not_found(
        PayoutId("a"),
        asked_at=later(at_s),
        grace_s=60.0,
        interval_s=30.0,
        next_action_at=later(at_s + 30),
        actor="w",
        query_id=None,
    )
    assert stands is not None
    return stands.not_found_count


async def resent(bed: Bed, at_s: float, *, by_policy: bool = False) -> Payout | None:
    """Try to send payout a again."""
    return await bed.store.resend(
        PayoutId("a"),
        WORKER,
        now=later(at_s),
        grace_s=60.0,
        interval_s=30.0,
        by_policy=by_policy,
        actor="w",
    )


async def test_two_not_found_that_count_let_the_same_id_go_out_again(bed: Bed) -> None:
    """Each late enough after the last send, far enough apart; told again it is no other."""
    await bed.stand("a", State.IN_DOUBT)
    counts = [await not_found(bed, at_s) for at_s in (60, 61, 61, 90)]
    assert counts == [0, 1, 1, 1]
    assert await resent(bed, 91) is None
    assert await not_found(bed, 91) == 2
    payout = await resent(bed, 92)
    assert payout is not None
    assert (payout.state, payout.attempts, payout.not_found_count) == (State.SUBMITTING, 2, 0)
    assert await resent(bed, 92) == payout
    assert await resent(bed, 93) is None


@pytest.mark.parametrize("how", ["sighted", "queued", "held", "paused"])
async def test_what_speaks_against_it_stops_a_second_send(bed: Bed, how: str) -> None:
    """However good the proof was."""
    await bed.stand("a", State.IN_DOUBT)
    assert [await not_found(bed, at_s) for at_s in (61, 91)] == [1, 2]
    match how:
        case "sighted":
            await bed.store.record_sighting(PayoutId("a"), seen_at=later(91), actor="w")
        case "queued":
            await bed.store.note(move("a", State.IN_DOUBT, at=later(91), queued=True))
        case "held":
            await bed.orders.hold(PayoutId("a"), order())
        case _:
            await bed.store.set_paused(DEFAULT, paused=True, reason="sick", at=NOON)
    assert await resent(bed, 92) is None
    assert (await bed.now("a")).state is State.IN_DOUBT


async def test_a_policy_sends_again_what_is_in_doubt(bed: Bed) -> None:
    """Without proof, but only from doubt."""
    await bed.stand("a", State.ACCEPTED)
    assert await resent(bed, 9, by_policy=True) is None
    await bed.store.mark_overdue(now=later(30), limit=LIMIT, actor="s")
    assert await resent(bed, 31, by_policy=True) is not None


async def test_what_stands_still_is_told_once(bed: Bed) -> None:
    """Waiting, held, left to a person; or of an account that nobody serves."""
    await bed.store.enlist("one", accounts=[DEFAULT])
    for name, state in (("w", State.WAITING), ("d", State.IN_DOUBT), ("fine", State.ACCEPTED)):
        await bed.stand(name, state)
    await bed.stand("far", State.ACCEPTED, account=AccountName("far"))
    stuck = await bed.store.record_stuck(before=later(1), limit=LIMIT)
    assert names(list(stuck)) == ["far", "w"]
    await bed.store.postpone(PayoutId("d"), next_action_at=None)
    assert await bed.store.record_stuck(before=NOON, limit=LIMIT) == []
    again = await bed.store.record_stuck(before=later(1), limit=LIMIT)
    assert names(list(again)) == ["d"]


async def test_refusals_in_a_row_pause_an_account(bed: Bed) -> None:
    """Each is counted once; clearing begins anew; only resuming opens it again."""
    count: dict[str, Any] = {"limit": 2, "reason": "refused"}
    first = await bed.store.count_refusal(DEFAULT, at=later(1), **count)
    told_again = await bed.store.count_refusal(DEFAULT, at=later(1), **count)
    await bed.store.clear_refusals(DEFAULT)
    await bed.store.count_refusal(DEFAULT, at=later(2), **count)
    paused = await bed.store.count_refusal(DEFAULT, at=later(3), **count)
    await bed.store.clear_refusals(DEFAULT)
    assert (first.refusals, told_again.refusals) == (1, 1)
    assert (paused.paused, paused.paused_reason) == (True, "refused")
    statuses = await bed.other.account_statuses([DEFAULT, AccountName("new")])
    assert [statuses[name].paused for name in (DEFAULT, AccountName("new"))] == [True, False]
    resumed = await bed.store.set_paused(DEFAULT, paused=False, reason="well", at=NOON)
    assert (resumed.paused, resumed.refusals) == (False, 0)


async def test_balance_and_exposure_are_kept(bed: Bed) -> None:
    """The latest balance counts; what is sent and not ended may still leave it."""
    for minor, at_s in ((5000, 2), (9000, 1)):
        await bed.store.record_balance(DEFAULT, minor=minor, at=later(at_s))
    await bed.stand("a", State.ACCEPTED)
    await bed.stand("b", State.WAITING)
    (exposure,) = await bed.store.exposures([DEFAULT, AccountName("unknown")])
    assert (exposure.utility_balance_minor, exposure.at_risk_minor) == (5000, 1999)
    worker = await bed.store.enlist("one")
    await bed.store.beat(worker, cut_off=[DEFAULT])
    status = (await bed.store.account_statuses([DEFAULT]))[DEFAULT]
    assert (status.balance_at, status.cut_off_workers) == (later(2), 1)


async def test_suspects_are_counted(bed: Bed) -> None:
    """How often one was begun before; the same trial told again is no other."""
    begun = [await bed.store.begin_suspect("k", at=later(at_s)) for at_s in (1, 1, 2)]
    await bed.store.clear_suspect("k")
    assert [*begun, await bed.store.begin_suspect("k", at=later(3))] == [0, 0, 1, 0]


async def test_unpublished_events_are_hidden_from_others_for_a_while(bed: Bed) -> None:
    """Claimed by one, seen again after its time, gone once it is published."""
    await bed.stand("a", State.ACCEPTED)
    event = (await bed.store.complete(result("a"))).event
    assert event is not None
    claim: dict[str, Any] = {"older_than": later(6), "until": later(60), "limit": LIMIT}
    too_young: dict[str, Any] = {**claim, "older_than": later(5)}
    assert await bed.store.claim_unpublished(**too_young) == []
    said = await asyncio.gather(*(one.claim_unpublished(**claim) for one in (bed.store, bed.other)))
    assert [*said[0], *said[1]] == [event]
    bed.clock.instant = later(60)
    assert await bed.store.claim_unpublished(**{**claim, "until": later(70)}) == [event]
    await bed.store.mark_published(event.event_id)
    bed.clock.instant = later(90)
    assert await bed.store.claim_unpublished(**claim) == []
