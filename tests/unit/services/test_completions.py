import pytest
from services_bed import (
    NAME,
    NOW,
    Clock,
    Port,
    Signals,
    completions,
    in_doubt,
    payout,
    result,
)

from payouts.domain.answers import QueueTimeout, TransactionStatus
from payouts.domain.errors import StoreRefusedError, StoreUnavailableError
from payouts.domain.payout import State
from payouts.domain.signals import Signal
from payouts.domain.values import AccountName, OriginatorConversationId
from payouts.ports import (
    CompletionOutcome,
    Incident,
    IncidentKind,
    Moved,
    Query,
    Returned,
)
from payouts.services.incidents import evidence_of, result_of

QUERY_ID = OriginatorConversationId("600000_ORG-q1_one")


def unmatched(code: str = "0") -> Incident:
    """Give what was kept of a Result whose payout was gone."""
    told = result(code)
    return Incident(
        kind=IncidentKind.UNMATCHED,
        at=NOW,
        originator_conversation_id=told.originator_conversation_id,
        conversation_id=told.conversation_id,
        transaction_id=told.transaction_id,
        code=told.code,
        evidence=evidence_of(told),
    )


async def test_a_returned_result_ends_its_payout() -> None:
    """What came while a restored database did not know the payout is applied like any Result."""
    back = payout(state=State.RECEIVED, attempts=0, owner=None, claimed_at=None)
    ended = payout(state=State.SUCCEEDED)
    store = Port({"complete": CompletionOutcome(applied=True, payout=ended)})
    signals = Signals()
    taking = completions(store, Clock(), signals)

    await taking.take_returned(Returned(payout=back, incident=unmatched()))

    completion = store.calls("complete")[0]["a"]
    assert completion.to is State.SUCCEEDED
    assert completion.amount_minor == 10_000
    assert completion.receiver == "254712345678"
    assert completion.transaction_id == "SKU1"
    assert len(signals.of(Signal.PAYOUT_ENDED)) == 1


@pytest.mark.parametrize(
    "incident",
    [
        Incident(kind=IncidentKind.UNMATCHED, at=NOW, code="0", evidence={"Amount": "1"}),
        Incident(kind=IncidentKind.UNMATCHED, at=NOW),
        unmatched("43"),
    ],
    ids=["older release", "queue time-out", "intermediate"],
)
async def test_what_came_before_and_settles_nothing_is_asked_about(incident: Incident) -> None:
    """Something came for the id, so that it was sent once: it is not sent as if it were new.

    Proved by only noting it: the payout stayed `received`, and the note was written every 5 s.
    """
    back = payout(state=State.RECEIVED, attempts=0, owner=None, claimed_at=None)
    doubted = payout(state=State.IN_DOUBT)
    store = Port({"move": Moved(payout=doubted)})
    taking = completions(store, Clock(), Signals())
    await taking.take_returned(Returned(payout=back, incident=incident))
    assert [call["a"].to for call in store.calls("move")] == [State.IN_DOUBT]
    assert store.names == ["move"]


async def test_what_the_database_refuses_is_kept_and_not_acknowledged() -> None:
    """A defect of ours loses no Result: a person sees all of it, and it may be sent again.

    Proved by letting the refusal through alone: the Result was nowhere.
    """
    store = Port({"complete": StoreRefusedError("(a constraint)")})
    with pytest.raises(StoreRefusedError, match="a constraint"):
        await completions(store, Clock(), Signals()).take_result(result())
    incident = store.calls("record_incident")[0]["a"]
    assert incident.kind is IncidentKind.UNMATCHED
    assert "refused" in incident.detail
    assert result_of(incident) == result()


@pytest.mark.parametrize(
    ("told", "sighted"),
    [
        (result("43"), True),
        (result(intermediate=True), True),
        (result("17"), True),
        (result("15"), True),
        (result(amount_minor=1), True),
        (result("0", amount_unreadable=True), True),
    ],
    ids=["intermediate code", "intermediate type", "unclear", "duplicate", "amount", "unreadable"],
)
async def test_a_result_that_settles_nothing_shows_that_the_gateway_knows_the_payout(
    told: object, *, sighted: bool
) -> None:
    """Earlier *not found* must not let it be sent again.

    Proved by leaving the sighting out of each branch.
    """
    doubtful = in_doubt(not_found_count=1)
    store = Port(
        {
            "find_by_conversation": doubtful,
            "complete": CompletionOutcome(applied=False, payout=doubtful),
            "move": Moved(payout=None),
        }
    )
    await completions(store, Clock(), Signals()).take_result(told)  # type: ignore[arg-type]
    assert len(store.calls("record_sighting")) == int(sighted)


