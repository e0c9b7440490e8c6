"""GenericAPIResult, of payments and of queries, in G1's and G2's forms (protocol.md §4)."""

from __future__ import annotations

import pytest

from payouts.domain.answers import Result, TransactionStatus
from payouts.domain.errors import UnreadableMessageError
from payouts.domain.values import ConversationId, OriginatorConversationId, TransactionId
from payouts.mpesa.results import parse_result
from tests.fixtures.mpesa.messages import API, SOAP, carried, envelope, result, result_message

IDS = {
    "OriginatorConversationID": "600100_ORG_p-1",
    "ConversationID": "AG_20260304_0001",
    "TransactionID": "UC46XA1B2C",
}
PAID = [
    ("TransactionReceipt", "UC46XA1B2C"),
    ("TransactionAmount", "1250.50"),
    ("TransactionCompletedDateTime", "04.03.2026 08:06:09"),
    ("ReceiverPartyPublicName", "254712345678 - Jane Wanjiku Doe"),
    ("B2CWorkingAccountAvailableFunds", "-495.00"),
    ("B2CUtilityAccountAvailableFunds", "461898.00"),
    ("B2CChargesPaidAccountAvailableFunds", "0.00"),
    ("B2CRecipientIsRegisteredCustomer", "Y"),
]


def g1(pairs: list[tuple[str, str | None]], code: str = "0") -> bytes:
    """Writes a Result as G1 does: Parameter, keys in the request's namespace, nil values."""
    space = f'xmlns="{API}/request"'
    items = "".join(
        f"<Parameter><Key {space}>{key}</Key>"
        + (f'<Value i:nil="true" {space}/>' if value is None else f"<Value {space}>{value}</Value>")
        + "</Parameter>"
        for key, value in pairs
    )
    return (
        f'<s:Envelope xmlns:s="{SOAP}"><s:Body><ResultMsg xmlns="{API}/result"><![CDATA[<Result'
        f' xmlns:i="http://www.w3.org/2001/XMLSchema-instance" xmlns="{API}/result">'
        f"<ResultType>Completed</ResultType><ResultCode>{code}</ResultCode>"
        "<ResultDesc>Success</ResultDesc>"
        "<OriginatorConversationID>R9-1</OriginatorConversationID>"
        "<ConversationID>61da40ad-7e96</ConversationID><TransactionID>X-IO213</TransactionID>"
        f"<ResultParameters>{items}</ResultParameters><ReferenceData><ReferenceItem>"
        f"<Key {space}>QueueTimeoutURL</Key><Value {space}>http://x/</Value></ReferenceItem>"
        "</ReferenceData></Result>]]></ResultMsg></s:Body></s:Envelope>"
    ).encode()


def of(*pairs: tuple[str, str], code: str = "0") -> Result:
    """Reads a G2 Result with these parameters."""
    return parse_result(result_message(code, pairs, **IDS))


def test_a_g2_payment_is_read() -> None:
    """Ids, amount, receiver, receipt, time and balance of a completed payment."""
    read = parse_result(result_message("0", PAID, ResultDesc="processed", **IDS))
    assert read == Result(
        code="0",
        description="processed",
        originator_conversation_id=OriginatorConversationId("600100_ORG_p-1"),
        conversation_id=ConversationId("AG_20260304_0001"),
        transaction_id=TransactionId("UC46XA1B2C"),
        amount_minor=125050,
        receiver="254712345678",
        completed_at_text="04.03.2026 08:06:09",
        utility_balance_minor=46189800,
        parameters=dict(PAID),
    )


def test_a_g1_payment_is_read() -> None:
    """`Completed`, `Ksh200.00`, four decimals, keys with blanks, another order."""
    read = parse_result(
        g1(
            [
                ("Utility Account Available Funds", "461898.0000"),
                ("Transaction Datetime", "22/10/2014 20:55:24"),
                ("Amount", "Ksh200.00"),
            ]
        )
    )
    assert not read.intermediate
    assert read.amount_minor == 20000
    assert read.utility_balance_minor == 46189800
    assert read.completed_at_text == "22/10/2014 20:55:24"
    assert read.transaction_id == "X-IO213"
    assert read.receiver is None


