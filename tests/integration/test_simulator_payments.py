"""The simulator as an accountant: what it accepts, pays, refuses to pay twice, and writes down."""

import asyncio
import re
from decimal import Decimal

import pytest
from simulator_bed import (
    API,
    HEADER_A,
    HEADER_B,
    QUICK,
    Answer,
    bed,
    credential,
    digest,
    header,
)


async def test_a_payment_is_accepted_paid_and_told() -> None:
    """One good request gives Response 0, one ledger line and one Result with the same facts."""
    async with bed() as it:
        answer = await it.pay("600000_ORG_salary-1", amount="1234.50")
        (result,) = await it.callbacks.arrive(1)
        (line,) = it.simulator.ledger()
    assert (answer.status, answer.code) == (200, "0")
    assert answer.get("OriginatorConversationID") == "600000_ORG_salary-1"
    assert answer.get("ServiceStatus") == "0"
    conversation = answer.get("ConversationID")
    assert re.fullmatch(r"AG_\d{8}_[0-9a-f]{20}", conversation)
    assert line["amount"] == "1234.50"
    assert line["msisdn"] == "254712345678"
    assert (line["short_code"], line["command_id"]) == ("600000", "BusinessPayment")
    assert line["conversation_id"] == conversation == result.get("ConversationID")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["paid_at"])
    assert result.code == "0"
    assert result.get("TransactionID") == line["receipt"]
    assert re.fullmatch(r"[A-Z][A-L][1-9A-V][0-9A-Z]{7}", line["receipt"])


async def test_the_result_carries_the_parameters_of_a_b2c_payment() -> None:
    """Every key of D-B2C15 §4.2 is there, the balance is the float less the amount."""
    async with bed(float_amount=Decimal("1000.00")) as it:
        await it.pay("one", amount="100.25")
        (result,) = await it.callbacks.arrive(1)
        (line,) = it.simulator.ledger()
    pairs = result.pairs()
    assert pairs["TransactionReceipt"] == line["receipt"]
    assert pairs["TransactionAmount"] == "100.25"
    assert re.fullmatch(r"\d\d\.\d\d\.\d{4} \d\d:\d\d:\d\d", pairs["TransactionCompletedDateTime"])
    assert pairs["ReceiverPartyPublicName"].startswith("254712345678 - ")
    assert pairs["B2CUtilityAccountAvailableFunds"] == "899.75"
    assert pairs["B2CWorkingAccountAvailableFunds"] == "0.00"
    assert pairs["B2CChargesPaidAccountAvailableFunds"] == "0.00"
    assert pairs["B2CRecipientIsRegisteredCustomer"] == "Y"
    assert "B2CWithdrawalChargeAmount" not in pairs
    assert pairs["Occasion"] == "test & trial"


@pytest.mark.parametrize(
    ("command", "charged"),
    [
        ("BusinessPayment", False),
        ("SalaryPayment", False),
        ("PromotionPayment", False),
        ("SalaryPaymentWithWithdrawalChargePaid", True),
        ("BusinessPaymentWithWithdrawalChargePaid", True),
    ],
)
async def test_each_b2c_command_is_paid(command: str, charged: bool) -> None:
    """All five commands pay; only the charge-paid ones tell a withdrawal charge."""
    async with bed() as it:
        payment = it.draft("one").changed(CommandID=command)
        assert (await it.post(payment.message())).code == "0"
        (result,) = await it.callbacks.arrive(1)
        assert it.simulator.ledger()[0]["command_id"] == command
    assert ("B2CWithdrawalChargeAmount" in result.pairs()) is charged


async def test_the_callback_looks_like_the_brokers() -> None:
    """A Result is posted as text/xml without charset or SOAPAction, to the very ResultURL."""
    async with bed() as it:
        payment = it.draft("one").changed(Caller__ResultURL=it.callbacks.url + "/result?a=1&b=%20")
        await it.post(payment.message())
        await it.callbacks.arrive(1)
        headers = it.callbacks.headers[0]
    assert headers["Content-Type"] == "text/xml"
    assert "SOAPAction" not in headers


