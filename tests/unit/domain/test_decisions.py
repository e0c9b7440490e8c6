from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from payouts.domain.answers import (
    BrokerRecord,
    NotSent,
    NotSentCause,
    OutcomeUnknown,
    Response,
    Result,
    TransactionStatus,
    UnknownCause,
)
from payouts.domain.code_types import CodeClass, Side
from payouts.domain.codes import CODES
from payouts.domain.decisions import (
    Accept,
    Ambiguous,
    Doubt,
    End,
    Fail,
    Found,
    Note,
    Policies,
    Unclear,
    Wait,
    decide_answer,
    decide_record,
    decide_result,
    decide_status,
    first_query_at,
    growing_s,
    is_passing,
)
from payouts.domain.payout import ENDED, TRANSITIONS, Payout, State, sources_of
from payouts.domain.values import (
    AccountName,
    ConversationId,
    OriginatorConversationId,
    PayoutId,
    WorkerId,
)

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
PAYOUT = Payout(
    payout_id=PayoutId("pay-1"),
    account=AccountName("default"),
    amount_minor=10050,
    currency="KES",
    msisdn="254712345678",
    command_id="BusinessPayment",
    originator_conversation_id=OriginatorConversationId("600000_ORG_pay-1"),
    state=State.SUBMITTING,
    created_at=NOW,
    attempts=1,
    owner=WorkerId(1),
    claimed_at=NOW,
)
POLICIES = Policies()


def decide(answer: Response | NotSent | OutcomeUnknown, policies: Policies = POLICIES) -> object:
    return decide_answer(PAYOUT, answer, at=NOW, policies=policies, jitter=lambda: 0.5)


def test_taken_waits_for_the_result() -> None:
    """Any number of zeros means accepted; the Result is due by the deadline."""
    for code in ("0", "00000000", "000000000"):
        decision = decide(Response(code=code, conversation_id=ConversationId("AG_1")))
        assert isinstance(decision, Accept)
        assert decision.next_action_at == NOW + timedelta(seconds=60)
        assert decision.conversation_id == "AG_1"
        assert not decision.queued


def test_cached_is_accepted_and_queued() -> None:
    """100000000 is never a failure and never sent again under another id."""
    decision = decide(Response(code="100000000"))
    assert isinstance(decision, Accept)
    assert decision.queued


@pytest.mark.parametrize("cause", list(UnknownCause))
def test_an_unknown_outcome_is_doubt(cause: UnknownCause) -> None:
    """Invariant 3: a time-out is not a failure. Proved by deciding Fail here: this test fails."""
    assert isinstance(decide(OutcomeUnknown(cause=cause)), Doubt)


@pytest.mark.parametrize("cause", list(NotSentCause))
def test_what_was_never_sent_waits_unsent(cause: NotSentCause) -> None:
    """If no byte left, the same id may safely be sent later, and it still counts as unsent."""
    decision = decide(NotSent(cause=cause))
    assert isinstance(decision, Wait)
    assert not decision.sent


@pytest.mark.parametrize("row", [row for row in CODES if row.side is Side.RESPONSE], ids=str)
def test_only_a_conclusive_response_ends_or_repeats(row: object) -> None:
    """Invariant 3 over the whole table: without proof a payout is neither failed nor sent again."""
    code = row.code  # type: ignore[attr-defined]
    decision = decide(Response(code=code))
    if isinstance(decision, Fail | Wait):
        assert decision.reason.klass in {
            CodeClass.REFUSED_FINAL,
            CodeClass.REFUSED_RETRY,
            CodeClass.CONFIGURATION,
        }


@pytest.mark.parametrize("code", ["15", "17", "100000004", "77777", "", "abc"])
def test_duplicate_internal_error_and_unknown_codes_are_doubt(code: str) -> None:
    """An earlier send may have arrived, or anything may have happened: ask."""
    assert isinstance(decide(Response(code=code)), Doubt)


@pytest.mark.parametrize("policy", list(Ambiguous))
def test_a_refusal_of_a_later_send_fails_nobody(policy: Ambiguous) -> None:
    """An earlier send that was left open may still be paid: what was not found proves no failure.

    Proved by failing it: seed 201313 of the simulation saw it paid after that.
    """
    again = replace(PAYOUT, attempts=2, doubt_since=NOW - timedelta(minutes=5))
    policies = Policies(ambiguous=policy)
    decision = decide_answer(
        again, Response(code="100000005"), at=NOW, policies=policies, jitter=lambda: 0.5
    )
    assert isinstance(decision, Doubt)
    assert decision.reason.klass == CodeClass.REFUSED_FINAL
    assert isinstance(decide(Response(code="100000005"), policies), Fail)