def test_a_g1_failure_has_no_receipt_and_no_amount() -> None:
    """The only parameter is the time; the code is all that decides."""
    read = parse_result(g1([("Transaction DateTime", "30.09.2014 12:52:31")], "19"))
    assert read.code == "19"
    assert read.amount_minor is None
    assert not read.amount_unreadable


def test_a_success_with_neither_amount_nor_receiver_is_read() -> None:
    """As production has sent it: only balances; then there is nothing that could disagree."""
    read = of(("Currency", "KES"), ("B2CUtilityAccountAvailableFunds", "1.00"))
    assert (read.code, read.amount_minor, read.receiver) == ("0", None, None)
    assert read.transaction_id == "UC46XA1B2C"


def test_a_result_without_parameters_is_read() -> None:
    """Failures and reversals have none."""
    read = parse_result(result_message("2001", (), ResultDesc="initiator", **IDS))
    assert read.code == "2001"
    assert read.parameters == {}


def test_an_alphanumeric_code_stays_a_text() -> None:
    """Such as SFC_IC0003."""
    assert parse_result(result_message("SFC_IC0003")).code == "SFC_IC0003"


def test_other_spellings_and_the_cores_own_namespace_are_read() -> None:
    """`ConversationId`, `result` in lower case, cps.huawei.com, no inner namespace."""
    inner = (
        "<result><ResultType>0</ResultType><ResultCode>0</ResultCode>"
        "<OriginatorConversationId>o</OriginatorConversationId><ConversationId>c</ConversationId>"
        "<TransactionId>t</TransactionId></result>"
    )
    body = carried("ResultMsg", inner).replace(
        f"{API}/request".encode(), b"http://cps.huawei.com/cpsinterface/result"
    )
    read = parse_result(body)
    assert (read.originator_conversation_id, read.conversation_id, read.transaction_id) == (
        *("o", "c", "t"),
    )


def test_a_result_as_real_elements_with_nested_parameters_is_read() -> None:
    """One public sample: inside ResponseMsg, a declaration in the middle, one level more."""
    inner = result("0", PAID, **IDS).replace(
        "<ResultParameters>", "<ResultParameters><ResultParameter>"
    )
    inner = inner.replace("</ResultParameters>", "</ResultParameter></ResultParameters>")
    text = f'<!-- <![CDATA[ --><?xml version="1.0" encoding="UTF-8"?>{inner}\n]]>'
    body = "<!--Result body-->\n<?xml version='1.0'?>" + envelope(
        f'<r:ResponseMsg xmlns:r="{API}/request">{text}</r:ResponseMsg>'
    )
    read = parse_result(body.encode())
    assert read.amount_minor == 125050
    assert read.receiver == "254712345678"


def test_parameters_nested_deeper_are_passed_over() -> None:
    """Two levels more is no form of the interface."""
    inner = result("0", PAID, **IDS)
    for tag in ("<ResultParameters>", "</ResultParameters>"):
        slash = "/" if tag.startswith("</") else ""
        more = f"<{slash}ResultParameter>" * 2
        inner = inner.replace(tag, more + tag if slash else tag + more)
    assert parse_result(carried("ResultMsg", inner, "result")).amount_minor is None


@pytest.mark.parametrize(
    ("kind", "intermediate"),
    [("0", False), ("", False), ("Completed", False), ("00", False), ("1", True), ("2", True)],
)
def test_only_a_completed_type_decides(kind: str, *, intermediate: bool) -> None:
    """ResultType 1 waits for further messages; a type that nobody knows decides nothing."""
    inner = result("0", (), **IDS).replace(
        "<ResultType>0</ResultType>", f"<ResultType>{kind}</ResultType>"
    )
    assert parse_result(carried("ResultMsg", inner, "result")).intermediate is intermediate


