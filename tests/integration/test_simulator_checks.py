"""What the simulator refuses in the Response: one case for each objection, with its code."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from simulator_bed import API, HEADER_B, STAMP, Bed, Draft, bed, digest, envelope, header

Change = Callable[[Draft], Draft]


def _set(**changes: str | None) -> Change:
    return lambda draft: draft.changed(**changes)


def _parameters(**values: str) -> Change:
    return lambda draft: replace(draft, parameters=dict(values))


OBJECTIONS: list[tuple[str, Change, str, str]] = [
    ("no result url", _set(Caller__ResultURL=None), "100000014", "ResultURL"),
    ("no http result url", _set(Caller__ResultURL="ResultURL0"), "100000005", "ResultURL"),
    ("no host", _set(Caller__ResultURL="http:///result"), "100000005", "ResultURL"),
    ("bad host", _set(Caller__ResultURL="http://[x/"), "100000005", "ResultURL"),
    ("bad port", _set(Caller__ResultURL="http://h:99999/"), "100000005", "ResultURL"),
    (
        "no timeout url",
        lambda draft: replace(draft, references={"Occasion": "x"}),
        "100000014",
        "QueueTimeoutURL",
    ),
    ("key owner 0", _set(KeyOwner="0"), "1004", ""),
    ("no key owner", lambda d: replace(d, sections=d.sections[:2]), "1004", ""),
    ("no identity", lambda d: replace(d, sections=("Transaction", "KeyOwner")), "100000014", ""),
    (
        "no initiator at all",
        lambda d: replace(
            d, elements={k: v for k, v in d.elements.items() if not k.startswith("Initiator")}
        ),
        "23",
        "",
    ),
    ("unknown command", _set(CommandID="PayMe"), "1002", ""),
    ("command in another case", _set(CommandID="businesspayment"), "1002", ""),
    ("command of others", _set(CommandID="BusinessPayBill"), "1003", ""),
    ("no command", _set(CommandID=None), "1005", "CommandID"),
    ("long command", _set(CommandID="B" * 65), "1005", "CommandID"),
    ("no id", _set(OriginatorConversationID=""), "1005", "OriginatorConversationID"),
    ("long id", _set(OriginatorConversationID="i" * 129), "1005", "OriginatorConversationID"),
    ("long remark", _set(Remark="r" * 256), "1005", "Remark"),
    ("no timestamp", _set(Timestamp=None), "1005", "Timestamp"),
    ("caller type 3", _set(Caller__CallerType="3"), "1001", ""),
    ("no third party", _set(Caller__ThirdPartyID=None), "1001", ""),
    ("long third party", _set(Caller__ThirdPartyID="3" * 21), "1001", ""),
    ("initiator type 7", _set(Initiator__IdentifierType="7"), "1005", "IdentifierType"),
    ("no initiator", _set(Initiator__Identifier=""), "1005", "Identifier"),
    (
        "no credential",
        _set(Initiator__SecurityCredential=None),
        "1005",
        "SecurityCredential",
    ),
    ("receiver type x", _set(ReceiverParty__IdentifierType="x"), "1005", "IdentifierType"),
    ("no amount", _parameters(), "24", "Amount"),
    ("empty amount", _parameters(Amount=""), "24", "Amount"),
    ("negative amount", _parameters(Amount="-10.00"), "25", "Amount"),
    ("three decimals", _parameters(Amount="10.001"), "25", "Amount"),
    ("exponent", _parameters(Amount="1e3"), "25", "Amount"),
    ("comma", _parameters(Amount="1,000.00"), "25", "Amount"),
    ("other digits", _parameters(Amount="\u0661\u0660\u0660"), "25", "Amount"),
    (
        "status query for nothing",
        lambda d: replace(d.changed(CommandID="TransactionStatusQuery"), parameters={}),
        "24",
        "OriginatorConversationID",
    ),
    (
        "status query for two things",
        lambda d: replace(
            d.changed(CommandID="TransactionStatusQuery"),
            parameters={"ReceiptNumber": "R", "ConversationID": "C"},
        ),
        "25",
        "ConversationID",
    ),
]


@pytest.mark.parametrize(
    ("change", "code", "name"), [row[1:] for row in OBJECTIONS], ids=[row[0] for row in OBJECTIONS]
)
async def test_each_objection_has_its_code(change: Change, code: str, name: str) -> None:
    """The code, the name of what is wrong, and no payment."""
    async with bed() as it:
        answer = await it.post(change(it.draft("one")).message())
        statistics = it.simulator.statistics()
    assert (answer.status, answer.code) == (200, code)
    assert name in answer.get("ResponseDesc")
    assert statistics["refused"] == {code: 1}
    assert (statistics["accepted"], statistics["paid"]) == (0, 0)


HEADERS = [
    ({"spPassword": digest("upper", password="wrong")}, "100000007"),
    ({"spPassword": "not base64!"}, "100000007"),
    ({"spId": "600001"}, "100000007"),
    ({"timeStamp": "20260115103001"}, "100000007"),
    ({"timeStamp": "2026-01-15"}, "100000005"),
    ({"spId": None}, "100000014"),
    ({"spPassword": None}, "100000014"),
    ({"timeStamp": None}, "100000014"),
]


@pytest.mark.parametrize(("changes", "code"), HEADERS)
async def test_a_wrong_header_is_refused_by_the_broker(
    changes: dict[str, str | None], code: str
) -> None:
    """Broker refusals carry code and description only, for payments and for queries."""
    async with bed() as it:
        head = header(HEADER_B, **changes)
        answer = await it.post(it.draft("one").message(head))
        query = await it.post(
            envelope(
                head,
                '<l:queryTransaction xmlns:l="http://www.csapi.org/schema/transaction/data/v1_0'
                '/local"><l:originatorConversationID>x</l:originatorConversationID>'
                "</l:queryTransaction>",
            ),
            it.simulator.query_url,
        )
        assert it.simulator.statistics()["paid"] == 0
    assert answer.code == code
    assert {element.tag.rpartition("}")[2] for element in answer.inner()} == {
        "ResponseCode",
        "ResponseDesc",
    }
    assert f"<ResponseCode>{code}<".encode() in query.body


async def test_a_missing_header_is_refused() -> None:
    """No RequestSOAPHeader, or one in a foreign namespace, names no SP."""
    async with bed() as it:
        for head in ("", header("http://example.invalid/")):
            assert (await it.post(it.draft("one").message(head))).code == "100000014"


async def _bodies(it: Bed) -> list[bytes]:
    good = it.draft("one").message()
    return [
        b"",
        b"hello",
        good[:-20],
        good.replace(b"schemas.xmlsoap.org/soap/envelope", b"www.w3.org/2003/05/soap-envelope"),
        b'<!DOCTYPE e [<!ENTITY x "y">]>' + good,
        envelope(header(), ""),
        envelope(header(), "<a/><b/>"),
    ]


async def test_what_is_no_soap_gets_a_client_fault() -> None:
    """Malformed XML, SOAP 1.2, a DOCTYPE, no or two body elements: HTTP 500 with a SOAP fault."""
    async with bed() as it:
        for body in await _bodies(it):
            for url in (it.simulator.url, it.simulator.query_url):
                answer = await it.post(body, url)
                assert answer.status == 500
                assert b"<faultcode>soapenv:Client</faultcode>" in answer.body
        assert it.simulator.statistics()["malformed"] == 14
        assert it.simulator.statistics()["paid"] == 0


@pytest.mark.parametrize(
    "inner",
    ["", "words", "<request>", "<other/>", "<!DOCTYPE r><request/>", "<request>a & b</request>"],
)
async def test_an_inner_document_that_is_no_request_gets_23(inner: str) -> None:
    """The core cannot read it, so it cannot tell an id either."""
    async with bed() as it:
        body = f'<q:RequestMsg xmlns:q="{API}/request"><![CDATA[{inner}]]></q:RequestMsg>'
        answer = await it.post(envelope(header(), body))
    assert answer.code == "23"


async def test_a_body_of_another_operation_is_refused() -> None:
    """The request address takes RequestMsg only, the query address queryTransaction only."""
    async with bed() as it:
        answer = await it.post(envelope(header(), "<x/>"))
        query = await it.post(envelope(header(), "<x/>"), it.simulator.query_url)
        empty = await it.post(
            envelope(
                header(),
                '<l:queryTransaction xmlns:l="http://www.csapi.org/schema/transaction/data/v1_0'
                '/local"/>',
            ),
            it.simulator.query_url,
        )
    assert answer.code == "100000014"
    for refused in (query, empty):
        assert b"<ResponseCode>100000014<" in refused.body


async def test_escaped_text_is_as_good_as_cdata() -> None:
    """The inner document may come escaped, with blanks before its declaration, or prefixed."""
    async with bed() as it:
        inner = '<?xml version="1.0"?>' + it.draft("one").xml()
        text = inner.replace("&", "&amp;").replace("<", "&lt;")
        body = f'<q:RequestMsg xmlns:q="{API}/request">\n  {text}</q:RequestMsg>'
        assert (await it.post(envelope(header(), body))).code == "0"
        other = it.draft("two").xml().replace("<request ", "<Request ").replace("</req", "</Req")
        body = f'<RequestMsg xmlns="{API}/request"><![CDATA[{other}]]></RequestMsg>'
        assert (await it.post(envelope(header(), body))).code == "0"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda draft: draft, "0"),
        (lambda d: replace(d, sections=("Identity", "Transaction", "KeyOwner")), "23"),
        (
            lambda d: replace(d, elements={"Initiator/ShortCode": "600000", **d.elements}),
            "23",
        ),
        (_set(Caller__Unknown="x"), "23"),
    ],
)
async def test_strict_order_refuses_what_is_not_in_xsd_order(change: Change, code: str) -> None:
    """As G1 did; without the setting the same documents are accepted, as G2 does."""
    async with bed(strict_order=True) as it:
        assert (await it.post(change(it.draft("one")).message())).code == code
    async with bed() as it:
        assert (await it.post(change(it.draft("one")).message())).code == "0"


async def test_the_stamp_may_be_old() -> None:
    """Freshness is not checked: the real broker took a stamp 62 days old (protocol §1.7)."""
    assert STAMP.startswith("202601")
    async with bed() as it:
        assert (await it.pay("one")).code == "0"