def test_configuration_refusals_wait() -> None:
    """Wrong credentials are not the payout's fault; it waits until they are mended."""
    decision = decide(Response(code="100000007"))
    assert isinstance(decision, Wait)
    assert decision.configuration


def test_hold_leaves_doubt_to_a_person() -> None:
    """With PAYOUTS_AMBIGUOUS=hold no sweep acts on a payout in doubt."""
    assert first_query_at(NOW, Policies(ambiguous=Ambiguous.HOLD)) is None
    assert first_query_at(NOW, Policies(ambiguous=Ambiguous.RESEND)) == NOW + timedelta(seconds=2)
    first = first_query_at(NOW, POLICIES)
    assert first is not None
    assert first - NOW <= timedelta(seconds=60)


def test_waits_grow_and_are_capped() -> None:
    """Back-off doubles up to its cap; jitter spreads it by a quarter to each side."""
    waits = [growing_s(2, 300, step, lambda: 0.5) for step in range(40)]
    assert waits[:4] == [2, 4, 8, 16]
    assert max(waits) == 300
    assert growing_s(2, 300, 0, lambda: 0.0) == 1.5
    assert growing_s(2, 300, 0, lambda: 0.999) < 2.5


def test_only_passing_refusals_are_tried_again_at_once() -> None:
    """A time-out is never retried in the same breath."""
    assert is_passing(NotSent(cause=NotSentCause.CONNECT))
    assert not is_passing(NotSent(cause=NotSentCause.TLS))
    assert is_passing(Response(code="26"))
    assert not is_passing(Response(code="15"))
    assert not is_passing(Response(code="0"))
    assert not is_passing(OutcomeUnknown(cause=UnknownCause.TIMEOUT))


@pytest.mark.parametrize("row", [row for row in CODES if row.side is Side.RESULT], ids=str)
def test_a_result_ends_a_payout_by_proof_only(row: object) -> None:
    """Success and proven failure end a payout; everything else leaves it open."""
    verdict = decide_result(Result(code=row.code))  # type: ignore[attr-defined]
    if isinstance(verdict, End) and verdict.to is State.FAILED:
        assert verdict.reason.code == row.code  # type: ignore[attr-defined]
    if row.klass in {CodeClass.AMBIGUOUS, CodeClass.DUPLICATE}:  # type: ignore[attr-defined]
        assert not isinstance(verdict, End) or row.proves_unpaid is False  # type: ignore[attr-defined]


def test_result_codes_decide() -> None:
    """0 succeeds, 1 fails, 17 and the unknown are unclear, 43 and ResultType 1 are only noted."""
    assert decide_result(Result(code="0")) == decide_result(Result(code="000"))
    success = decide_result(Result(code="0"))
    assert isinstance(success, End)
    assert success.to is State.SUCCEEDED
    failure = decide_result(Result(code="1"))
    assert isinstance(failure, End)
    assert failure.to is State.FAILED
    assert isinstance(decide_result(Result(code="17")), Unclear)
    assert isinstance(decide_result(Result(code="15")), Unclear)
    assert isinstance(decide_result(Result(code="SFC_ZZ99")), Unclear)
    assert isinstance(decide_result(Result(code="43")), Note)
    assert isinstance(decide_result(Result(code="0", intermediate=True)), Note)


def test_a_status_query_decides_by_its_status() -> None:
    """Completed succeeds; cancelled, declined, expired fail; the rest is asked again."""
    for status, to in (
        (TransactionStatus.COMPLETED, State.SUCCEEDED),
        (TransactionStatus.CANCELLED, State.FAILED),
        (TransactionStatus.DECLINED, State.FAILED),
        (TransactionStatus.EXPIRED, State.FAILED),
    ):
        found, end = decide_status(Result(code="0", status=status))
        assert found is Found.ENDED
        assert end is not None
        assert end.to is to
    under_way = Result(code="0", status=TransactionStatus.UNDER_WAY)
    assert decide_status(under_way) == (Found.UNDER_WAY, None)
    assert decide_status(Result(code="2033")) == (Found.NOT_FOUND, None)
    assert decide_status(Result(code="49")) == (Found.NOT_FOUND, None)
    assert decide_status(Result(code="17")) == (Found.NO_ANSWER, None)
    assert decide_status(Result(code="0")) == (Found.NO_ANSWER, None)