@pytest.mark.parametrize(
    ("text", "minor"),
    [
        ("10", 1000),
        ("100.22", 10022),
        ("0.5", 50),
        ("200.0000", 20000),
        ("Ksh200.00", 20000),
        ("KES 1,250.50", 125050),
        ("Kshs. 5", 500),
        ("35000", 3500000),
        ("2,714,803.00", 271480300),
        ("{Amount={BasicAmount=7.00, MinimumAmount=700, CurrencyCode=KES}}", 700),
        ("{Amount={CurrencyCode=KES, MinimumAmount=93700, BasicAmount=937.00}}", 93700),
        ("{Amount={BasicAmount=7.00,MinimumAmount=700,CurrencyCode=KES}}", 700),
        ("{Amount={BasicAmount=7.00}}", 700),
    ],
)
def test_an_amount_is_read_in_every_form(text: str, minor: int) -> None:
    """Plain, with four decimals, with the currency, grouped, as a money map."""
    read = of(("TransactionAmount", text))
    assert read.amount_minor == minor
    assert not read.amount_unreadable


@pytest.mark.parametrize(
    "text",
    [
        *("-7000", "10.005", "abc", "1.2.3", "1,23", "$5", "USD 5.00", "1e3", "٣", "1 000"),
        "{Amount={BasicAmount=7.00, MinimumAmount=701, CurrencyCode=KES}}",
        "{Amount={MinimumAmount=700}}",
        "9" * 14,
    ],
)
def test_an_amount_that_nobody_can_read_disagrees(text: str) -> None:
    """Something stands there and is not certain: it must not pass as agreeing."""
    read = of(("TransactionAmount", text))
    assert read.amount_minor is None
    assert read.amount_unreadable


def test_two_amounts_that_differ_disagree() -> None:
    """Proved: taking the first of two different amounts fails here."""
    assert of(("TransactionAmount", "10.00"), ("Amount", "11.00")).amount_unreadable
    assert of(("Amount", "10.00"), ("Amount", "11.00")).amount_unreadable
    assert of(("TransactionAmount", "10"), ("Amount", "Ksh10.00")).amount_minor == 1000


def test_an_empty_or_nil_amount_is_no_amount() -> None:
    """Nil, empty and missing values are all the same."""
    for body in (g1([("Amount", None)]), result_message("0", [("TransactionAmount", " ")])):
        read = parse_result(body)
        assert (read.amount_minor, read.amount_unreadable) == (None, False)


@pytest.mark.parametrize(
    ("text", "receiver"),
    [
        ("254712345678 - Jane Doe", "254712345678"),
        ("254712345678-Kip Keino", "254712345678"),
        ("254712345678 - ", "254712345678"),
        ("254712345678", "254712345678"),
        ("+254712345678 - Jane", "254712345678"),
        ("0712345678 - Jane", "254712345678"),
        ("888888 - KPLC TEST", "888888"),
        ("2547****5678 - Jane", None),
        ("Jane Doe", None),
        ("Jane - 254712345678", None),
        ("254712345678901234 - Jane", None),
    ],
)
def test_a_receiver_is_read_where_its_digits_are_there(text: str, receiver: str | None) -> None:
    """MSISDN before the name; masked numbers and other texts tell nothing."""
    assert of(("ReceiverPartyPublicName", text)).receiver == receiver


STATUS = [
    ("InitiatedTime", "20260304080607"),
    ("FinalisedTime", "20260304080609"),
    ("TransactionType", "Salary Payment"),
    ("ReceiptNo", "UC46XA1B2C"),
    ("TransactionStatus", "Completed"),
    ("DebitPartyName", "600100 - Org"),
    ("CreditPartyName", "254712345678 - Jane Doe"),
    ("Originator Conversation ID", "600100_ORG_p-1"),
    ("Conversation ID", "AG_1"),
    ("Amount", "1250.50"),
    ("DebitPartyName", "600100 - Org"),
]


