"""In doubt is asked, not guessed: when the same id may go out again, and when not."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest
from storage_bed import ACCOUNT, NOW, Bed, completion, move, payout, seconds

from payouts.domain.payout import Payout, Reason, ReasonSource, State
from payouts.domain.values import AccountName, OriginatorConversationId, PayoutId, WorkerId
from payouts.ports import Query

GRACE_S, INTERVAL_S = 60.0, 30.0
SENT = NOW + seconds(1)  # When the bed's payouts in doubt were sent last, at the latest.
FIRST = SENT + seconds(GRACE_S)
SECOND = FIRST + seconds(INTERVAL_S)
LATER = SECOND + seconds(1)


async def not_found(bed: Bed, at: datetime, name: str = "a") -> Payout:
    standing = await bed.store.record_not_found(
        PayoutId(name),
        asked_at=at,
        grace_s=GRACE_S,
        interval_s=INTERVAL_S,
        next_action_at=at + seconds(INTERVAL_S),
        actor="worker 1",
        query_id=None,
    )
    assert standing is not None
    return standing


async def resend(bed: Bed, **changes: Any) -> Payout | None:
    facts: dict[str, Any] = {
        "now": LATER,
        "grace_s": GRACE_S,
        "interval_s": INTERVAL_S,
        "by_policy": False,
        "actor": "worker 7",
    }
    return await bed.store.resend(PayoutId("a"), WorkerId(7), **{**facts, **changes})


async def proven(bed: Bed) -> None:
    await bed.in_doubt("a")
    await not_found(bed, FIRST)
    await not_found(bed, SECOND)


async def test_two_proofs_apart_allow_the_same_id_again(bed: Bed) -> None:
    """The payout is claimed for another attempt under its one id; the proof is used up."""
    await proven(bed)

    again = await resend(bed)

    assert again == await bed.standing("a")
    assert again is not None
    assert (again.state, again.owner, again.claimed_at) == (State.SUBMITTING, 7, LATER)
    assert (again.attempts, again.not_found_count, again.last_not_found_at) == (2, 0, None)
    assert again.originator_conversation_id == payout("a").originator_conversation_id
    assert (await bed.kinds("a"))[-1] == "resend"


@pytest.mark.parametrize(
    "asked",
    [
        [],
        [SECOND],
        [FIRST - seconds(0.001), SECOND],
        [FIRST, SECOND - seconds(0.001)],
        [FIRST, FIRST],
    ],
    ids=["none", "one", "one too early", "too near", "the same twice"],
)
async def test_anything_less_is_no_proof(bed: Bed, asked: Sequence[datetime]) -> None:
    """Two answers that count, each after the grace and an interval apart, or nothing is sent.

    Proved by taking the grace out of `_COUNTS`.
    """
    await bed.in_doubt("a")
    for at in asked:
        await not_found(bed, at)

    assert await resend(bed) is None
    assert (await bed.standing("a")).state is State.IN_DOUBT


async def test_an_answer_too_near_the_last_one_does_not_count(bed: Bed) -> None:
    """The same look at the same moment, told twice, is one look.

    Proved by taking the interval out of `_COUNTS`.
    """
    await bed.in_doubt("a")
    await not_found(bed, FIRST)

    assert (await not_found(bed, SECOND - seconds(0.001))).not_found_count == 1
    assert (await not_found(bed, SECOND)).not_found_count == 2


async def test_one_answer_is_no_proof_even_without_an_interval(bed: Bed) -> None:
    """Two must count, whatever the settings are.

    Proved by taking the count out of `_PROVEN`.
    """
    await bed.in_doubt("a")
    await not_found(bed, FIRST)

    assert await resend(bed, interval_s=0.0) is None


async def test_the_guard_of_a_resend_counts_for_itself(bed: Bed) -> None:
    """Proof by the settings of yesterday is no proof by stricter ones of today.

    Proved by taking the times out of `_PROVEN`.
    """
    await proven(bed)

    assert await resend(bed, grace_s=GRACE_S + 1) is None
    assert await resend(bed, interval_s=INTERVAL_S + 1) is None
    assert await resend(bed) is not None


async def test_what_the_broker_keeps_is_never_proven_lost(bed: Bed) -> None:
    """A queued request may still be delivered: *not found* says nothing.

    Proved by taking `queued` out of `_COUNTS` and `_PROVEN`.
    """
    await bed.in_doubt("a", queued=True)
    await not_found(bed, FIRST)
    assert (await not_found(bed, SECOND)).not_found_count == 0
    await bed.fetch(
        "UPDATE payouts SET not_found_count = 2, first_not_found_at = $1, last_not_found_at = $2",
        FIRST,
        SECOND,
    )

    assert await resend(bed) is None


async def test_a_resend_makes_old_answers_worthless(bed: Bed) -> None:
    """After another send, proof begins anew, from that send."""
    await proven(bed)
    await resend(bed)
    await bed.store.move(move("a", State.IN_DOUBT, at=LATER + seconds(1), sent_at=LATER))

    assert (await not_found(bed, LATER + seconds(30))).not_found_count == 0
    assert await resend(bed, now=LATER + seconds(200)) is None


async def test_word_of_the_payment_makes_old_answers_worthless(bed: Bed) -> None:
    """Whoever was accepted in between was found."""
    await proven(bed)
    await bed.store.move(move("a", State.ACCEPTED, State.IN_DOUBT, at=LATER, sent_at=None))
    await bed.store.move(move("a", State.IN_DOUBT, State.ACCEPTED, at=LATER, sent_at=None))

    assert await resend(bed) is None


@pytest.mark.parametrize("to", [State.ACCEPTED, State.WAITING, State.SUCCEEDED], ids=str)
async def test_only_what_is_in_doubt_is_sent_again(bed: Bed, to: State) -> None:
    """Not by policy either: an accepted or ended payout is not doubted.

    Proved by taking the state out of the guard.
    """
    await proven(bed)
    if to is State.SUCCEEDED:
        await bed.store.complete(completion("a"))
    else:
        await bed.store.move(move("a", to, State.IN_DOUBT))

    assert await resend(bed, by_policy=True) is None


async def test_by_policy_no_proof_is_needed(bed: Bed) -> None:
    """PAYOUTS_AMBIGUOUS=resend sends the same id again; the books say why."""
    await bed.in_doubt("a")

    assert await resend(bed, by_policy=True) is not None
    assert (await bed.kinds("a"))[-1] == "resend by policy"


async def test_nothing_is_sent_again_for_a_paused_account(bed: Bed) -> None:
    """Paused means that nothing more is sent.

    Proved by taking the condition out of the guard.
    """
    await proven(bed)
    await bed.store.set_paused(ACCOUNT, paused=True, reason="sick", at=NOW)

    assert await resend(bed) is None


async def test_the_same_resend_again_is_still_ones_own(bed: Bed) -> None:
    """After a commit whose outcome was not heard, the worker may send: the claim is its own."""
    await proven(bed)
    first = await resend(bed)

    assert await resend(bed) == first
    assert first is not None
    assert await resend(bed, now=LATER + seconds(1)) is None
    assert (await bed.standing("a")).attempts == 2


@pytest.mark.parametrize(
    ("source", "klass"),
    [("response", "duplicate"), ("response", "refused-final"), ("result", "ambiguous")],
)
async def test_no_policy_sends_what_is_told_to_have_arrived(
    bed: Bed, source: str, klass: str
) -> None:
    """The row as it stands decides: the sweep may have read it before the last answer came.

    Proved by taking the reason out of the guard.
    """
    said = Reason(source=ReasonSource(source), code="15", klass=klass, description="Told.")
    await bed.in_doubt("a", reason=said)

    assert await resend(bed, by_policy=True) is None


async def test_what_was_refused_for_good_is_not_sent_again_on_any_proof(bed: Bed) -> None:
    """It would be refused again; what is open is an earlier send.

    Proved by taking the reason out of the guard.
    """
    said = Reason(
        source=ReasonSource.RESPONSE, code="25", klass="refused-final", description="Told."
    )
    await bed.in_doubt("a", reason=said)
    await not_found(bed, FIRST)
    await not_found(bed, SECOND)

    assert (await bed.standing("a")).not_found_count == 2
    assert await resend(bed) is None


async def test_of_two_processes_one_sends_again(bed: Bed, other: Bed) -> None:
    """The claim is a compare-and-set like any other."""
    await proven(bed)

    outcomes = await asyncio.gather(
        *(
            one.store.resend(
                PayoutId("a"),
                WorkerId(owner),
                now=LATER,
                grace_s=GRACE_S,
                interval_s=INTERVAL_S,
                by_policy=True,
                actor=f"worker {owner}",
            )
            for owner in range(1, 6)
            for one in (bed, other)
        )
    )

    won = {one.owner for one in outcomes if one is not None}
    assert len(won) == 1
    assert (await bed.standing("a")).attempts == 2


async def test_an_answer_that_does_not_count_is_told_too(bed: Bed) -> None:
    """The timeline says what was learnt, and what it was worth, once."""
    await bed.in_doubt("a")
    for at in (FIRST - seconds(1), FIRST, FIRST, SECOND):
        await not_found(bed, at)

    rows = await bed.fetch("SELECT detail FROM timeline WHERE kind = 'not found' ORDER BY id")
    assert [row[0] for row in rows] == ["does not count", "counts as 1", "counts as 2"]


async def test_a_question_is_durable_before_it_is_asked(bed: Bed) -> None:
    """It is counted once, and pushes the next one away."""
    await bed.in_doubt("a")
    query = Query(query_id=OriginatorConversationId("q1"), payout_id=PayoutId("a"), asked_at=FIRST)

    for _ in range(2):
        await bed.store.record_query(query, next_action_at=SECOND, actor="worker 1")

    now = await bed.standing("a")
    assert (now.queries, now.next_action_at) == (1, SECOND)
    assert await bed.kinds("a") == ["intent", "answer", "query"]


async def test_a_question_about_what_is_settled_changes_nothing(bed: Bed) -> None:
    """A payout that ended meanwhile keeps its row as it is."""
    ended = await bed.succeeded("a")
    query = Query(query_id=OriginatorConversationId("q1"), payout_id=PayoutId("a"), asked_at=FIRST)

    await bed.store.record_query(query, next_action_at=SECOND, actor="worker 1")
    now = await not_found(bed, SECOND)

    assert now == ended.payout


async def test_nobody_is_told_of_a_payout_that_is_not_there(bed: Bed) -> None:
    """A *not found* about an unknown payout has nothing to count on."""
    assert (
        await bed.store.record_not_found(
            PayoutId("a"),
            asked_at=NOW,
            grace_s=1,
            interval_s=1,
            next_action_at=NOW,
            actor="worker 1",
            query_id=None,
        )
        is None
    )


async def test_doubts_that_are_due_are_taken_once(bed: Bed, other: Bed) -> None:
    """Whoever takes one has it until the instant that it names."""
    for name in ("a", "b", "c"):
        await bed.in_doubt(name, next_action_at=FIRST)
    await bed.in_doubt("later", next_action_at=SECOND)
    await bed.in_doubt("for-a-person", next_action_at=None)

    batches = await asyncio.gather(
        *(
            one.store.claim_doubts([ACCOUNT], now=FIRST, until=LATER, limit=2)
            for one in (bed, other, bed, other)
        )
    )

    taken = [one for batch in batches for one in batch]
    assert sorted(one.payout_id for one in taken) == ["a", "b", "c"]
    assert {one.next_action_at for one in taken} == {LATER}
    assert await bed.store.claim_doubts([AccountName("x")], now=LATER, until=LATER, limit=9) == []


async def test_a_doubt_is_put_off_or_left_to_a_person(bed: Bed) -> None:
    """None means that no sweep looks at it any more; other states are left alone."""
    await bed.in_doubt("a")
    accepted = await bed.accepted("b")

    await bed.store.postpone(PayoutId("a"), next_action_at=SECOND)
    assert (await bed.standing("a")).next_action_at == SECOND
    await bed.store.postpone(PayoutId("a"), next_action_at=None)
    await bed.store.postpone(PayoutId("b"), next_action_at=SECOND)

    assert (await bed.standing("a")).next_action_at is None
    assert await bed.standing("b") == accepted
