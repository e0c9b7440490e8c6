"""The client against the simulator, which was written apart from it and judges what it gets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from gateway_bed import QUICK, always
from simulator_bed import QUICK as QUICK_SIMULATOR
from simulator_bed import Bed, bed

from payouts.domain.answers import BrokerRecord, Response, TransactionStatus
from payouts.domain.payout import Payout
from payouts.domain.values import AccountName, OriginatorConversationId, PayoutId, query_id_for
from payouts.mpesa.client import SoapGateway
from payouts.mpesa.results import parse_result
from payouts.mpesa.settings import DigestForm, HeaderNamespace, HeaderTime
from tests.fixtures.mpesa.messages import account, payout

DEFAULT = AccountName("default")


@asynccontextmanager
async def judged(
    simulator: dict[str, Any] | None = None, **changes: object
) -> AsyncIterator[tuple[Bed, SoapGateway]]:
    """Gives a strict simulator and a client of it; `changes` are the account's."""
    async with bed(strict_order=True, **(simulator or {})) as judge:
        settings = {
            "shortcode": "600000",
            "sp_id": QUICK_SIMULATOR.sp_id,
            "sp_password": QUICK_SIMULATOR.sp_password,
            "service_id": "600000000",
            "initiator_username": QUICK_SIMULATOR.initiator_username,
            "initiator_password": QUICK_SIMULATOR.initiator_password,
            "api_certificate": judge.simulator.certificate_pem,
            "gateway_url": judge.simulator.url,
            "query_url": judge.simulator.query_url,
            "result_url": f"{judge.callbacks.url}/result",
            "queue_timeout_url": f"{judge.callbacks.url}/timeout",
            **changes,
        }
        gateway = SoapGateway(
            {DEFAULT: account(**settings)},
            timeouts=QUICK,
            tls=None,
            now=lambda: datetime.now(UTC),
            connection_limit=4,
        )
        async with gateway:
            yield judge, gateway


def salary(payout_id: str, **changes: object) -> Payout:
    """Makes a payout that the simulator pays."""
    originator = OriginatorConversationId(f"600000_ORG_{payout_id}")
    values = {"payout_id": PayoutId(payout_id), "created_at": datetime.now(UTC), **changes}
    return payout(originator_conversation_id=originator, **values)


@pytest.mark.parametrize(
    ("digest", "namespace", "time"),
    [
        (DigestForm.UPPER, HeaderNamespace.B, HeaderTime.UTC),
        (DigestForm.LOWER, HeaderNamespace.A, HeaderTime.LOCAL),
        (DigestForm.RAW, HeaderNamespace.B, HeaderTime.LOCAL),
    ],
)
async def test_a_payment_is_accepted_paid_and_told(
    digest: DigestForm, namespace: HeaderNamespace, time: HeaderTime
) -> None:
    """Digest, credential, order and values pass; the Result tells amount, receiver and receipt."""
    wire = {"digest": digest, "header_namespace": namespace, "header_time": time}
    async with judged({"digest": digest.value}, **wire) as (judge, gateway):
        one = salary("w-1", remark="rent & food ]]> <ok>", occasion="Jamhuri é")
        answer = await gateway.submit(one, may_send=always)
        (told,) = await judge.callbacks.arrive(1)
    assert isinstance(answer, Response)
    assert answer.code == "0"
    result = parse_result(told.body)
    assert result.code == "0"
    assert result.originator_conversation_id == one.originator_conversation_id
    assert result.conversation_id == answer.conversation_id
    assert result.amount_minor == one.amount_minor
    assert result.receiver == one.msisdn
    assert result.transaction_id


async def test_a_second_send_is_a_duplicate() -> None:
    """The same id again is answered 15, as every send of a payout carries the same id."""
    async with judged() as (_, gateway):
        await gateway.submit(salary("w-2"), may_send=always)
        answer = await gateway.submit(salary("w-2"), may_send=always)
    assert isinstance(answer, Response)
    assert answer.code == "15"


async def test_a_status_query_tells_of_the_payment_under_its_own_id() -> None:
    """The query's Result carries the query's id, the payment's id, state, amount and receipt."""
    one = salary("w-3")
    query_id = query_id_for("600000", "ORG", one.payout_id, datetime.now(UTC))
    async with judged() as (judge, gateway):
        await gateway.submit(one, may_send=always)
        (paid,) = await judge.callbacks.arrive(1)
        answer = await gateway.ask_core(one, query_id, may_send=always)
        told = parse_result((await judge.callbacks.arrive(2))[1].body)
    assert isinstance(answer, Response)
    assert answer.originator_conversation_id == query_id
    assert told.originator_conversation_id == query_id
    assert told.subject_originator_conversation_id == one.originator_conversation_id
    assert told.status is TransactionStatus.COMPLETED
    assert told.amount_minor == one.amount_minor
    assert told.transaction_id == parse_result(paid.body).transaction_id


@pytest.mark.parametrize("both_legs", [False, True])
@pytest.mark.parametrize("core", ["g1", "g2"])
async def test_the_brokers_log_tells_of_a_payment(core: str, *, both_legs: bool) -> None:
    """One send is one request, one distinct Response and its Result, in one leg or in two."""
    one = salary("w-4")
    async with judged({"core": core, "query_both_legs": both_legs}) as (judge, gateway):
        await gateway.submit(one, may_send=always)
        await judge.callbacks.arrive(1)
        await judge.quiet()
        record = await gateway.ask_broker(one)
        other = await gateway.ask_broker(salary("w-5"))
    assert isinstance(record, BrokerRecord)
    assert record.requests == 1
    assert [response.code for response in record.responses] == ["0"]
    assert [result.code for result in record.results] == ["0"]
    assert record.unreadable_responses == 0
    assert isinstance(other, BrokerRecord)
    assert (other.requests, other.responses, other.results) == (0, (), ())


async def test_wrong_credentials_are_told_as_such() -> None:
    """A wrong SP password is refused by the broker, a wrong initiator password by the core."""
    async with judged(sp_password="wrong") as (_, gateway):
        refused = await gateway.submit(salary("w-6"), may_send=always)
    async with judged(initiator_password="wrong") as (judge, gateway):
        await gateway.submit(salary("w-7"), may_send=always)
        (told,) = await judge.callbacks.arrive(1)
    assert isinstance(refused, Response)
    assert refused.code == "100000007"
    assert parse_result(told.body).code == "2001"
