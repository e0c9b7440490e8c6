"""Every row of the table in contract.md §3, against the running callback server."""

from __future__ import annotations

from decimal import Decimal

import aiohttp
import pytest

from tests.acceptance.world import World

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.servers]

API = "http://api-v1.gen.mm.vodafone.com/mminterface"
SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
TIMEOUTS = "http://www.csapi.org/schema/timeoutnotification/data/v1_0/local"


def result(
    originator: str,
    *,
    code: str = "0",
    conversation: str = "AG_20261123_00000000000000000001",
    receipt: str = "UKN0000001",
    parameters: dict[str, str] | None = None,
) -> bytes:
    rows = "".join(
        f"<ResultParameter><Key>{key}</Key><Value>{value}</Value></ResultParameter>"
        for key, value in (parameters or {}).items()
    )
    return (
        f'<e:Envelope xmlns:e="{SOAP}"><e:Body><r:ResultMsg xmlns:r="{API}/result"><![CDATA['
        f'<?xml version="1.0" encoding="UTF-8"?><Result xmlns="{API}/result">'
        f"<ResultType>0</ResultType><ResultCode>{code}</ResultCode><ResultDesc>words</ResultDesc>"
        f"<OriginatorConversationID>{originator}</OriginatorConversationID>"
        f"<ConversationID>{conversation}</ConversationID>"
        f"<TransactionID>{receipt}</TransactionID>"
        f"<ResultParameters>{rows}</ResultParameters></Result>]]></r:ResultMsg></e:Body>"
        "</e:Envelope>"
    ).encode()


def queue_timeout(originator: str) -> bytes:
    return (
        f'<e:Envelope xmlns:e="{SOAP}"><e:Body><t:notifyQueueTimeout xmlns:t="{TIMEOUTS}">'
        f"<t:originatorConversationID>{originator}</t:originatorConversationID>"
        "<t:originRequest>PGEvPg==</t:originRequest></t:notifyQueueTimeout></e:Body></e:Envelope>"
    ).encode()


async def post(world: World, body: bytes, path: str = "result") -> tuple[int, str]:
    url = f"http://127.0.0.1:{world.callback_port}/mpesa/{path}"
    headers = {"Content-Type": "text/xml"}
    async with world.session.post(url, data=body, headers=headers) as answer:
        return answer.status, await answer.text()


async def incidents(world: World, kind: str) -> list[str]:
    rows = await world.connection.fetch(
        "SELECT originator_conversation_id FROM incidents WHERE kind = $1", kind
    )
    return [row["originator_conversation_id"] for row in rows]


async def silent_payout(world: World, payout_id: str) -> None:
    """Make a payout that is paid and never told (test number 02), so that tests tell it."""
    await world.publish({"payout_id": payout_id, "amount": "150.50", "msisdn": "254700000102"})
    await world.in_state(payout_id, "accepted")


async def test_a_result_is_applied_once_and_acknowledged(world: World) -> None:
    """The first Result ends the payout, the second changes nothing; both are acknowledged."""
    await silent_payout(world, "told-1")
    body = result("600000_ORG_told-1", parameters={"TransactionAmount": "150.50"})
    for _ in range(2):
        status, text = await post(world, body)
        assert status == 200
        assert "<ResponseCode>00000000</ResponseCode>" in text
    event = await world.ended("told-1")
    assert event["data"]["transaction_id"] == "UKN0000001"
    rows = await world.connection.fetchval(
        "SELECT count(*) FROM events WHERE payout_id = 'told-1' AND type = 'payout.succeeded'"
    )
    assert rows == 1


async def test_a_result_is_found_by_conversation_id_alone(world: World) -> None:
    """A Result without the originator's id is matched by the gateway's conversation id."""
    await silent_payout(world, "bycid-1")
    conversation = await world.connection.fetchval(
        "SELECT conversation_id FROM payouts WHERE payout_id = 'bycid-1'"
    )
    status, _ = await post(world, result("", conversation=conversation))
    assert status == 200
    assert (await world.ended("bycid-1"))["type"] == "payout.succeeded"


async def test_a_contradicting_result_is_an_incident_and_never_an_overwrite(world: World) -> None:
    """Invariant 5: the first conclusive end stands; what contradicts it is kept and alerted."""
    await silent_payout(world, "contra-1")
    await post(world, result("600000_ORG_contra-1"))
    await world.ended("contra-1")
    status, _ = await post(world, result("600000_ORG_contra-1", code="1"))
    assert status == 200
    assert "600000_ORG_contra-1" in await incidents(world, "contradiction")
    assert await world.state("contra-1") == "succeeded"
    assert len(world.completions("contra-1")) == 1


async def test_another_receipt_for_a_succeeded_payout_is_an_incident(world: World) -> None:
    """Two successes under two receipts may be two payments; a person has to look."""
    await silent_payout(world, "receipts-1")
    await post(world, result("600000_ORG_receipts-1", receipt="UKN0000002"))
    await world.ended("receipts-1")
    await post(world, result("600000_ORG_receipts-1", receipt="UKN0000003"))
    assert "600000_ORG_receipts-1" in await incidents(world, "contradiction")