async def test_the_payment_happens_between_response_and_result() -> None:
    """Right after the Response nothing is paid; when the Result comes it is."""
    async with bed(pay_delay_s=0.4, result_delay_s=0.5, result_delay_spread=0.0) as it:
        await it.pay("one")
        assert it.simulator.ledger() == []
        assert (await it.admin("GET", "/simulator/requests/one"))[1]["state"] == "accepted"
        await it.callbacks.arrive(1)
        assert len(it.simulator.ledger()) == 1


async def test_an_id_seen_before_is_answered_15_and_not_paid_again() -> None:
    """Ten sends of one id, before and after its Result, are one payment.

    Proved by taking the look at known ids out of `Gateway._is_duplicate`.
    """
    async with bed() as it:
        codes = [(await it.pay("600000_ORG_twice")).code for _ in range(5)]
        await it.callbacks.arrive(1)
        codes += [(await it.pay("600000_ORG_twice")).code for _ in range(5)]
        answer = await it.pay("  600000_ORG_twice\n ")
        await it.quiet()
        statistics = it.simulator.statistics()
    assert codes == ["0", *["15"] * 9]
    assert answer.get("ResponseDesc") == "Duplicate OriginatorConversationID."
    assert (statistics["paid"], statistics["duplicates"]) == (1, 10)
    assert statistics["double_payments"] == 0


async def test_one_payout_under_two_ids_is_a_double_payment() -> None:
    """Short code, organisation and resubmission are no part of the payout: it is counted once.

    Proved by taking the count out of `Books._enter_payment`.
    """
    async with bed() as it:
        await it.pay("600000_ORG_pay_1")
        await it.pay("600000_ORG-r2_pay_1")
        await it.pay("600000_ORG-r3_pay_1")
        await it.pay("600000_ORG_pay_2")
        await it.quiet()
        statistics = it.simulator.statistics()
    assert (statistics["double_payments"], statistics["paid"]) == (1, 4)
    assert statistics["double_payment_ids"] == ["pay_1"]


async def test_a_refused_id_stays_free() -> None:
    """A request that was refused before acceptance may come again under the same id."""
    async with bed() as it:
        bad = it.draft("one").changed(KeyOwner="0")
        assert (await it.post(bad.message())).code == "1004"
        assert (await it.pay("one")).code == "0"


async def test_an_empty_float_declines_and_a_filled_one_pays() -> None:
    """Result 1 while the float is short, to the cent; success after the float was set."""
    async with bed(float_amount=Decimal("100.00")) as it:
        await it.pay("a", amount="100.01")
        await it.callbacks.arrive(1)
        await it.pay("b", amount="100.00")
        await it.callbacks.arrive(2)
        await it.pay("c", amount="10.00")
        await it.callbacks.arrive(3)
        status, told = await it.admin("POST", "/simulator/float", {"amount": "10.00"})
        await it.pay("d", amount="10.00")
        results = await it.callbacks.arrive(4)
        statistics = it.simulator.statistics()
    assert (status, told) == (200, {"amount": "10.00"})
    assert [result.code for result in results] == ["1", "0", "1", "0"]
    assert statistics["float"] == {"600000": "0.00"}
    assert statistics["failed"] == {"1": 2}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"amount": "9.99"}, "2"),
        ({"amount": "0"}, "2"),
        ({"amount": "10"}, "0"),
        ({"amount": "250000.00"}, "0"),
        ({"amount": "250000.01"}, "3"),
        ({"msisdn": "254812345678"}, "7"),
        ({"msisdn": "25471234567"}, "7"),
        ({"msisdn": "2547123456789"}, "7"),
    ],
)
async def test_what_the_core_declines_comes_as_a_result(changes: dict[str, str], code: str) -> None:
    """Limits and receivers are looked at after the Response; a decline moves no money."""
    async with bed() as it:
        assert (await it.pay("one", **changes)).code == "0"
        (result,) = await it.callbacks.arrive(1)
        paid = len(it.simulator.ledger())
    assert result.code == code
    assert paid == (code == "0")
    if code != "0":
        assert result.get("TransactionID").endswith("0000000")
        assert result.pairs().keys() == {"QueueTimeoutURL", "Occasion"}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"PrimaryParty__Identifier": "600001"}, "6"),
        ({"PrimaryParty__IdentifierType": "1"}, "6"),
        ({"PrimaryParty__Identifier": None, "PrimaryParty__IdentifierType": None}, "6"),
        ({"ReceiverParty__IdentifierType": "4"}, "7"),
        ({"Initiator__Identifier": "somebody"}, "2001"),
        ({"Initiator__IdentifierType": "1"}, "2001"),
        ({"Initiator__ShortCode": None}, "2001"),
        ({"Initiator__SecurityCredential": "bm90IGEgY2lwaGVydGV4dA=="}, "2001"),
        ({"Initiator__SecurityCredential": "not base64 at all"}, "2001"),
    ],
)
async def test_who_pays_and_who_asks_is_checked(changes: dict[str, str | None], code: str) -> None:
    """Wrong parties and wrong initiators are accepted in the Response and declined by the core."""
    async with bed() as it:
        answer = await it.post(it.draft("one").changed(**changes).message())
        (result,) = await it.callbacks.arrive(1)
        assert (answer.code, result.code) == ("0", code)
        assert it.simulator.ledger() == []