def test_a_status_querys_result_tells_of_the_payment() -> None:
    """Its own ids on top; the payment's id, state, amount, receiver and receipt below."""
    ids = {**IDS, "OriginatorConversationID": "q-1", "TransactionID": "UC40000000"}
    read = parse_result(result_message("0", STATUS, **ids))
    assert read.originator_conversation_id == "q-1"
    assert read.subject_originator_conversation_id == "600100_ORG_p-1"
    assert read.status is TransactionStatus.COMPLETED
    assert read.amount_minor == 125050
    assert read.receiver == "254712345678"
    assert read.transaction_id == "UC46XA1B2C"
    assert read.completed_at_text == "20260304080609"


def test_a_g1_status_querys_result_with_nil_values_is_read() -> None:
    """TransactionReason is nil as often as not."""
    read = parse_result(g1([("TransactionReason", None), ("TransactionStatus", "Declined")]))
    assert read.status is TransactionStatus.DECLINED
    assert read.parameters["TransactionReason"] == ""


def test_a_querys_own_transaction_id_is_no_receipt() -> None:
    """It is not unique and says nothing of the payment (protocol.md §4.4)."""
    read = of(("TransactionStatus", "Initiated"))
    assert read.transaction_id is None


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("Completed", TransactionStatus.COMPLETED),
        ("COMPLETED ", TransactionStatus.COMPLETED),
        ("Cancelled", TransactionStatus.CANCELLED),
        ("Declined", TransactionStatus.DECLINED),
        ("Expired", TransactionStatus.EXPIRED),
        ("Initiated", TransactionStatus.UNDER_WAY),
        ("Pending Authorized", TransactionStatus.UNDER_WAY),
        ("Failed?", TransactionStatus.UNDER_WAY),
    ],
)
def test_a_status_that_is_not_an_end_is_under_way(text: str, status: TransactionStatus) -> None:
    """What nobody knows decides nothing."""
    assert of(("TransactionStatus", text)).status is status


def test_a_failed_query_tells_no_status() -> None:
    """A query that was itself refused says nothing of the payment."""
    assert of(("TransactionStatus", "Completed"), code="2033").status is None


def test_a_short_code_as_credit_party_is_no_receiver() -> None:
    """In a status query's answer an organisation's code says nothing of a person's number."""
    read = of(("TransactionStatus", "Completed"), ("CreditPartyName", "888888 - KPLC"))
    assert read.receiver is None


def test_the_parameters_of_a_result_do_not_show_in_its_repr() -> None:
    """They hold names and numbers."""
    assert "Jane" not in repr(parse_result(result_message("0", PAID, **IDS)))


def test_a_result_without_any_id_is_read() -> None:
    """It can match nothing, but it is a Result, and kept as one."""
    read = parse_result(result_message("0"))
    assert read.originator_conversation_id is None
    assert read.conversation_id is None


def test_a_result_without_code_is_refused() -> None:
    """Without its code nobody can say what it means."""
    with pytest.raises(UnreadableMessageError):
        parse_result(result_message(" "))


@pytest.mark.parametrize(
    "pairs",
    [
        [(f"key{number}", "x") for number in range(257)],
        [("k" * 257, "x")],
        [("key", "x" * 8193)],
        [("TransactionReceipt", "x" * 600)],
    ],
)
def test_parameters_beyond_any_results_are_refused(pairs: list[tuple[str, str]]) -> None:
    """Their number and their lengths are bounded."""
    with pytest.raises(UnreadableMessageError):
        parse_result(result_message("0", pairs))


def test_other_elements_among_the_parameters_are_passed_over() -> None:
    """Unknown elements and items without a key do not disturb."""
    inner = result("0", PAID, **IDS).replace(
        "<ResultParameters>",
        "<ResultParameters><Note>x</Note><ResultParameter><Value>y</Value></ResultParameter>",
    )
    assert parse_result(carried("ResultMsg", inner, "result")).amount_minor == 125050
