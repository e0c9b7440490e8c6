"""A payout is durable once, whoever brings its command, and however often."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from storage_bed import (
    ACTOR,
    NOW,
    Bed,
    completion,
    move,
    names,
    open_bed,
    payout,
    received,
    seconds,
    variants,
)

from payouts.domain.errors import StoreRefusedError
from payouts.domain.events import event_id_for, rejection_of
from payouts.domain.payout import Payout, Reason, ReasonSource, State
from payouts.domain.values import WorkerId
from payouts.ports import Intent, Recorded

EXPIRED = Reason(source=ReasonSource.LOCAL, code="expired", klass="expired", description="Late.")


def intent(wanted: Payout, **changes: Any) -> Intent:
    return Intent(payout=replace(wanted, **changes), actor=ACTOR)


async def test_a_new_intent_is_durable_with_every_field_it_names(bed: Bed) -> None:
    """What a payout is made of comes back the same, however odd its texts."""
    wanted = payout(
        "a",
        remark="Novembér “wages” \\ ' %s :x {}",
        occasion="🎉",
        not_after=NOW + timedelta(microseconds=1),
        metadata={"employee": "Ünï", "path": "c:\\x", "": "empty"},
    )

    outcome = await bed.store.record_intent(intent(wanted))

    assert outcome.recorded is Recorded.NEW
    assert outcome.event is None
    assert await bed.standing("a") == wanted == outcome.payout
    assert await bed.kinds("a") == ["intent"]


async def test_the_same_content_again_makes_no_second_payout(bed: Bed) -> None:
    """Another worker that gets the same command hears how the payout stands."""
    await bed.accepted("a")
    again = payout("a", owner=WorkerId(2), claimed_at=NOW + seconds(9), created_at=NOW + seconds(9))

    outcome = await bed.store.record_intent(intent(again))

    assert outcome.recorded is Recorded.SAME
    assert outcome.payout.state is State.ACCEPTED
    assert outcome.event is None
    assert await bed.count("payouts") == 1
    assert await bed.kinds("a") == ["intent", "answer"]


@pytest.mark.parametrize(("field", "other"), variants(payout("a")))
async def test_other_content_is_a_conflict_that_names_the_field(
    bed: Bed, field: str, other: Payout
) -> None:
    """The first payout is untouched by a command that says something else."""
    first = await bed.intend(payout("a"))

    outcome = await bed.store.record_intent(intent(other))

    assert outcome.recorded is Recorded.CONFLICT
    assert outcome.differences == (field,)
    assert outcome.event is None
    assert await bed.standing("a") == first


async def test_an_ended_payout_gives_its_event_again(bed: Bed) -> None:
    """A command that is repeated after the end has the same event published again."""
    ended = await bed.succeeded("a")

    outcome = await bed.store.record_intent(intent(payout("a", created_at=NOW + seconds(50))))

    assert outcome.recorded is Recorded.SAME
    assert outcome.event == ended.event
    assert outcome.event is not None


async def test_the_very_same_intent_again_is_still_new(bed: Bed) -> None:
    """After a commit whose outcome was not heard, the worker may send: the row is its own."""
    first = intent(payout("a"))
    await bed.store.record_intent(first)

    assert (await bed.store.record_intent(first)).recorded is Recorded.NEW
    assert await bed.kinds("a") == ["intent"]


@pytest.mark.parametrize(
    "other",
    [
        payout("a", owner=WorkerId(2)),
        payout("a", claimed_at=NOW + seconds(1)),
        payout("a", created_at=NOW - seconds(1)),
        received("a"),
    ],
    ids=["owner", "claimed_at", "created_at", "state"],
)
async def test_an_intent_is_not_new_if_anything_tells_it_from_the_row(
    bed: Bed, other: Payout
) -> None:
    """Only one worker may take the intent for its own and send.

    Proved by letting `_is_own` compare the content alone.
    """
    await bed.intend(payout("a"))

    assert (await bed.store.record_intent(intent(other))).recorded is Recorded.SAME


async def test_an_intent_whose_payout_has_moved_on_is_not_new(bed: Bed) -> None:
    """A worker that hears late does not send what the sweep has put in doubt meanwhile."""
    first = intent(payout("a"))
    await bed.store.record_intent(first)
    await bed.store.move(move("a", State.IN_DOUBT))

    assert (await bed.store.record_intent(first)).recorded is Recorded.SAME


async def test_what_expired_before_it_came_ends_at_once_with_its_event(bed: Bed) -> None:
    """An expired command is one failed payout and one event, in one commit."""
    late = received("a", state=State.FAILED, next_action_at=None, reason=EXPIRED, completed_at=NOW)

    outcome = await bed.store.record_intent(intent(late))

    assert outcome.recorded is Recorded.NEW
    assert outcome.event is not None
    assert outcome.event.event_id == event_id_for("a", "payout.failed")
    assert await bed.count("events WHERE type = 'payout.failed' AND published_at IS NULL") == 1


async def test_one_refused_intent_does_not_keep_the_others_of_its_batch(bed: Bed) -> None:
    """A row that the database refuses fails alone.

    Proved by failing the whole batch in `BatchWriter._commit`.
    """
    wanted = [intent(payout(name)) for name in names("p", 40)]
    wanted[17] = intent(payout("odd", amount_minor=0))

    outcomes = await asyncio.gather(
        *(bed.store.record_intent(one) for one in wanted), return_exceptions=True
    )

    refused = [n for n, one in enumerate(outcomes) if isinstance(one, StoreRefusedError)]
    assert refused == [17]
    assert await bed.count("payouts") == 39


async def test_two_payouts_can_never_share_an_originator_conversation_id(bed: Bed) -> None:
    """The id on the wire is one payout's for life.

    Proved by dropping the unique constraint.
    """
    await bed.intend(payout("a"))
    thief = payout("b", originator_conversation_id=payout("a").originator_conversation_id)

    with pytest.raises(StoreRefusedError, match="originator_conversation_id"):
        await bed.store.record_intent(intent(thief))


async def test_of_two_processes_with_the_same_command_exactly_one_may_send(
    bed: Bed, other: Bed
) -> None:
    """However the commands are spread, each payout is new once."""
    ours = [intent(payout(name)) for name in names("p", 200)]
    theirs = [intent(one.payout, owner=WorkerId(2)) for one in reversed(ours)]

    outcomes = await asyncio.gather(
        *(bed.store.record_intent(one) for one in ours),
        *(other.store.record_intent(one) for one in theirs),
    )

    by_name: dict[str, list[Recorded]] = {}
    for one in outcomes:
        by_name.setdefault(one.payout.payout_id, []).append(one.recorded)
    assert all(sorted(told) == [Recorded.NEW, Recorded.SAME] for told in by_name.values())
    assert await bed.count("timeline") == 200


async def test_the_same_new_command_twice_at_once_is_new_once(bed: Bed) -> None:
    """Two deliveries of one command in one process never share a batch."""
    first, second = intent(payout("a")), intent(payout("a"), created_at=NOW + seconds(1))

    outcomes = await asyncio.gather(*map(bed.store.record_intent, (first, second)))

    assert [one.recorded for one in outcomes] == [Recorded.NEW, Recorded.SAME]


async def test_a_rejection_is_one_event_however_often_it_is_told(bed: Bed) -> None:
    """The same invalid message yields one event; it is claimed as it was written."""
    event = rejection_of("bad", ("amount: é",), message_key="m1", account="default", at=NOW)

    assert await bed.store.record_rejection(event)
    assert await bed.store.record_rejection(event)

    claimed = await bed.store.claim_unpublished(
        older_than=NOW + seconds(1), until=NOW + seconds(9), limit=10
    )
    assert claimed == [event]


async def test_a_known_payout_is_never_rejected(bed: Bed) -> None:
    """An invalid command cannot speak for a payout that exists.

    Proved by taking the condition out of the statement.
    """
    await bed.intend(payout("a"))
    event = rejection_of("a", ("amount",), message_key="m1", account="default", at=NOW)

    assert not await bed.store.record_rejection(event)
    assert await bed.count("events") == 0


async def test_an_intent_that_was_sent_already_is_refused(bed: Bed) -> None:
    """Intent comes before effect: a payout cannot begin as sent."""
    with pytest.raises(StoreRefusedError):
        await bed.store.record_intent(intent(payout("a", submitted_at=NOW)))


async def test_progress_events_do_not_change_what_is_recorded(books_url: str) -> None:
    """The setting for progress events adds events and nothing else."""
    async with open_bed(books_url, show_progress=True) as bed:
        await bed.accepted("a")
        outcome = await bed.store.complete(completion("a"))
        assert outcome.applied
        assert await bed.count("events") == 2
