"""A payout moves only from where it stands, and the books say each time who moved it."""

import asyncio

import pytest
from storage_bed import (
    ACCOUNT,
    ACTOR,
    NOW,
    REFUSED,
    UNKNOWN,
    Bed,
    completion,
    gateway_id,
    move,
    names,
    open_bed,
    payout,
    received,
    seconds,
)

from payouts.domain.errors import StoreRefusedError
from payouts.domain.events import event_id_for
from payouts.domain.payout import State
from payouts.domain.values import ConversationId, PayoutId, TransactionId, WorkerId
from payouts.ports import Move


async def test_an_accepted_answer_is_written_down_whole(bed: Bed) -> None:
    """State, ids, times and reason of the answer stand in the row and in the timeline."""
    await bed.intend(payout("a"))

    moved = await bed.store.move(
        move("a", State.ACCEPTED, conversation_id=gateway_id("a"), queued=True, detail="2 tries")
    )

    assert moved.event is None
    now = await bed.standing("a")
    assert now == moved.payout
    assert (now.state, now.owner, now.claimed_at) == (State.ACCEPTED, None, None)
    assert (now.submitted_at, now.last_sent_at) == (NOW, NOW + seconds(1))
    assert now.queued
    assert now.conversation_id == gateway_id("a")
    assert now.reason is not None
    assert now.reason.klass == "accepted"
    rows = await bed.fetch("SELECT * FROM timeline ORDER BY id")
    told = dict(rows[1])
    assert (told["from_state"], told["to_state"]) == ("submitting", "accepted")
    assert (told["actor"], told["kind"], told["code"]) == (ACTOR, "answer", "0")
    assert (told["detail"], told["conversation_id"]) == ("2 tries", gateway_id("a"))


async def test_a_move_from_another_state_loses(bed: Bed) -> None:
    """A payout that stands elsewhere is left alone, and nothing is told.

    Proved by taking the sources out of the statement's guard.
    """
    await bed.accepted("a")

    moved = await bed.store.move(move("a", State.WAITING))

    assert moved.payout is None
    assert (await bed.standing("a")).state is State.ACCEPTED
    assert await bed.kinds("a") == ["intent", "answer"]


async def test_a_move_of_an_earlier_attempt_loses(bed: Bed) -> None:
    """An answer that comes after the payout was claimed again cannot speak for the new attempt.

    Proved by taking the attempt out of the statement's guard.
    """
    await bed.waiting("a", next_action_at=NOW)
    (again,) = await bed.store.claim_due(WorkerId(1), [ACCOUNT], now=NOW + seconds(5), limit=10)
    assert again.attempts == 2

    late = await bed.store.move(move("a", State.FAILED, attempt=1))

    assert late.payout is None
    assert (await bed.standing("a")).state is State.SUBMITTING


async def test_the_same_move_again_answers_as_before_and_does_nothing(bed: Bed) -> None:
    """After a commit whose outcome was not heard, the move is told as made."""
    await bed.intend(payout("a"))
    end = move("a", State.FAILED)
    first = await bed.store.move(end)

    again = await bed.store.move(end)

    assert again == first
    assert again.event is not None
    assert await bed.kinds("a") == ["intent", "answer"]
    assert await bed.count("events") == 1


async def test_a_move_that_another_has_made_is_not_taken_for_ones_own(bed: Bed) -> None:
    """Standing in the same state is not enough: the entry must be this very move's.

    Proved by taking the timeline out of the question.
    """
    await bed.intend(payout("a"))
    await bed.store.move(move("a", State.FAILED, actor="worker 2"))

    assert (await bed.store.move(move("a", State.FAILED))).payout is None


async def test_an_end_writes_its_event_in_the_same_commit(bed: Bed) -> None:
    """A conclusive refusal ends the payout, with one event under its one id."""
    await bed.intend(payout("a"))

    moved = await bed.store.move(move("a", State.FAILED))

    ended = bed.of(moved)
    assert ended.completed_at == NOW + seconds(1)
    assert ended.reason == REFUSED
    assert moved.event is not None
    assert moved.event.event_id == event_id_for("a", "payout.failed")
    rows = await bed.fetch("SELECT event_id::text, type, data FROM events")
    assert [tuple(row) for row in rows] == [(moved.event.event_id, "payout.failed", None)]


