"""TransactionStatusQuery and queryTransaction: what the simulator tells about its books."""

import asyncio
import base64
from decimal import Decimal
from pathlib import Path

import pytest
from aiohttp import ClientConnectionError
from lxml import etree
from simulator_bed import Answer, Bed, bed, credential, status_query, transaction_query


async def _status(it: Bed, identifier: str = "q1", **asked: str) -> Answer:
    """Asks by TransactionStatusQuery; returns the query's own Result."""
    count = len(it.callbacks.results)
    answer = await it.post(status_query(it.draft("x"), identifier, **asked).message())
    assert answer.code == "0"
    assert answer.get("ConversationID")
    result = (await it.callbacks.arrive(count + 1))[count]
    assert result.get("OriginatorConversationID") == identifier
    assert result.get("ConversationID") == answer.get("ConversationID")
    return result


def _logged(answer: Answer) -> dict[str, list[bytes]]:
    """Decodes the four lists of a queryTransactionResponse."""
    root = etree.fromstring(answer.body)
    names = ("submitApiRequest", "submitApiResponse", "submitApiResult", "queueTimeOut")
    return {
        name: [base64.b64decode(item.text or "") for item in root.iter(f"{{*}}{name}")]
        for name in names
    }


async def test_a_payment_is_found_by_each_of_its_ids() -> None:
    """By OriginatorConversationID, ConversationID and receipt: the same payment, Completed."""
    async with bed() as it:
        await it.pay("600000_ORG_one", amount="77.50")
        await it.callbacks.arrive(1)
        (line,) = it.simulator.ledger()
        asked = {
            "OriginatorConversationID": "600000_ORG_one",
            "ConversationID": line["conversation_id"],
            "ReceiptNumber": line["receipt"],
        }
        found = [
            await _status(it, f"q{number}", **{key: value})
            for number, (key, value) in enumerate(asked.items())
        ]
        assert it.simulator.statistics()["queries"] == {"status": 3}
        assert len(it.simulator.ledger()) == 1
    for result in found:
        pairs = result.pairs()
        assert result.code == "0"
        assert result.get("TransactionID").endswith("0000000")
        assert pairs["TransactionStatus"] == "Completed"
        assert pairs["ReceiptNo"] == line["receipt"]
        assert pairs["Amount"] == "77.50"
        assert pairs["Originator Conversation ID"] == "600000_ORG_one"
        assert pairs["Conversation ID"] == line["conversation_id"]
        assert pairs["CreditPartyName"].startswith("254712345678 - ")
        assert len(pairs["FinalisedTime"]) == 14


async def test_what_the_core_never_saw_is_not_found() -> None:
    """Unknown, refused, still cached or expired: 2033."""
    async with bed(queue_s=1.0) as it:
        await it.pay("refused", msisdn="254700000118")
        await it.pay("cached", msisdn="254700000160")
        await it.pay("expired", msisdn="254700000161")
        names = ("nobody", "refused", "cached", "expired")
        codes = [(await _status(it, f"q{n}", OriginatorConversationID=n)).code for n in names]
        await it.callbacks.arrive(5, timeouts=1)
        later = await _status(it, "later", OriginatorConversationID="expired")
        delivered = await _status(it, "again", OriginatorConversationID="cached")
    assert codes == ["2033"] * 4
    assert later.code == "2033"
    assert delivered.pairs()["TransactionStatus"] == "Completed"


async def test_a_payment_under_way_and_a_declined_one_say_so() -> None:
    """Initiated before the payment, Declined after a failed Result."""
    async with bed(pay_delay_s=60.0) as it:
        await it.pay("slow")
        under_way = await _status(it, OriginatorConversationID="slow")
    async with bed(float_amount=Decimal("0.00")) as it:
        await it.pay("poor")
        await it.callbacks.arrive(1)
        declined = await _status(it, OriginatorConversationID="poor")
    assert under_way.pairs()["TransactionStatus"] == "Initiated"
    assert under_way.pairs()["FinalisedTime"] == ""
    assert declined.code == "0"
    assert declined.pairs()["TransactionStatus"] == "Declined"
    assert declined.pairs()["ReceiptNo"] == ""


@pytest.mark.parametrize(
    "status", ["Completed", "Cancelled", "Declined", "Expired", "Authorized", "Pending Authorized"]
)
async def test_a_fault_can_name_any_status(status: str) -> None:
    """`query_status` overrides what an ended payment is said to be."""
    script = f'[[rule]]\ndo = ["result_failed:17", "query_status:{status}"]'
    async with bed(faults=script) as it:
        await it.pay("one")
        await it.callbacks.arrive(1)
        told = await _status(it, OriginatorConversationID="one")
    assert told.pairs()["TransactionStatus"] == status


