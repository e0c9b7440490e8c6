"""New payouts, moves and ends: what the store's port promises, of both."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from payouts.domain.errors import StoreRefusedError
from payouts.domain.events import rejection_of
from payouts.domain.payout import HELD_RETURNED, HELD_RUN, State
from payouts.domain.values import ConversationId, OriginatorConversationId, PayoutId, RunId
from payouts.ports import Incident, IncidentKind, Intent, Recorded
from tests.conformance.stores import (
    DEFAULT,
    GONE,
    LIMIT,
    NOON,
    TAKEN,
    Bed,
    later,
    move,
    open_bed,
    order,
    own_id,
    received,
    result,
    sending,
)


async def test_a_payout_is_made_once(bed: Bed) -> None:
    """The first intent is new, the same content is known, other content is a conflict."""
    first = await bed.intend(sending("a"))
    again = await bed.intend(sending("a", owner=2, created_at=later(9), claimed_at=later(9)))
    other = await bed.intend(sending("a", amount_minor=5, msisdn="254700000000"))
    assert (first.recorded, first.payout) == (Recorded.NEW, sending("a"))
    assert (again.recorded, again.payout, again.event) == (Recorded.SAME, sending("a"), None)
    assert (other.recorded, other.differences) == (Recorded.CONFLICT, ("amount", "msisdn"))
    assert await bed.now("a") == sending("a")


async def test_an_intent_told_again_is_still_new(bed: Bed) -> None:
    """Whoever did not hear of its commit tells it again, and sends; once it has moved, not so."""
    await bed.intend(sending("a"))
    assert (await bed.intend(sending("a"))).recorded is Recorded.NEW
    await bed.store.move(move("a", State.WAITING))
    assert (await bed.intend(sending("a"))).recorded is Recorded.SAME


async def test_of_two_processes_one_makes_the_payout(bed: Bed) -> None:
    """Two intents at the same instant: one is new, the other one learns of it."""
    mine, other = sending("a"), sending("a", owner=2)
    said = await asyncio.gather(
        bed.store.record_intent(Intent(payout=mine, actor="worker 1")),
        bed.other.record_intent(Intent(payout=other, actor="worker 2")),
    )
    assert sorted(one.recorded for one in said) == [Recorded.NEW, Recorded.SAME]
    assert len({one.payout.owner for one in said}) == 1


async def test_an_expired_intent_ends_at_once_and_is_told_again_when_repeated(bed: Bed) -> None:
    """Its event is in the outbox once, with one id; a repeat has it published again."""
    ended = received("a", state=State.FAILED, next_action_at=None, reason=GONE, completed_at=NOON)
    event = (await bed.intend(ended)).event
    assert event is not None
    await bed.store.mark_published(event.event_id)
    assert (await bed.intend(sending("a"))).event == event
    claim: dict[str, Any] = {"older_than": later(1), "until": later(60), "limit": LIMIT}
    assert await bed.store.claim_unpublished(**claim) == [event]


@pytest.mark.parametrize(
    "wrong",
    [
        {"submitted_at": NOON},
        {"conversation_id": ConversationId("AG_1")},
        {"state": State.ACCEPTED, "owner": None, "claimed_at": None, "next_action_at": NOON},
        {"attempts": 0},
        {"owner": None},
        {"amount_minor": 0},
        {"state": State.FAILED, "attempts": 0, "owner": None, "claimed_at": None},
        {"originator_conversation_id": own_id("known")},
    ],
)
async def test_what_must_not_begin_is_refused(bed: Bed, wrong: dict[str, Any]) -> None:
    """What was sent already, contradicts itself, or takes another's id is not written down."""
    await bed.intend(sending("known"))
    with pytest.raises(StoreRefusedError):
        await bed.intend(sending("a", **wrong))
    assert await bed.store.find(PayoutId("a")) is None


async def test_nothing_goes_out_for_a_paused_account_or_run(bed: Bed) -> None:
    """The intent to send becomes a payout at rest, in the same step."""
    run = RunId("r")
    await bed.store.set_paused(DEFAULT, paused=True, reason="sick", at=NOON)
    resting = (await bed.intend(sending("a"))).payout
    await bed.store.set_paused(DEFAULT, paused=False, reason="well", at=NOON)
    await bed.orders.set_run_paused(run, paused=True, order=order())
    held = (await bed.intend(sending("b", run_id=run))).payout
    assert resting == received("a")
    assert held == received("b", run_id=run, held=HELD_RUN)
    assert await bed.now("a") == resting
    assert await bed.now("b") == held