async def test_an_end_without_a_reason_is_refused(bed: Bed) -> None:
    """Only proof ends a payout, and proof has a name."""
    await bed.intend(payout("a"))

    with pytest.raises(StoreRefusedError, match="failed_has_reason"):
        await bed.store.move(move("a", State.FAILED, reason=None))


@pytest.mark.parametrize(
    "wrong",
    [
        move("a", State.WAITING, State.ACCEPTED),
        move("a", State.SUBMITTING, State.WAITING),
        move("a", State.ACCEPTED, next_action_at=None),
        move("a", State.WAITING, next_action_at=None),
    ],
    ids=["not in the table", "without an owner", "accepted for ever", "waiting for ever"],
)
async def test_a_move_that_should_never_be_tried_is_refused(bed: Bed, wrong: Move) -> None:
    """A defect of a caller changes nothing and is told as such."""
    from_waiting = wrong.to is State.SUBMITTING
    first = await (bed.waiting("a") if from_waiting else bed.intend(payout("a")))

    with pytest.raises(StoreRefusedError):
        await bed.store.move(wrong)

    assert await bed.standing("a") == first


async def test_a_send_that_left_nothing_leaves_no_trace_of_a_send(bed: Bed) -> None:
    """A payout that never left may still expire."""
    now = await bed.waiting("a", sent_at=None)

    assert (now.submitted_at, now.last_sent_at) == (None, None)


async def test_doubt_is_dated_even_if_nobody_says_when_it_was_sent(bed: Bed) -> None:
    """What may have been received counts as sent by then, at the latest."""
    now = await bed.in_doubt("a", sent_at=None)

    assert (now.submitted_at, now.last_sent_at) == (NOW, NOW + seconds(1))


async def test_doubt_counts_from_its_first_moment_until_it_is_dispelled(bed: Bed) -> None:
    """Going back and forth does not make doubt look younger; a refusal ends it."""
    await bed.in_doubt("a")
    await bed.store.move(move("a", State.ACCEPTED, State.IN_DOUBT, at=NOW + seconds(2)))
    again = await bed.store.move(move("a", State.IN_DOUBT, State.ACCEPTED, at=NOW + seconds(9)))
    assert bed.of(again).doubt_since == NOW + seconds(1)

    refused = await bed.store.move(move("a", State.WAITING, State.IN_DOUBT, at=NOW + seconds(10)))

    assert bed.of(refused).doubt_since is None


async def test_doubt_about_an_earlier_send_outlasts_a_passing_refusal_of_a_later_one(
    bed: Bed,
) -> None:
    """That the second send was throttled tells nothing of the first.

    Proved by dating no payout that waits.
    """
    await bed.in_doubt("a")
    again = await bed.store.resend(
        PayoutId("a"),
        WorkerId(1),
        now=NOW + seconds(2),
        grace_s=0.0,
        interval_s=0.0,
        by_policy=True,
        actor=ACTOR,
    )
    assert again is not None
    throttled = await bed.store.move(
        move("a", State.WAITING, State.SUBMITTING, at=NOW + seconds(3))
    )

    assert bed.of(throttled).doubt_since == NOW + seconds(1)


async def test_the_last_send_never_moves_back(bed: Bed) -> None:
    """An answer that is written down late does not make the last send look earlier."""
    await bed.in_doubt("a", at=NOW + seconds(100))

    late = await bed.store.move(move("a", State.WAITING, State.IN_DOUBT, at=NOW + seconds(50)))

    assert bed.of(late).last_sent_at == NOW + seconds(100)


async def test_of_two_processes_exactly_one_moves_each_payout(bed: Bed, other: Bed) -> None:
    """Batches that meet crosswise leave one winner a row, one entry, one event.

    Proved by taking the sources out of the statement's guard.
    """
    wanted = names("p", 300)
    await asyncio.gather(*(bed.intend(payout(name)) for name in wanted))

    outcomes = await asyncio.gather(
        *(bed.store.move(move(name, State.FAILED)) for name in wanted),
        *(other.store.move(move(name, State.ACCEPTED, actor="x")) for name in reversed(wanted)),
    )

    won = [one.payout.payout_id for one in outcomes if one.payout is not None]
    assert sorted(won) == wanted
    assert await bed.count("timeline") == 600
    failed = await bed.count("payouts WHERE state = 'failed'")
    assert await bed.count("events") == failed


