"""A Result ends its payout once, if it agrees with it, whenever and however often it comes."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from storage_bed import (
    NOT_PAID,
    NOW,
    PAID,
    RECEIVER,
    Bed,
    completion,
    gateway_id,
    move,
    names,
    own_id,
    payout,
    received,
    seconds,
)

from payouts.domain.errors import StoreRefusedError
from payouts.domain.events import event_id_for
from payouts.domain.payout import State
from payouts.domain.values import ConversationId, OriginatorConversationId, PayoutId
from payouts.ports import Incident, IncidentKind, Query


async def test_a_result_ends_its_payout_with_one_event(bed: Bed) -> None:
    """End, receipt, entry and event are one commit."""
    await bed.accepted("a")

    outcome = await bed.store.complete(completion("a"))

    assert outcome.applied
    assert outcome.payout == await bed.standing("a")
    ended = await bed.standing("a")
    assert (ended.state, ended.completed_at) == (State.SUCCEEDED, NOW + seconds(5))
    assert (ended.transaction_id, ended.reason) == ("SKUa", PAID)
    assert ended.next_action_at is None
    assert outcome.event is not None
    assert outcome.event.event_id == event_id_for("a", "payout.succeeded")
    assert outcome.event.data["transaction_id"] == "SKUa"
    assert await bed.kinds("a") == ["intent", "answer", "result"]
    assert await bed.count("events") == 1


async def test_a_failed_result_ends_it_as_failed(bed: Bed) -> None:
    """The Result's own reason stands in the row."""
    await bed.accepted("a")

    outcome = await bed.store.complete(completion("a", State.FAILED))

    assert outcome.payout is not None
    assert (outcome.payout.state, outcome.payout.reason) == (State.FAILED, NOT_PAID)


async def test_a_result_that_comes_before_the_response_ends_it(bed: Bed) -> None:
    """A payout that is still being sent is as good as any; it counts as sent."""
    await bed.intend(payout("a"))

    outcome = await bed.store.complete(completion("a"))

    assert outcome.applied
    assert outcome.payout is not None
    assert outcome.payout.submitted_at == NOW
    assert outcome.payout.owner is None


async def test_a_result_for_a_payout_that_a_restore_took_back_ends_it(bed: Bed) -> None:
    """What was sent before the restore is not sent again after its Result."""
    await bed.intend(received("a"))

    assert (await bed.store.complete(completion("a"))).applied


@pytest.mark.parametrize("to", [State.WAITING, State.IN_DOUBT], ids=str)
async def test_a_result_is_welcome_in_every_open_state(bed: Bed, to: State) -> None:
    """A Result may come after a refusal or a doubt."""
    await bed.intend(payout("a"))
    await bed.store.move(move("a", to))

    assert (await bed.store.complete(completion("a"))).applied


async def test_a_result_that_names_only_the_gateways_id_is_matched(bed: Bed) -> None:
    """The ConversationID of the Response is enough."""
    await bed.accepted("a")

    outcome = await bed.store.complete(completion("a", originator_conversation_id=None))

    assert outcome.applied


async def test_the_payouts_own_id_is_believed_before_the_gateways(bed: Bed) -> None:
    """Where the two name different payouts, the id that we made decides."""
    await bed.accepted("a")
    await bed.accepted("b")

    outcome = await bed.store.complete(completion("a", conversation_id=gateway_id("b")))

    assert outcome.payout is not None
    assert outcome.payout.payout_id == "a"
    assert (await bed.standing("b")).state is State.ACCEPTED


async def test_a_gateway_id_that_two_payouts_have_names_neither(bed: Bed) -> None:
    """A Result that could be about either ends none.

    Proved by taking any of the two.
    """
    for name in ("a", "b"):
        await bed.intend(payout(name))
        await bed.store.move(move(name, State.ACCEPTED, conversation_id=ConversationId("AG_twice")))

    outcome = await bed.store.complete(
        completion("a", originator_conversation_id=None, conversation_id=ConversationId("AG_twice"))
    )

    assert (outcome.applied, outcome.payout) == (False, None)


