"""An independent SOAP client reads our WSDL from the running callback server, and uses it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import zeep
from zeep.transports import Transport

from tests.acceptance.test_callbacks import API, silent_payout
from tests.acceptance.world import World

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.servers]

RESULT = (
    f'<?xml version="1.0" encoding="UTF-8"?><Result xmlns="{API}/result">'
    "<ResultType>0</ResultType><ResultCode>{code}</ResultCode><ResultDesc>Sawa &amp; é</ResultDesc>"
    "<OriginatorConversationID>600000_ORG_{payout_id}</OriginatorConversationID>"
    "<ConversationID>AG_20261123_0000zeep0001</ConversationID>"
    "<TransactionID>{receipt}</TransactionID></Result>"
)


def call(url: str, results: list[str]) -> list[str]:
    """Load the WSDL, send each Result by it, and return the acknowledgements."""
    with Transport(timeout=10, operation_timeout=10).session as session:  # type: ignore[no-untyped-call]
        transport = Transport(session=session)  # type: ignore[no-untyped-call]
        client: Any = zeep.Client(f"{url}?wsdl", transport=transport)  # type: ignore[no-untyped-call]
        return [client.service.GenericAPIResult(one) for one in results]


async def test_zeep_loads_the_served_wsdl_and_ends_payouts_by_it(world: World) -> None:
    """Success and failure told by a client that was written apart from us are taken as such."""
    for payout_id in ("zeep-paid", "zeep-unpaid"):
        await silent_payout(world, payout_id)
    url = f"http://127.0.0.1:{world.callback_port}/mpesa/result"
    results = [
        RESULT.format(code="0", payout_id="zeep-paid", receipt="UKNZEEP001"),
        RESULT.format(code="2040", payout_id="zeep-unpaid", receipt="0000000000"),
    ]
    acknowledgements = await asyncio.to_thread(call, url, results)
    for one in acknowledgements:
        assert "<ResponseCode>00000000</ResponseCode>" in one
    paid, unpaid = await world.ended("zeep-paid"), await world.ended("zeep-unpaid")
    assert (paid["type"], paid["data"]["transaction_id"]) == ("payout.succeeded", "UKNZEEP001")
    assert (unpaid["type"], unpaid["data"]["reason"]["code"]) == ("payout.failed", "2040")