def record_says(record: BrokerRecord, *, sent_before_s: float = 120) -> object:
    payout = replace(
        PAYOUT, state=State.IN_DOUBT, last_sent_at=NOW - timedelta(seconds=sent_before_s)
    )
    return decide_record(payout, record, at=NOW, policies=POLICIES, jitter=lambda: 0.5)


OK = Response(code="00000000")


def test_the_brokers_log_decides_by_what_it_holds() -> None:
    """Nothing logged is not found; an accepting answer accepts; refusals count if all refused."""
    assert record_says(BrokerRecord(response=Response(code="100000007"))) is Found.NO_ANSWER
    assert record_says(BrokerRecord(response=OK)) is Found.NOT_FOUND
    assert record_says(BrokerRecord(response=OK, requests=1)) is Found.UNDER_WAY
    taken = BrokerRecord(response=OK, requests=1, responses=(Response(code="0"),))
    assert isinstance(record_says(taken), Accept)
    refused = BrokerRecord(response=OK, requests=1, responses=(Response(code="1002"),))
    assert isinstance(record_says(refused), Fail)
    busy = BrokerRecord(response=OK, requests=1, responses=(Response(code="26"),))
    assert isinstance(record_says(busy), Wait)


def test_a_logged_refusal_proves_nothing_while_a_send_may_be_on_its_way() -> None:
    """Within the grace after the last send, or with a request unanswered, it stays in doubt."""
    refused = BrokerRecord(response=OK, requests=1, responses=(Response(code="1002"),))
    assert record_says(refused, sent_before_s=10) is Found.UNDER_WAY
    two = BrokerRecord(response=OK, requests=2, responses=(Response(code="1002"),))
    assert record_says(two) is Found.UNDER_WAY
    unreadable = replace(refused, unreadable_responses=1)
    assert record_says(unreadable) is Found.UNDER_WAY
    mixed = BrokerRecord(
        response=OK, requests=2, responses=(Response(code="1002"), Response(code="17"))
    )
    assert record_says(mixed) is Found.UNDECIDED
    assert record_says(mixed, sent_before_s=10) is Found.UNDER_WAY


def test_an_answer_that_leaves_it_open_leaves_it_to_the_core() -> None:
    """A logged 17 neither ends nor keeps the payout; what the core has not found can go again.

    Proved by calling every such log a sighting: the payout stayed in doubt for ever.
    """
    unclear = BrokerRecord(response=OK, requests=1, responses=(Response(code="17"),))
    assert record_says(unclear) is Found.UNDECIDED
    duplicate = BrokerRecord(response=OK, requests=1, responses=(Response(code="15"),))
    assert record_says(duplicate) is Found.UNDER_WAY


def test_a_queue_timeout_in_the_log_is_no_acceptance() -> None:
    """A request that the broker cached and dropped has to be asked about at the core."""
    dropped = BrokerRecord(
        response=OK, requests=1, responses=(Response(code="100000000"),), queue_timeouts=1
    )
    assert record_says(dropped) is Found.UNDECIDED
    taken = (Response(code="100000000"), Response(code="0"))
    sent_again = replace(dropped, requests=2, responses=taken)
    assert record_says(sent_again) is Found.UNDER_WAY


def test_sends_that_were_answered_alike_are_all_answered() -> None:
    """Two sends refused alike are both refused; two cached ones are not dropped by one time-out.

    Proved by counting distinct Responses: doubt for ever in the one, a send too many in the other.
    """
    busy = (Response(code="26"),)
    twice = BrokerRecord(response=OK, requests=2, responses=busy, answered=2)
    assert isinstance(record_says(twice), Wait)
    assert record_says(replace(twice, answered=1)) is Found.UNDER_WAY
    assert record_says(replace(twice, requests=3)) is Found.UNDER_WAY
    cached = replace(twice, responses=(Response(code="100000000"),), queue_timeouts=1)
    assert record_says(cached) is Found.UNDER_WAY
    assert record_says(replace(cached, queue_timeouts=2)) is Found.UNDECIDED


def test_nothing_leads_out_of_an_ended_payout() -> None:
    """Invariant 5: no transition begins in an ended state."""
    assert not [pair for pair in TRANSITIONS if pair[0] in ENDED]
    assert State.IN_DOUBT in sources_of(State.SUCCEEDED)