@pytest.mark.parametrize(
    ("status", "sighted"),
    [(TransactionStatus.UNDER_WAY, True), (None, False)],
)
async def test_an_answer_that_knows_the_payment_shows_it_too(
    status: TransactionStatus | None, *, sighted: bool
) -> None:
    """A payment that is under way is known; a question that was not answered shows nothing."""
    store = Port(
        {
            "find_query": Query(query_id=QUERY_ID, payout_id=payout().payout_id, asked_at=NOW),
            "find": in_doubt(),
        }
    )
    told = result(originator_conversation_id=QUERY_ID, status=status)
    await completions(store, Clock(), Signals()).take_result(told)
    assert len(store.calls("record_sighting")) == int(sighted)
    assert not store.calls("complete")


@pytest.mark.parametrize(
    ("query_id", "code", "taken"),
    [
        ("600000_ORG-q1_one", "0", True),
        ("600000_ORG-q1_one", "2033", False),
        ("600001_ORG-q1_one", "0", False),
        ("600000_ORG-q1_\0", "0", False),
        ("600000_ORG-q1_", "0", False),
    ],
    ids=["known there", "not found", "of another account", "no payout's id", "nobody's"],
)
async def test_an_answer_to_a_question_that_a_restore_forgot_is_taken(
    query_id: str, code: str, *, taken: bool
) -> None:
    """Its id names the payout. What it has not found is left alone, with its incident.

    Proved by leaving it unmatched: the simulation (seed 2036342) sent a payout again that the
    core had just shown to know.
    """
    store = Port({"find": in_doubt()})
    told = result(
        code,
        originator_conversation_id=OriginatorConversationId(query_id),
        status=TransactionStatus.UNDER_WAY if code == "0" else None,
    )
    await completions(store, Clock(), Signals()).take_result(told)
    assert len(store.calls("record_sighting")) == int(taken)
    assert len(store.calls("record_incident")) == int(not taken)
    assert not store.calls("record_not_found")


async def test_a_query_that_blames_the_initiator_pauses_the_account() -> None:
    """The question settles nothing, and no further request goes out."""
    store = Port(
        {
            "find_query": Query(query_id=QUERY_ID, payout_id=payout().payout_id, asked_at=NOW),
            "find": in_doubt(),
        }
    )
    told = result("8006", originator_conversation_id=QUERY_ID)
    await completions(store, Clock(), Signals()).take_result(told)
    assert [call["a"] for call in store.calls("set_paused")] == [NAME]


async def test_a_balance_that_could_not_be_written_is_kept_unless_a_later_one_came() -> None:
    """An outage loses no balance, and an old one never replaces a new one.

    Proved by forgetting before it is written: the balance was lost.
    """
    other = AccountName("other")
    store, clock = Port({"record_balance": StoreUnavailableError()}), Clock()
    taking = completions(store, clock, Signals())
    taking.balances.update({NAME: (100, NOW), other: (200, NOW)})

    with pytest.raises(StoreUnavailableError):
        await taking.write_balances()
    assert taking.balances == {NAME: (100, NOW), other: (200, NOW)}

    store.answers["record_balance"] = None
    assert await taking.write_balances() == 2
    assert not taking.balances
    assert [call["minor"] for call in store.calls("record_balance")] == [100, 100, 200]


async def test_a_queue_timeout_that_the_database_refuses_is_kept() -> None:
    """A person sees it, and it may be sent again."""
    known = payout(state=State.ACCEPTED)
    store = Port({"find_by_conversation": known, "move": StoreRefusedError("(odd)")})
    notice = QueueTimeout(originator_conversation_id=known.originator_conversation_id)
    with pytest.raises(StoreRefusedError):
        await completions(store, Clock(), Signals()).take_queue_timeout(notice)
    assert store.names[-1] == "record_incident"