async def test_an_id_is_believed_only_where_the_payout_was_sent_under_it(bed: Bed) -> None:
    """The form of an id names a payout; the books decide whether it is that payout's.

    Proved by ending what the form names by either id: of two with one gateway's id, it ends one.
    """
    for name in ("a", "b"):
        await bed.intend(payout(name))
        await bed.store.move(move(name, State.ACCEPTED, conversation_id=ConversationId("AG_twice")))
    elsewhere = OriginatorConversationId("999999_ORG_a")

    outcome = await bed.store.complete(
        completion(
            "a",
            originator_conversation_id=elsewhere,
            conversation_id=ConversationId("AG_twice"),
        )
    )

    assert (outcome.applied, outcome.payout) == (False, None)


@pytest.mark.parametrize(
    "wrong", [{"amount_minor": 125_051}, {"receiver": "254700000000"}], ids=["amount", "receiver"]
)
async def test_a_result_that_disagrees_changes_nothing(bed: Bed, wrong: dict[str, Any]) -> None:
    """The payout is told as it stands, for the caller to doubt it.

    Proved by taking each comparison out of the statement's guard.
    """
    before = await bed.accepted("a")

    outcome = await bed.store.complete(completion("a", **wrong))

    assert (outcome.applied, outcome.payout, outcome.event) == (False, before, None)
    assert await bed.standing("a") == before
    assert await bed.count("events") == 0


async def test_what_a_result_does_not_carry_is_not_compared(bed: Bed) -> None:
    """Failed Results come without amount and receiver."""
    await bed.accepted("a")

    outcome = await bed.store.complete(
        completion("a", State.FAILED, amount_minor=None, receiver=None, transaction_id=None)
    )

    assert outcome.applied


async def test_the_same_result_again_does_nothing_more(bed: Bed) -> None:
    """A repeat hears how the payout ended.

    Proved by letting ended states be sources: the trigger refuses it then.
    """
    first = await bed.succeeded("a")

    again = await bed.store.complete(completion("a"))

    assert (again.applied, again.payout, again.event) == (False, first.payout, None)
    assert await bed.kinds("a") == ["intent", "answer", "result"]
    assert await bed.count("events") == 1


async def test_a_contradicting_result_never_overwrites_the_end(bed: Bed) -> None:
    """The first conclusive end wins."""
    first = await bed.succeeded("a")

    second = await bed.store.complete(completion("a", State.FAILED))

    assert (second.applied, second.payout) == (False, first.payout)


async def test_a_result_for_an_unknown_id_finds_nothing(bed: Bed) -> None:
    """Nobody's Result has no payout; the others of its batch are applied."""
    await bed.accepted("a")

    known, unknown = await asyncio.gather(
        bed.store.complete(completion("a")), bed.store.complete(completion("nobody"))
    )

    assert known.applied
    assert (unknown.applied, unknown.payout, unknown.event) == (False, None, None)


async def test_results_of_one_payout_in_one_batch_are_as_if_apart(bed: Bed) -> None:
    """One that disagrees does not stand in the way of one that agrees, whatever ids they name.

    Proved by carrying only the first of a payout's Results out.
    """
    await bed.accepted("a")
    wrong = completion("a", amount_minor=1)
    right = completion("a", originator_conversation_id=None)
    again = completion("a", State.FAILED, originator_conversation_id=OriginatorConversationId("?"))
    await bed.accepted("b")
    blocker = bed.store.complete(completion("b"))  # The three arrive during its commit.

    _, *outcomes = await asyncio.gather(blocker, *map(bed.store.complete, (wrong, right, again)))

    assert [one.applied for one in outcomes] == [False, True, False]
    assert await bed.count("events WHERE payout_id = 'a'") == 1


async def test_only_an_end_completes(bed: Bed) -> None:
    """A Result that decides nothing is no completion."""
    with pytest.raises(StoreRefusedError):
        await bed.store.complete(replace(completion("a"), to=State.ACCEPTED))


