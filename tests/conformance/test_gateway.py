"""What a client of M-PESA hears, and what is truly paid meanwhile: of the twin and on the wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from payouts.domain.answers import (
    BrokerRecord,
    NotSent,
    NotSentCause,
    OutcomeUnknown,
    Response,
    TransactionStatus,
    UnknownCause,
)
from payouts.domain.code_types import CodeClass, Side
from payouts.domain.codes import lookup
from payouts.domain.payout import Payout
from payouts.domain.values import OriginatorConversationId
from tests.conformance.gateways import DEFAULT, HONEST, Bed, Fault, open_bed, salary, until

QUERY = OriginatorConversationId("600000_ORG-q1_a")


def yes() -> bool:
    """Say that this worker may send."""
    return True


@pytest.fixture
async def mpesa(certificate: str | None) -> AsyncIterator[Bed]:
    """Give a gateway that behaves well so far."""
    async with open_bed(certificate) as bed:
        yield bed


async def sent(mpesa: Bed, payout: Payout, fault: Fault = HONEST) -> object:
    """Send a payment that meets a fault; return the answer once nothing more happens."""
    mpesa.behave(fault)
    answer = await mpesa.gateway.submit(payout, may_send=yes)
    await until(mpesa.is_quiet)
    return answer


def class_of(answer: object) -> CodeClass:
    """Return what the code of a Response means."""
    assert isinstance(answer, Response)
    return lookup(Side.RESPONSE, answer.code).klass


async def test_a_payment_is_taken_paid_and_told(mpesa: Bed) -> None:
    """The Response and the Result name both ids; the Result has amount, receiver and receipt."""
    payout = salary("a")
    answer = await sent(mpesa, payout)
    (result,) = mpesa.heard.results
    assert isinstance(answer, Response)
    assert (answer.code, result.code, mpesa.times_paid(payout)) == ("0", "0", 1)
    assert result.conversation_id == answer.conversation_id is not None
    assert result.originator_conversation_id == payout.originator_conversation_id
    assert (result.amount_minor, result.receiver) == (payout.amount_minor, payout.msisdn)
    assert result.transaction_id
    assert result.utility_balance_minor is not None


async def test_the_same_id_again_is_a_duplicate(mpesa: Bed) -> None:
    """It is paid once."""
    payout = salary("a")
    await sent(mpesa, payout)
    assert class_of(await sent(mpesa, payout)) is CodeClass.DUPLICATE
    assert (mpesa.times_paid(payout), mpesa.requests()) == (1, 2)


async def test_a_gateway_that_forgets_pays_the_same_id_again(mpesa: Bed) -> None:
    """This is what the proof before a second send is for."""
    payout = salary("a")
    await sent(mpesa, payout)
    await sent(mpesa, payout, Fault(("forgets",), "forget_duplicates"))
    assert mpesa.times_paid(payout) == 2


@pytest.mark.parametrize(
    ("fault", "cause", "times"),
    [
        (Fault(("lost_answer",), "drop_answer"), UnknownCause.CONNECTION_LOST, 1),
        (Fault(("error_after",), "http_500_after"), UnknownCause.HTTP_STATUS, 1),
        (Fault(("lost_request",), "lost_request"), UnknownCause.CONNECTION_LOST, 0),
        (Fault(("error_before",), "http_500_before"), UnknownCause.HTTP_STATUS, 0),
    ],
)
async def test_what_is_not_answered_is_unknown(
    mpesa: Bed, fault: Fault, cause: UnknownCause, times: int
) -> None:
    """Paid or not, the client hears the same; the id is taken only where it is paid."""
    payout = salary("a")
    answer = await sent(mpesa, payout, fault)
    assert isinstance(answer, OutcomeUnknown)
    assert (answer.cause, mpesa.times_paid(payout)) == (cause, times)
    again = class_of(await sent(mpesa, payout))
    assert again is (CodeClass.DUPLICATE if times else CodeClass.ACCEPTED)


@pytest.mark.parametrize(
    ("fault", "klass"),
    [
        (Fault(("refuse_final",), "refuse_before:100000005"), CodeClass.REFUSED_FINAL),
        (Fault(("refuse_retry",), "throttle"), CodeClass.REFUSED_RETRY),
        (Fault(("refuse_configuration",), "sp_locked"), CodeClass.CONFIGURATION),
    ],
)
async def test_what_is_refused_is_not_paid_and_frees_its_id(
    mpesa: Bed, fault: Fault, klass: CodeClass
) -> None:
    """Nothing is told later; the same id may be sent again and is then taken."""
    payout = salary("a")
    assert class_of(await sent(mpesa, payout, fault)) is klass
    assert (mpesa.times_paid(payout), mpesa.heard.results) == (0, [])
    assert class_of(await sent(mpesa, payout)) is CodeClass.ACCEPTED


async def test_who_may_not_send_sends_nothing(mpesa: Bed) -> None:
    """It is asked once, in the last instant; nothing arrives."""
    asked: list[bool] = []

    def no() -> bool:
        asked.append(True)
        return False

    answer = await mpesa.gateway.submit(salary("a"), may_send=no)
    query = await mpesa.gateway.ask_core(salary("a"), QUERY, may_send=no)
    for one in (answer, query):
        assert isinstance(one, NotSent)
        assert one.cause is NotSentCause.FENCED
    assert (len(asked), mpesa.requests()) == (2, 0)


async def test_a_gateway_that_is_away_gets_nothing(mpesa: Bed) -> None:
    """Not connected is certainly not sent; a probe tells."""
    assert await mpesa.gateway.probe(DEFAULT)
    mpesa.behave(Fault(("away",), "away"))
    answer = await mpesa.gateway.submit(salary("a"), may_send=yes)
    assert isinstance(answer, NotSent)
    assert answer.cause is not NotSentCause.FENCED
    assert not await mpesa.gateway.probe(DEFAULT)
    assert mpesa.requests() == 0


async def test_a_request_goes_its_way_when_its_sender_is_gone(mpesa: Bed) -> None:
    """Once it has arrived it is paid and told, whoever hears of it."""
    payout = salary("a")
    mpesa.behave(HONEST)
    sender = asyncio.create_task(mpesa.gateway.submit(payout, may_send=yes))
    await until(lambda: mpesa.requests() == 1 or sender.done())
    sender.cancel()
    await asyncio.gather(sender, return_exceptions=True)
    await until(lambda: mpesa.times_paid(payout) == 1 and len(mpesa.heard.results) == 1)


async def test_a_declined_payment_is_told_by_its_result(mpesa: Bed) -> None:
    """It was accepted; no money moves; its id stays taken."""
    payout = salary("a")
    fault = Fault(("result_failed",), "result_failed:2040")
    assert class_of(await sent(mpesa, payout, fault)) is CodeClass.ACCEPTED
    (result,) = mpesa.heard.results
    assert lookup(Side.RESULT, result.code).proves_unpaid
    assert mpesa.times_paid(payout) == 0
    assert class_of(await sent(mpesa, payout)) is CodeClass.DUPLICATE


async def test_results_come_twice_never_or_wrong(mpesa: Bed) -> None:
    """The payment itself is right each time."""
    told: dict[str, list[int | None]] = {}
    for name, fault in (
        ("twice", Fault(("result_twice",), "result_twice")),
        ("never", Fault(("result_never",), "result_never")),
        ("wrong", Fault(("result_mismatch",), "result_other_amount")),
        ("early", Fault(("result_early",), "result_early")),
    ):
        mpesa.heard.results.clear()
        assert class_of(await sent(mpesa, salary(name), fault)) is CodeClass.ACCEPTED
        assert mpesa.times_paid(salary(name)) == 1
        told[name] = [one.amount_minor for one in mpesa.heard.results]
    assert (told["twice"], told["never"], told["early"]) == ([12_500] * 2, [], [12_500])
    assert len(told["wrong"]) == 1
    assert told["wrong"] != [12_500]


@pytest.mark.parametrize("expires", [False, True])
async def test_a_queued_request_is_paid_later_or_dropped(mpesa: Bed, *, expires: bool) -> None:
    """Dropped with a notice, and its id is free again; delivered with a Result."""
    payout = salary("a")
    fault = Fault(("queued",), "cached_delivered")
    if expires:
        fault = Fault(("queued", "queue_timeout"), "cached_expired")
    assert class_of(await sent(mpesa, payout, fault)) is CodeClass.QUEUED
    notices = [one.originator_conversation_id for one in mpesa.heard.timeouts]
    assert notices == [payout.originator_conversation_id] * expires
    assert (mpesa.times_paid(payout), len(mpesa.heard.results)) == (not expires, not expires)
    again = class_of(await sent(mpesa, payout))
    assert again is (CodeClass.ACCEPTED if expires else CodeClass.DUPLICATE)


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (HONEST, TransactionStatus.COMPLETED),
        (Fault(("result_failed",), "result_failed:2040"), TransactionStatus.DECLINED),
    ],
)
async def test_the_core_tells_how_a_payment_stands(
    mpesa: Bed, fault: Fault, status: TransactionStatus
) -> None:
    """By a Result of the query's own id, about the payment's."""
    payout = salary("a")
    await sent(mpesa, payout, fault)
    paid = mpesa.heard.results.pop()
    answer = await mpesa.gateway.ask_core(payout, QUERY, may_send=yes)
    await until(lambda: len(mpesa.heard.results) == 1)
    (told,) = mpesa.heard.results
    assert isinstance(answer, Response)
    assert (answer.code, answer.originator_conversation_id) == ("0", QUERY)
    assert answer.conversation_id == told.conversation_id is not None
    assert (told.code, told.status, told.originator_conversation_id) == ("0", status, QUERY)
    assert told.subject_originator_conversation_id == payout.originator_conversation_id
    assert told.amount_minor == payout.amount_minor
    if status is TransactionStatus.COMPLETED:
        assert told.transaction_id == paid.transaction_id


async def test_the_core_does_not_find_what_never_came(mpesa: Bed) -> None:
    """Never sent, refused, or lost on its way: all the same."""
    payout = salary("a")
    await sent(mpesa, payout, Fault(("refuse_retry",), "throttle"))
    await mpesa.gateway.ask_core(payout, QUERY, may_send=yes)
    await until(lambda: len(mpesa.heard.results) == 1)
    (told,) = mpesa.heard.results
    assert lookup(Side.QUERY, told.code).klass is CodeClass.NOT_FOUND
    assert told.originator_conversation_id == QUERY


@pytest.mark.parametrize(
    ("fault", "requests", "classes", "results"),
    [
        (HONEST, 1, [CodeClass.ACCEPTED], 1),
        (Fault(("lost_answer",), "drop_answer"), 1, [CodeClass.ACCEPTED], 1),
        (Fault(("refuse_retry",), "throttle"), 1, [CodeClass.REFUSED_RETRY], 0),
        (Fault(("lost_request",), "lost_request"), 0, [], 0),
        (Fault(("error_before",), "http_500_before"), 0, [], 0),
        (Fault(("result_never",), "result_never"), 1, [CodeClass.ACCEPTED], 0),
    ],
)
async def test_the_brokers_log_tells_what_came_and_what_was_said(
    mpesa: Bed, fault: Fault, requests: int, classes: list[CodeClass], results: int
) -> None:
    """What never came is not found, with success; what came is there with its Responses."""
    payout = salary("a")
    await sent(mpesa, payout, fault)
    mpesa.behave(HONEST)
    record = await mpesa.gateway.ask_broker(payout)
    assert mpesa.gateway.can_ask_broker(DEFAULT)
    assert isinstance(record, BrokerRecord)
    assert class_of(record.response) is CodeClass.ACCEPTED
    assert (record.requests, record.unreadable_responses) == (requests, 0)
    assert [class_of(one) for one in record.responses] == classes
    assert [one.code for one in record.results] == ["0"] * results
    assert record.queue_timeouts == 0


async def test_the_brokers_log_tells_of_a_dropped_request(mpesa: Bed) -> None:
    """It was kept, and then it was dropped."""
    payout = salary("a")
    await sent(mpesa, payout, Fault(("queued", "queue_timeout"), "cached_expired"))
    mpesa.behave(HONEST)
    record = await mpesa.gateway.ask_broker(payout)
    assert isinstance(record, BrokerRecord)
    assert (record.requests, record.queue_timeouts, record.results) == (1, 1, ())
    assert [class_of(one) for one in record.responses] == [CodeClass.QUEUED]