async def test_moves_of_one_payout_keep_their_order(bed: Bed) -> None:
    """Moves that are asked for one after the other are made one after the other."""
    await bed.intend(payout("a"))
    steps = [
        move("a", State.IN_DOUBT),
        move("a", State.ACCEPTED, State.IN_DOUBT),
        move("a", State.IN_DOUBT, State.ACCEPTED),
        move("a", State.FAILED, State.IN_DOUBT),
    ]

    outcomes = await asyncio.gather(*map(bed.store.move, steps))

    assert [one.payout.state for one in outcomes if one.payout] == [one.to for one in steps]


async def test_a_note_changes_no_state_and_gives_a_missing_id(bed: Bed) -> None:
    """A late answer is told, and its conversation id kept where there is none."""
    before = await bed.in_doubt("a")

    await bed.store.note(move("a", State.ACCEPTED, conversation_id=gateway_id("a"), kind="late"))

    now = await bed.standing("a")
    assert (now.state, now.reason) == (before.state, before.reason)
    assert now.conversation_id == gateway_id("a")
    assert await bed.kinds("a") == ["intent", "answer", "late"]


async def test_a_note_takes_no_id_away_and_marks_what_it_says_of_the_queue(bed: Bed) -> None:
    """The first conversation id stays; `queued` follows what was said last."""
    await bed.accepted("a", queued=True)

    await bed.store.note(
        move("a", State.IN_DOUBT, conversation_id=ConversationId("AG_other"), queued=False)
    )

    now = await bed.standing("a")
    assert now.conversation_id == gateway_id("a")
    assert not now.queued


async def test_a_note_about_an_ended_payout_leaves_its_row_alone(bed: Bed) -> None:
    """What comes after the end is told, but the event's content stays what it was.

    Proved by taking the condition out of the statement: the trigger refuses it then.
    """
    await bed.intend(payout("a"))
    ended = bed.of(await bed.store.move(move("a", State.FAILED)))

    await bed.store.note(
        move("a", State.ACCEPTED, kind="late", conversation_id=gateway_id("a"), queued=True)
    )

    assert await bed.standing("a") == ended
    assert await bed.kinds("a") == ["intent", "answer", "late"]


async def test_the_same_note_again_is_one_line(bed: Bed) -> None:
    """A note that is told again after an unheard commit is not doubled."""
    await bed.accepted("a")
    note = move("a", State.ACCEPTED, kind="late")

    await bed.store.note(note)
    await bed.store.note(note)

    assert await bed.kinds("a") == ["intent", "answer", "late"]


async def test_what_the_gateway_says_is_kept_within_bounds(bed: Bed) -> None:
    """Odd characters and lengths never make a write impossible.

    Proved by keeping the texts as they come.
    """
    await bed.intend(payout("a"))
    odd = "x\0\ud800" + "y" * 5000
    answer = move(
        "a",
        State.ACCEPTED,
        conversation_id=ConversationId(odd),
        transaction_id=TransactionId(odd),
        detail=odd,
    )

    now = bed.of(await bed.store.move(answer))

    assert now.conversation_id == "x?" + "y" * 254
    assert len((await bed.fetch("SELECT detail FROM timeline ORDER BY id"))[1][0]) == 2000


async def test_progress_events_tell_how_it_stood(books_url: str) -> None:
    """A progress event keeps its state and reason, whatever becomes of the payout."""
    async with open_bed(books_url, show_progress=True) as bed:
        await bed.in_doubt("a")
        await bed.store.move(move("a", State.ACCEPTED, State.IN_DOUBT, at=NOW + seconds(2)))
        await bed.store.complete(completion("a"))

        events = await bed.store.claim_unpublished(
            older_than=NOW + seconds(60), until=NOW + seconds(99), limit=10
        )

    assert [one.type for one in events] == [
        "payout.in_doubt",
        "payout.accepted",
        "payout.succeeded",
    ]
    doubt = events[0].data
    assert (doubt["state"], doubt["completed_at"]) == ("in_doubt", None)
    assert doubt["reason"] == {
        "source": UNKNOWN.source.value,
        "code": UNKNOWN.code,
        "class": UNKNOWN.klass,
        "description": UNKNOWN.description,
    }
    assert len({one.event_id for one in events}) == 3


async def test_a_received_payout_can_be_cancelled(bed: Bed) -> None:
    """A person may end what was never sent."""
    await bed.intend(received("a"))

    moved = await bed.store.move(move("a", State.FAILED, State.RECEIVED, sent_at=None))

    assert bed.of(moved).submitted_at is None
    assert moved.event is not None
