from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from services_bed import (
    Clock,
    Port,
    Signals,
    completions,
    in_doubt,
    payout,
    result,
)

from payouts.domain.answers import Result
from payouts.domain.payout import State
from payouts.domain.signals import Signal
from payouts.domain.values import (
    ConversationId,
    OriginatorConversationId,
    PayoutId,
    TransactionId,
)
from payouts.ports import Incident, IncidentKind
from payouts.services.incidents import result_of

words = st.text(max_size=20)
results = st.builds(
    Result,
    code=words,
    description=words,
    intermediate=st.booleans(),
    originator_conversation_id=st.none() | words.map(OriginatorConversationId),
    conversation_id=st.none() | words.map(ConversationId),
    transaction_id=st.none() | words.map(TransactionId),
    amount_minor=st.none() | st.integers(min_value=-(2**63), max_value=2**63 - 1),
    amount_unreadable=st.booleans(),
    receiver=st.none() | st.from_regex(r"[0-9]{1,15}", fullmatch=True),
    parameters=st.dictionaries(words, words, max_size=4),
)


async def kept(one: Result) -> Incident:
    """Give the incident that an unmatched Result becomes."""
    store = Port()
    await completions(store, Clock(), Signals()).incidents.record(
        IncidentKind.UNMATCHED, one, None, "no payout has this id"
    )
    incident = store.calls("record_incident")[0]["a"]
    assert isinstance(incident, Incident)
    return incident


@given(one=results)
async def test_a_result_can_be_made_again_of_its_incident(one: Result) -> None:
    """All that decides what a Result means survives; the balance, out of date, does not.

    Proved by leaving each of the read facts out of the evidence in turn.
    """
    assert result_of(await kept(one)) == one
    told = replace(one, utility_balance_minor=5)
    assert result_of(await kept(told)) == one


async def test_no_parameter_can_pass_for_what_was_read() -> None:
    """A gateway's own key named like ours changes nothing that the Result says."""
    odd = result(parameters={"result.amount_minor": "1", "result.intermediate": "True"})
    again = result_of(await kept(odd))
    assert again is not None
    assert again.amount_minor == 10_000
    assert not again.intermediate


async def test_what_was_no_result_is_none() -> None:
    """A queue time-out for an unknown id, or an incident of an older release, applies nothing."""
    incident = await kept(result())
    assert result_of(replace(incident, code=None)) is None
    assert result_of(replace(incident, evidence={"TransactionAmount": "100"})) is None


async def test_a_submission_that_the_contradiction_stops_is_told() -> None:
    """A late success of the first submission: the second, which the store holds, is named."""
    first = payout(state=State.FAILED)
    second = payout("one-r2", retry_of=PayoutId("one"), state=State.RECEIVED, held="contradicted")
    known = {PayoutId("one-r2"): second}
    store = Port({"find": known.get})
    signals = Signals()

    await completions(store, Clock(), signals).incidents.record(
        IncidentKind.CONTRADICTION, result(), first, "it had failed"
    )

    assert [fields["payout_id"] for fields in signals.of(Signal.PAYOUT_HELD)] == ["one-r2"]
    assert store.names == ["record_incident", "find", "find"]


async def test_a_doubt_that_lasts_is_one_incident() -> None:
    """Told again, it is the same incident: its instant is when the doubt began."""
    store, clock, signals = Port(), Clock(), Signals()
    doubtful = in_doubt()
    for _ in range(2):
        await completions(store, clock, signals).incidents.record_stuck(doubtful, "look")
        clock.go(60)

    first, second = (call["a"] for call in store.calls("record_incident"))
    assert first == second
    assert first.at == doubtful.doubt_since
    assert len(signals.of(Signal.PAYOUT_STUCK)) == 2