async def test_three_wrong_credentials_in_a_row_lock_the_initiator() -> None:
    """Wrong, right, wrong, wrong, wrong, right: the right one before resets, the last is locked."""
    async with bed() as it:
        right = credential(it.simulator.certificate_pem)
        wrong = credential(it.simulator.certificate_pem, "mistaken")
        codes = []
        for number, secret in enumerate([wrong, right, wrong, wrong, wrong, right], 1):
            payment = it.draft(f"p{number}").changed(Initiator__SecurityCredential=secret)
            await it.post(payment.message())
            codes.append((await it.callbacks.arrive(number))[-1].code)
        locked = it.simulator.statistics()["initiator_locked"]
        await it.admin("POST", "/simulator/locks", {"initiator": False})
        await it.pay("p7")
        codes.append((await it.callbacks.arrive(7))[-1].code)
    assert codes == ["2001", "0", "2001", "2001", "2001", "8006", "0"]
    assert locked


async def test_a_locked_service_provider_is_refused() -> None:
    """Response 100000006 while the lock holds; the same id is paid after it opened."""
    async with bed() as it:
        await it.admin("POST", "/simulator/locks", {"sp": True})
        refused = await it.pay("one")
        query = await it.ask("one")
        await it.admin("POST", "/simulator/locks", {"sp": False})
        accepted = await it.pay("one")
    assert refused.code == "100000006"
    assert b"<ResponseCode>100000006<" in query.body
    assert accepted.code == "0"


async def test_requests_over_the_rate_are_throttled() -> None:
    """With a limit of three a second, thirty at once are answered 100000002 for the most part."""
    async with bed(tps=3) as it:
        answers = await asyncio.gather(*(it.pay(f"p{number}") for number in range(30)))
        accepted = sum(answer.code == "0" for answer in answers)
        await it.quiet()
        statistics = it.simulator.statistics()
    assert 3 <= accepted <= 15
    assert statistics["refused"] == {"100000002": 30 - accepted}
    assert statistics["paid"] == accepted


@pytest.mark.parametrize("namespace", [HEADER_A, HEADER_B])
@pytest.mark.parametrize("form", ["upper", "lower", "raw"])
async def test_each_digest_form_and_header_namespace_is_accepted(form: str, namespace: str) -> None:
    """By default all three forms and both namespaces of protocol §1.2 and §2.1 pass."""
    async with bed() as it:
        head = header(namespace, spPassword=digest(form))
        assert (await it.post(it.draft("one").message(head))).code == "0"


@pytest.mark.parametrize("wanted", ["upper", "lower", "raw"])
async def test_a_configured_digest_form_is_the_only_one(wanted: str) -> None:
    """With one form set, the two others are answered 100000007."""
    async with bed(digest=wanted) as it:
        codes = {}
        for form in ("upper", "lower", "raw"):
            head = header(spPassword=digest(form))
            codes[form] = (await it.post(it.draft(form).message(head))).code
    assert codes.pop(wanted) == "0"
    assert set(codes.values()) == {"100000007"}