async def test_of_two_processes_with_the_same_results_one_applies_each(
    bed: Bed, other: Bed
) -> None:
    """M-PESA's repeats may reach two callback servers at once: one end, one event.

    Proved by letting ended states be sources.
    """
    wanted = names("p", 300)
    await asyncio.gather(*(bed.accepted(name) for name in wanted))

    outcomes = await asyncio.gather(
        *(bed.store.complete(completion(name)) for name in wanted),
        *(other.store.complete(completion(name, State.FAILED)) for name in reversed(wanted)),
    )

    won = [one.payout.payout_id for one in outcomes if one.applied and one.payout]
    assert sorted(won) == wanted
    assert all(one.payout is not None and one.payout.ended for one in outcomes)
    assert await bed.count("events") == 300
    assert await bed.count("timeline WHERE to_state IN ('succeeded', 'failed')") == 300


async def test_an_answer_and_a_result_at_once_leave_the_result_standing(
    bed: Bed, other: Bed
) -> None:
    """Whichever comes first, the payout ends, and the answer never reopens it."""
    wanted = names("p", 200)
    await asyncio.gather(*(bed.intend(payout(name)) for name in wanted))

    await asyncio.gather(
        *(bed.store.move(move(name, State.ACCEPTED)) for name in wanted),
        *(other.store.complete(completion(name)) for name in reversed(wanted)),
    )

    assert await bed.count("payouts WHERE state = 'succeeded'") == 200


async def test_payouts_are_found_by_any_of_their_ids(bed: Bed) -> None:
    """By the caller's id, by ours, by the gateway's; None finds nothing."""
    standing = await bed.accepted("a")
    find = bed.store.find_by_conversation

    assert await bed.store.find(PayoutId("a")) == standing
    assert await find(own_id("a"), None) == standing
    assert await find(None, gateway_id("a")) == standing
    assert await find(own_id("b"), gateway_id("a")) == standing
    assert await find(None, None) is None
    assert await bed.store.find(PayoutId("b")) is None


async def test_queries_are_found_by_their_own_id_or_the_gateways(bed: Bed) -> None:
    """The Result of a query leads to the payout that it asked about."""
    await bed.in_doubt("a")
    query = Query(
        query_id=OriginatorConversationId("600000_ORG-q1_a"), payout_id=PayoutId("a"), asked_at=NOW
    )
    await bed.store.record_query(query, next_action_at=NOW + seconds(30), actor="worker 1")
    await bed.store.attach_conversation(query.query_id, ConversationId("AG_query"))

    assert await bed.store.find_query(query.query_id, None) == query
    assert await bed.store.find_query(None, ConversationId("AG_query")) == query
    assert await bed.store.find_query(own_id("a"), None) is None
    assert await bed.store.find_query(None, None) is None


async def test_an_incident_is_kept_once_with_its_evidence(bed: Bed) -> None:
    """The same incident, told again at any time, is one row; its evidence is kept whole."""
    incident = Incident(
        kind=IncidentKind.UNMATCHED,
        at=NOW,
        originator_conversation_id=own_id("lost"),
        conversation_id="AG_1",
        transaction_id="SKU1",
        code="0",
        detail="no payout has this id",
        evidence={"ReceiverPartyPublicName": f"{RECEIVER} - é"},
    )

    await bed.store.record_incident(incident)
    await bed.store.record_incident(incident)
    await bed.store.record_incident(replace(incident, at=NOW + seconds(1)))

    assert await bed.count("incidents") == 1
    rows = await bed.fetch("SELECT kind, at, code, detail, evidence::text FROM incidents")
    assert rows[0][:4] == ("unmatched", NOW, "0", "no payout has this id")
    assert json.loads(rows[0][4]) == incident.evidence
    await bed.store.record_incident(replace(incident, code="1"))
    assert await bed.count("incidents") == 2


async def test_an_incident_with_odd_evidence_is_kept_all_the_same(bed: Bed) -> None:
    """What cannot be stored as it came is stored as near as may be."""
    incident = Incident(
        kind=IncidentKind.MISMATCH, at=NOW, detail="\0", evidence={"a\0b": "\ud800" * 9000}
    )

    await bed.store.record_incident(incident)

    assert await bed.fetch("SELECT detail, length(evidence ->> 'ab') FROM incidents") == [
        ("", 2000)
    ]