@pytest.mark.parametrize(
    ("payout_id", "parameters"),
    [
        ("amount-1", {"TransactionAmount": "150.51"}),
        ("amount-2", {"TransactionAmount": "much"}),
        ("receiver-1", {"ReceiverPartyPublicName": "254700000199 - Jina Lingine"}),
    ],
)
async def test_a_result_that_disagrees_leaves_the_payout_in_doubt(
    world: World, payout_id: str, parameters: dict[str, str]
) -> None:
    """Another amount or receiver ends nothing; it is an incident, and it is asked about."""
    await silent_payout(world, payout_id)
    status, _ = await post(world, result(f"600000_ORG_{payout_id}", parameters=parameters))
    assert status == 200
    assert f"600000_ORG_{payout_id}" in await incidents(world, "mismatch")
    assert (await world.ended(payout_id))["data"]["reason"]["source"] == "query"


async def test_a_result_for_an_unknown_id_is_kept(world: World) -> None:
    """It is acknowledged, kept as unmatched, and makes no event."""
    status, _ = await post(world, result("600000_ORG_nobody"))
    assert status == 200
    assert "600000_ORG_nobody" in await incidents(world, "unmatched")
    assert not world.events["nobody"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"hello", 400),
        (b"<a/>", 400),
        (b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", 400),
        (b"<a>" * 5000 + b"</a>" * 5000, 400),
        (b"x" * (256 * 1024 + 1), 413),
    ],
    ids=["empty", "text", "other", "doctype", "deep", "large"],
)
@pytest.mark.parametrize("path", ["result", "timeout"])
async def test_what_is_no_callback_is_refused(
    world: World, body: bytes, status: int, path: str
) -> None:
    """Rubbish gets a SOAP fault, costs little, and changes nothing."""
    said, text = await post(world, body, path)
    assert said == status
    assert "Fault" in text


async def test_a_queue_timeout_is_asked_about(world: World) -> None:
    """NotifyQueueTimeout leads to doubt, not to failure; the gateway says that it was paid."""
    await silent_payout(world, "dropped-1")
    status, text = await post(world, queue_timeout("600000_ORG_dropped-1"), "timeout")
    assert status == 200
    assert "notifyQueueTimeoutResponse" in text
    assert "00000000" in text
    assert (await world.ended("dropped-1"))["type"] == "payout.succeeded"


async def test_a_queue_timeout_for_an_unknown_id_is_acknowledged(world: World) -> None:
    """It is kept as unmatched."""
    status, _ = await post(world, queue_timeout("600000_ORG_nothing"), "timeout")
    assert status == 200
    assert "600000_ORG_nothing" in await incidents(world, "unmatched")


async def test_the_wsdl_is_served_where_results_are_taken(world: World) -> None:
    """`?wsdl` gives our own WSDL with this server's address; other GETs are not allowed."""
    url = f"http://127.0.0.1:{world.callback_port}/mpesa/result"
    async with world.session.get(url + "?wsdl") as answer:
        assert answer.status == 200
        text = await answer.text()
    assert url in text
    async with world.session.get(url) as answer:
        assert answer.status == 405


async def test_health_and_metrics_are_not_on_the_callback_port(world: World) -> None:
    """They are on the admin port only."""
    for path in ("/health/live", "/health/ready", "/metrics"):
        async with world.session.get(f"http://127.0.0.1:{world.callback_port}{path}") as answer:
            assert answer.status == 404
        for process in world.processes:
            admin = f"http://127.0.0.1:{process.admin_port}{path}"
            async with world.session.get(admin) as answer:
                assert answer.status == 200


async def test_a_source_outside_the_allow_list_is_refused(world: World) -> None:
    """With an allow-list, others get 403; a trusted proxy may speak for an allowed source."""
    await world.start_callback_server(
        PAYOUTS_CALLBACK_PORT=str(world.callback_port + 1),
        PAYOUTS_CALLBACK_ALLOW="196.201.214.0/24",
        PAYOUTS_CALLBACK_TRUSTED_PROXIES="127.0.0.1/32",
    )
    url = f"http://127.0.0.1:{world.callback_port + 1}/mpesa/result"
    body = result("600000_ORG_nobody-2")
    async with world.session.post(url, data=body) as answer:
        assert answer.status == 403
    headers = {"X-Forwarded-For": "10.1.2.3, 196.201.214.200"}
    async with world.session.post(url, data=body, headers=headers) as answer:
        assert answer.status == 200
    headers = {"X-Forwarded-For": "196.201.214.200, 10.1.2.3"}
    async with world.session.post(url, data=body, headers=headers) as answer:
        assert answer.status == 403


async def test_the_last_known_balance_is_kept(world: World) -> None:
    """The utility balance that Results tell is written down for operators."""
    await silent_payout(world, "balance-1")
    parameters = {"B2CUtilityAccountAvailableFunds": "12345.67"}
    await post(world, result("600000_ORG_balance-1", parameters=parameters))

    async def written() -> bool:
        minor = await world.connection.fetchval(
            "SELECT utility_balance_minor FROM accounts WHERE name = 'default'"
        )
        return bool(minor == int(Decimal("12345.67") * 100))

    await world.until(written, "the balance is written")


async def test_no_secret_and_no_number_is_in_any_log(world: World) -> None:
    """After all of the above, logs hold neither passwords nor full receivers' numbers."""
    for process in world.processes:
        said = process.said()
        for secret in ("simulator-password", "simulator-initiator", "254700000102", "Jina"):
            assert secret not in said
    assert isinstance(world.session, aiohttp.ClientSession)