async def test_the_books_are_equal_after_many_payments() -> None:
    """Three hundred payments of odd amounts, sent at once: each id once, the sum to the cent."""
    async with bed(result_delay_s=0.02) as it:
        wanted = {f"600000_ORG_p{n}": f"{10 + n * 7}.{n % 100:02}" for n in range(300)}
        await asyncio.gather(*(it.pay(name, amount=amount) for name, amount in wanted.items()))
        results = await it.callbacks.arrive(300)
        async with it.client.get(it.simulator.base_url + "/simulator/ledger") as answer:
            lines = [line async for line in answer.content]
        statistics = it.simulator.statistics()
        ledger = it.simulator.ledger()
    assert len(lines) == len(ledger) == 300
    assert {line["originator_conversation_id"]: line["amount"] for line in ledger} == wanted
    assert Decimal(statistics["sum"]) == sum(map(Decimal, wanted.values()))
    assert Decimal(statistics["float"]["600000"]) == QUICK.float_amount - Decimal(statistics["sum"])
    assert len({line["receipt"] for line in ledger}) == 300
    assert {result.get("TransactionID") for result in results} == {
        line["receipt"] for line in ledger
    }
    assert statistics["results"] == {"sent": 300, "acknowledged": 300, "resent": 0, "failed": 0}


async def test_names_with_markup_are_escaped_everywhere() -> None:
    """An id of `&<]]>` comes back unharmed in Response, Result and ledger."""
    async with bed() as it:
        answer = await it.pay("600000_ORG_a&b")
        (result,) = await it.callbacks.arrive(1)
        logged = await it.ask("600000_ORG_a&b")
        ledger = it.simulator.ledger()
    assert answer.get("OriginatorConversationID") == "600000_ORG_a&b"
    assert result.get("OriginatorConversationID") == "600000_ORG_a&b"
    assert ledger[0]["originator_conversation_id"] == "600000_ORG_a&b"
    assert b"submitApiResult>" in logged.body


async def test_the_g1_core_answers_in_its_own_shape() -> None:
    """With `core=g1`: GUID ids, the word Completed, keys with blanks, four decimals."""
    async with bed(core="g1") as it:
        answer = await it.pay("one", amount="50.00")
        (result,) = await it.callbacks.arrive(1)
        await it.pay("two", amount="5.00")
        failed = (await it.callbacks.arrive(2))[1]
    assert re.fullmatch(r"[0-9a-f]{8}-.*", answer.get("ConversationID"))
    assert answer.get("ResponseDesc") == ""
    assert result.get("ResultType") == "Completed"
    assert result.pairs()["Amount"] == "Ksh50.00"
    assert result.pairs()["Utility Account Available Funds"].endswith(".0000")
    assert failed.code == "2"
    assert failed.get("TransactionID") == ""


async def test_each_short_code_has_its_own_float() -> None:
    """Two paying short codes: one runs dry, the other pays; an unknown one cannot be filled."""
    async with bed(short_codes=("600000", "600001"), float_amount=Decimal("100.00")) as it:
        await it.admin("POST", "/simulator/float", {"amount": "0", "short_code": "600001"})
        await it.pay("one")
        other = it.draft("two").changed(
            PrimaryParty__Identifier="600001", Initiator__ShortCode="600001"
        )
        await it.post(other.message())
        results = await it.callbacks.arrive(2)
        status, _ = await it.admin(
            "POST", "/simulator/float", {"amount": "1", "short_code": "600002"}
        )
    codes = {result.get("OriginatorConversationID"): result.code for result in results}
    assert codes == {"one": "0", "two": "1"}
    assert status == 400


async def test_the_namespace_of_the_response_is_the_documents() -> None:
    """ResponseMsg stands in the request namespace, as in every capture."""
    async with bed() as it:
        answer: Answer = await it.pay("one")
    assert f'ResponseMsg xmlns:req="{API}/request"'.encode() in answer.body