async def test_a_request_can_stay_hidden_for_a_while() -> None:
    """`found_late`: paid, yet neither query finds it before its time."""
    async with bed(faults='[[rule]]\ndo = "found_late:1.0"') as it:
        await it.pay("one")
        await it.callbacks.arrive(1)
        hidden = await _status(it, "q1", OriginatorConversationID="one")
        empty = _logged(await it.ask("one"))
        number = 1
        while (await _status(it, f"again{number}", OriginatorConversationID="one")).code != "0":
            number += 1
        full = _logged(await it.ask("one"))
    assert hidden.code == "2033"
    assert not any(empty.values())
    assert all(full[name] for name in ("submitApiRequest", "submitApiResponse"))


async def test_a_status_query_is_checked_like_a_payment() -> None:
    """Its id must be fresh, its credential right; neither costs money."""
    async with bed() as it:
        query = status_query(it.draft("x"), "q1", ReceiptNumber="NOTHING")
        assert (await it.post(query.message())).code == "0"
        assert (await it.post(query.message())).code == "15"
        wrong = credential(it.simulator.certificate_pem, "mistaken")
        bad = status_query(it.draft("x"), "q2", ReceiptNumber="NOTHING").changed(
            Initiator__SecurityCredential=wrong
        )
        await it.post(bad.message())
        results = await it.callbacks.arrive(2)
        pays = it.draft("q1")
        assert (await it.post(pays.message())).code == "15"
    codes = {result.get("OriginatorConversationID"): result.code for result in results}
    assert codes == {"q1": "2033", "q2": "2001"}


async def test_the_g1_core_tells_a_status_in_its_shape() -> None:
    """Parameters in `Parameter` elements, the type a word."""
    async with bed(core="g1") as it:
        await it.pay("one")
        await it.callbacks.arrive(1)
        told = await _status(it, OriginatorConversationID="one")
        nothing = await _status(it, "q2", OriginatorConversationID="nobody")
    assert nothing.code == "49"
    assert told.get("ResultType") == "Completed"
    assert told.pairs()["TransactionStatus"] == "Completed"


async def test_the_log_holds_a_result_that_was_lost() -> None:
    """It was sent, as far as the broker knows; nobody got it."""
    async with bed(faults='[[rule]]\ndo = "result_lost"\n') as it:
        await it.post(it.draft("one").message())
        async with asyncio.timeout(5):
            while not (listed := _logged(await it.ask("one"))["submitApiResult"]):
                continue
        assert it.callbacks.results == []
    assert b"<ResultCode>0</ResultCode>" in listed[0]


async def test_the_log_holds_the_messages_as_they_passed() -> None:
    """Request, Response and Result are complete HTTP messages, byte by byte."""
    async with bed() as it:
        message = it.draft("one").message()
        answer = await it.post(message)
        (result,) = await it.callbacks.arrive(1)
        queried = await it.ask("one")
        logged = _logged(queried)
    (request,) = logged["submitApiRequest"]
    (response,) = logged["submitApiResponse"]
    (callback,) = logged["submitApiResult"]
    assert b"<ns2:ResponseCode" in queried.body
    assert b">00000000<" in queried.body
    assert request.startswith(b"POST /mminterface/request HTTP/1.1\r\n")
    assert request.partition(b"\r\n\r\n")[2] == message
    assert response.startswith(b"HTTP/1.1 200 OK\r\n")
    assert response.partition(b"\r\n\r\n")[2] == answer.body
    assert callback.startswith(b"POST /result HTTP/1.1\r\n")
    assert callback.partition(b"\r\n\r\n")[2] == result.body
    assert logged["queueTimeOut"] == []


async def test_a_lost_answer_can_be_read_in_the_log() -> None:
    """The connection was closed without an answer, the log has the Response that was due."""
    async with bed() as it:
        with pytest.raises(ClientConnectionError):
            await it.pay("one", msisdn="254700000153")
        logged = _logged(await it.ask("one"))
    assert b"<ResponseCode>0<" in logged["submitApiResponse"][0]


async def test_refusals_and_duplicates_are_logged_too() -> None:
    """Each send of an id adds a request and a Response."""
    async with bed() as it:
        codes = [(await it.pay("one", msisdn="254700000111")).code for _ in range(4)]
        logged = _logged(await it.ask("one"))
    assert codes == ["100000002", "100000002", "0", "15"]
    assert [
        response.split(b"ResponseCode>")[1].split(b"<")[0].decode()
        for response in logged["submitApiResponse"]
    ] == codes