async def test_what_a_result_has_come_for_is_held(bed: Bed) -> None:
    """A payout that is new to restored books may have been paid: its Results come back first."""
    unmatched = Incident(
        kind=IncidentKind.UNMATCHED,
        at=NOON,
        originator_conversation_id=own_id("a"),
        code="0",
        detail="no payout has this id",
        evidence={"ReceiptNumber": "R1"},
    )
    await bed.store.record_incident(unmatched)
    await bed.store.record_incident(replace(unmatched, at=later(1)))
    payout = (await bed.intend(sending("a"))).payout
    assert (payout.state, payout.held) == (State.RECEIVED, HELD_RETURNED)
    (returned,) = await bed.store.find_returned(since=later(9), limit=LIMIT)
    assert (returned.payout, returned.incident) == (payout, unmatched)


async def test_a_result_that_came_while_its_payout_was_inserted_is_found(bed: Bed) -> None:
    """Neither saw the other: it comes back as well, until a Result was applied.

    Proved by looking at what is held alone.
    """
    await bed.intend(sending("a"))
    await bed.intend(sending("b"))
    for name in ("a", "b"):
        unmatched = Incident(
            kind=IncidentKind.UNMATCHED,
            at=later(2),
            originator_conversation_id=own_id(name),
            code="0",
            detail="no payout has this id",
        )
        await bed.store.record_incident(unmatched)
    await bed.store.complete(result("b"))
    (returned,) = await bed.store.find_returned(since=later(2), limit=LIMIT)
    assert (returned.payout.payout_id, returned.incident.at) == ("a", later(2))
    assert await bed.store.find_returned(since=later(3), limit=LIMIT) == []
    await bed.store.complete(result("a"))
    assert await bed.store.find_returned(since=later(2), limit=LIMIT) == []


async def test_what_looks_like_a_repeat_is_held_where_that_is_watched(
    books_url: str | None,
) -> None:
    """Same receiver, amount and currency under another id, within the window."""
    async with open_bed(books_url, repeat_window_s=60.0) as bed:
        await bed.intend(sending("a"))
        repeat = (await bed.intend(sending("b", created_at=later(59)))).payout
        much_later = (await bed.intend(sending("c", created_at=later(600)))).payout
        other = (await bed.intend(sending("d", amount_minor=7))).payout
    assert repeat.held == "same receiver and amount as a"
    assert [one.held for one in (much_later, other)] == [None, None]


async def test_a_rejection_is_told_unless_its_payout_exists(bed: Bed) -> None:
    """A known payout is not rejected by a bad message that bears its id."""
    await bed.intend(sending("a"))
    events = [
        rejection_of(name, ("amount: is no text",), message_key="m", account="default", at=NOON)
        for name in ("a", "b", "b")
    ]
    assert [await bed.store.record_rejection(one) for one in events] == [False, True, True]
    claim: dict[str, Any] = {"older_than": later(1), "until": later(60), "limit": LIMIT}
    assert await bed.store.claim_unpublished(**claim) == [events[1]]


async def test_a_move_wins_once_and_says_so_again_when_told_again(bed: Bed) -> None:
    """A second one from the same state loses; the same one, word for word, has won."""
    await bed.intend(sending("a"))
    taken = move("a", State.ACCEPTED, conversation_id=ConversationId("AG_1"))
    moved = (await bed.store.move(taken)).payout
    late = await bed.store.move(move("a", State.IN_DOUBT, kind="late"))
    again = (await bed.store.move(taken)).payout
    assert moved is not None
    assert (moved.state, moved.owner, moved.reason) == (State.ACCEPTED, None, TAKEN)
    assert (moved.submitted_at, moved.last_sent_at) == (NOON, later(1))
    assert (late.payout, again) == (None, moved)


async def test_a_move_is_fenced_by_its_attempt(bed: Bed) -> None:
    """An answer to an earlier send does not move what is being sent again."""
    await bed.intend(sending("a"))
    assert (await bed.store.move(move("a", State.ACCEPTED, attempt=2))).payout is None
    assert (await bed.store.move(move("a", State.ACCEPTED, attempt=1))).payout is not None