async def test_both_legs_can_be_logged() -> None:
    """The second leg has no SOAP Header and the broker's own ResultURL (protocol §0)."""
    async with bed(query_both_legs=True) as it:
        await it.pay("one")
        logged = _logged(await it.ask("one"))
    first, second = logged["submitApiRequest"]
    assert b"RequestSOAPHeader" in first
    assert b"Header" not in second
    assert it.callbacks.url.encode() + b"/result" in first
    assert it.callbacks.url.encode() + b"/result" not in second
    head, _, body = second.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert len(logged["submitApiResponse"]) == 2


async def test_an_unknown_id_has_empty_lists_or_a_code() -> None:
    """By default 00000000 with empty lists; a setting names another code."""
    async with bed() as it:
        empty = await it.ask("nobody")
    async with bed(query_unknown="100000005") as it:
        refused = await it.ask("nobody")
    assert b">00000000<" in empty.body
    assert b"<ns1:submitApiRequestList/>" in empty.body
    assert b"100000005" in refused.body


async def test_a_time_out_is_logged_with_the_request_inside() -> None:
    """NotifyQueueTimeout carries the request without Header, in base64 (protocol §5.1)."""
    async with bed() as it:
        answer = await it.pay("one", msisdn="254700000161")
        await it.callbacks.arrive(0, timeouts=1)
        (notice,) = it.callbacks.timeouts
        await it.quiet()
        logged = _logged(await it.ask("one"))
        statistics = it.simulator.statistics()
    root = etree.fromstring(notice.body)
    assert root.findtext(".//{*}originatorConversationID") == "one"
    original = base64.b64decode(root.findtext(".//{*}originRequest") or "")
    assert b"<OriginatorConversationID>one<" in original
    assert b"RequestSOAPHeader" not in original
    assert answer.code == "100000000"
    assert answer.get("ConversationID") == ""
    assert logged["queueTimeOut"][0].partition(b"\r\n\r\n")[2] == notice.body
    assert (statistics["queued"], statistics["expired"], statistics["paid"]) == (1, 1, 0)
    assert statistics["timeouts"]["acknowledged"] == 1


async def test_what_the_log_let_go_is_rebuilt_from_the_books(tmp_path: Path) -> None:
    """With a log of one id, or after a restart, the facts are the same: id, amount, codes."""
    kept = {"books": str(tmp_path / "books.jsonl"), "message_log": 1}
    async with bed(**kept) as it:
        await it.pay("one", amount="55.00")
        await it.pay("expired", msisdn="254700000161")
        await it.callbacks.arrive(1, timeouts=1)
        await it.pay("cached", msisdn="254700000160")
        cached = _logged(await it.ask("cached"))
        await it.callbacks.arrive(2)
        await it.quiet()
        one = _logged(await it.ask("one"))
        (line, _) = it.simulator.ledger()
    async with bed(**kept) as it:
        assert _logged(await it.ask("one")) == one
        expired = _logged(await it.ask("expired"))
    async with bed(message_log=0, queue_s=60.0) as it:
        await it.pay("queued", msisdn="254700000160")
        queued = _logged(await it.ask("queued"))
    assert b"<Value>55.00<" in one["submitApiRequest"][0]
    assert line["receipt"].encode() in one["submitApiResult"][0]
    assert b"<ResponseCode>0<" in one["submitApiResponse"][0]
    assert b"notifyQueueTimeout" in expired["queueTimeOut"][0]
    for logged in (cached, queued, expired):
        assert b"<ResponseCode>100000000<" in logged["submitApiResponse"][0]


async def test_the_typo_of_the_wsdl_is_understood() -> None:
    """`queryTranscation` is the WSDL's element, `queryTransaction` the documents'."""
    async with bed() as it:
        await it.pay("one")
        typo = transaction_query("one").replace(b"queryTransaction", b"queryTranscation")
        assert b"submitApiRequest>" in (await it.post(typo, it.simulator.query_url)).body


async def test_status_queries_can_be_late_lost_or_twofold() -> None:
    """Faults for operation `query` act on TransactionStatusQuery as on payments."""
    script = """
        [[rule]]
        when = {operation = "query", id = "^twice"}
        do = "result_twice"
        [[rule]]
        when = {operation = "query", id = "^never"}
        do = "result_never"
        [[rule]]
        when = {operation = "query", id = "^lost"}
        do = "result_failed:2033"
    """
    async with bed(faults=script) as it:
        await it.pay("one")
        await it.callbacks.arrive(1)
        await _status(it, "twice", OriginatorConversationID="one")
        await it.callbacks.arrive(3)
        never = status_query(it.draft("x"), "never", OriginatorConversationID="one")
        assert (await it.post(never.message())).code == "0"
        await it.quiet()
        assert len(it.callbacks.results) == 3
        assert (await _status(it, "lost", OriginatorConversationID="one")).code == "2033"