@pytest.mark.parametrize(
    ("to", "source", "changes"),
    [
        (State.ACCEPTED, State.RECEIVED, {}),
        (State.SUCCEEDED, State.FAILED, {}),
        (State.ACCEPTED, State.SUBMITTING, {"next_action_at": None}),
        (State.FAILED, State.SUBMITTING, {"next_action_at": later(1)}),
        (State.FAILED, State.SUBMITTING, {"reason": None}),
    ],
)
async def test_an_illegal_move_is_refused(
    bed: Bed, to: State, source: State, changes: dict[str, Any]
) -> None:
    """What is not in the table, or has not its facts, leaves the payout as it was."""
    await bed.intend(sending("a"))
    with pytest.raises(StoreRefusedError):
        await bed.store.move(move("a", to, source, **changes))
    assert await bed.now("a") == sending("a")


async def test_a_note_attaches_what_is_missing(bed: Bed) -> None:
    """The first conversation id stays; the mark of the queue follows; an end changes no more."""
    await bed.stand("a", State.ACCEPTED)
    for number, queued in ((1, True), (2, None)):
        noted = move("a", State.ACCEPTED, at=later(number), queued=queued)
        await bed.store.note(replace(noted, conversation_id=ConversationId(f"AG_{number}")))
    stands = await bed.now("a")
    assert (stands.conversation_id, stands.queued) == ("AG_1", True)
    await bed.store.complete(result("a", conversation_id=None))
    ended = await bed.now("a")
    await bed.store.note(move("a", State.ACCEPTED, at=later(9), queued=False))
    assert await bed.now("a") == ended


async def test_a_result_ends_its_payout_once(bed: Bed) -> None:
    """It is matched by either id; the same one again, and another one, change nothing more."""
    await bed.stand("a", State.ACCEPTED)
    ended = await bed.store.complete(result("a"))
    again = await bed.store.complete(result("a"))
    other = await bed.store.complete(
        result("a", State.FAILED, originator_conversation_id=None, conversation_id="AG_a")
    )
    unknown = await bed.store.complete(result("b", conversation_id=None))
    assert ended.payout is not None
    assert ended.event is not None
    assert (ended.applied, ended.payout.state) == (True, State.SUCCEEDED)
    assert [(one.applied, one.payout) for one in (again, other)] == [(False, ended.payout)] * 2
    assert (unknown.applied, unknown.payout) == (False, None)
    claim: dict[str, Any] = {"older_than": later(9), "until": later(60), "limit": LIMIT}
    assert await bed.store.claim_unpublished(**claim) == [ended.event]


@pytest.mark.parametrize("other", [{"amount_minor": 1}, {"receiver": "254700000000"}])
async def test_a_result_that_disagrees_ends_nothing(bed: Bed, other: dict[str, Any]) -> None:
    """Another amount or receiver: the payout stands as it stood."""
    payout = await bed.stand("a", State.ACCEPTED)
    outcome = await bed.store.complete(result("a", **other))
    assert (outcome.applied, outcome.payout) == (False, payout)


async def test_of_two_processes_one_applies_the_result(bed: Bed) -> None:
    """Both are told how it ended; one event is written."""
    await bed.stand("a", State.ACCEPTED)
    said = await asyncio.gather(
        bed.store.complete(result("a")), bed.other.complete(result("a", State.FAILED))
    )
    assert sorted(one.applied for one in said) == [False, True]
    claim: dict[str, Any] = {"older_than": later(9), "until": later(60), "limit": LIMIT}
    assert len(await bed.store.claim_unpublished(**claim)) == 1


async def test_a_completion_must_be_an_end(bed: Bed) -> None:
    """Anything else is refused before it is looked up."""
    with pytest.raises(StoreRefusedError):
        await bed.store.complete(result("a", State.ACCEPTED))


async def test_payouts_are_found_by_either_id(bed: Bed) -> None:
    """Its own id comes first; the gateway's counts only while it names one payout."""
    for name in ("a", "b"):
        await bed.stand(name, State.ACCEPTED)
        noted = move(name, State.ACCEPTED, at=later(2))
        await bed.store.note(replace(noted, conversation_id=ConversationId("AG_same")))
    unknown = OriginatorConversationId("600000_ORG_nobody")
    found = await bed.store.find_by_conversation(own_id("a"), ConversationId("AG_same"))
    assert found == await bed.now("a")
    assert await bed.store.find_by_conversation(unknown, ConversationId("AG_same")) is None
    assert await bed.store.find(PayoutId("nobody")) is None
