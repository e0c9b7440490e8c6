"""What we send: valid by our XSD, exact in every character, current in its stamps."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from payouts.domain.commands import COMMAND_IDS
from payouts.domain.errors import InvalidCommandError
from payouts.domain.values import OriginatorConversationId
from payouts.mpesa.envelope import REQUEST_NS
from payouts.mpesa.requests import Requests
from payouts.mpesa.settings import DigestForm, HeaderNamespace, HeaderTime
from payouts.mpesa.wsdl import schema
from tests.fixtures.mpesa.messages import NOW, SOAP, account, payout

QUERY_ID = OriginatorConversationId("600100_ORG-q1_p-1")
# Everything that XML 1.0 can carry; the rest is refused.
TEXTS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\ufffe\uffff").filter(
        lambda c: c >= " " or c in "\t\n\r"
    ),
    max_size=255,
)
REQUESTS = Requests(account())


def parts(message: bytes) -> tuple[etree._Element, etree._Element]:
    """Reads a request with lxml, apart from our own reader: header and inner document."""
    root = etree.fromstring(message)
    header = root.find(f"{{{SOAP}}}Header/*")
    inner = root.findtext(f"{{{SOAP}}}Body/{{{REQUEST_NS}}}RequestMsg")
    assert header is not None
    assert inner is not None
    return header, etree.fromstring(inner.encode())


def valid(document: etree._Element, name: str) -> bool:
    """Tells whether a document is valid by one of our schemas."""
    return etree.XMLSchema(etree.fromstring(schema(name))).validate(document)


def texts(document: etree._Element) -> dict[str, str]:
    """Gives the text of each leaf by its path of local names."""
    found = {}
    for leaf in document.iter():
        if len(leaf) == 0:
            steps = [leaf, *leaf.iterancestors()]
            names = [etree.QName(step).localname for step in reversed(steps)]
            found["/".join(names)] = leaf.text or ""
    return found


def pairs(document: etree._Element, item: str) -> dict[str, str]:
    """Gives the Key and Value of each Parameter or ReferenceItem."""
    found = {}
    for element in document.iter(f"{{{REQUEST_NS}}}{item}"):
        key, value = element
        found[key.text or ""] = value.text or ""
    return found


@pytest.mark.parametrize("command_id", COMMAND_IDS)
def test_a_payment_is_valid_by_our_schema(command_id: str) -> None:
    """Each of the five commands is a document of request.xsd, hence in XSD order."""
    one = payout(command_id=command_id, remark="rent", occasion="Jamhuri")
    _, inner = parts(REQUESTS.payment(one, NOW))
    assert valid(inner, "request.xsd")


def test_a_payment_says_what_the_payout_says() -> None:
    """Ids, parties, amount, addresses and stamps stand where the interface wants them."""
    one = payout(remark="rent", occasion="Jamhuri")
    _, inner = parts(REQUESTS.payment(one, NOW))
    told = texts(inner)
    assert told["request/Transaction/CommandID"] == "SalaryPayment"
    assert told["request/Transaction/OriginatorConversationID"] == "600100_ORG_p-1"
    assert told["request/Transaction/ConversationID"] == ""
    assert told["request/Transaction/Remark"] == "rent"
    assert told["request/Transaction/Timestamp"] == "2026-03-04T05:06:07.891Z"
    assert told["request/Identity/Caller/CallerType"] == "2"
    assert told["request/Identity/Caller/ThirdPartyID"] == "107000"
    assert told["request/Identity/Caller/ResultURL"] == "http://127.0.0.1:9/mpesa/result?a=1&b=2"
    assert told["request/Identity/Initiator/IdentifierType"] == "11"
    assert told["request/Identity/Initiator/Identifier"] == "apiop"
    assert told["request/Identity/Initiator/ShortCode"] == "600100"
    assert told["request/Identity/PrimaryParty/IdentifierType"] == "4"
    assert told["request/Identity/PrimaryParty/Identifier"] == "600100"
    assert told["request/Identity/ReceiverParty/IdentifierType"] == "1"
    assert told["request/Identity/ReceiverParty/Identifier"] == "254712345678"
    assert told["request/KeyOwner"] == "1"
    assert pairs(inner, "Parameter") == {"Amount": "1250.50"}
    assert pairs(inner, "ReferenceItem") == {
        "QueueTimeoutURL": "http://127.0.0.1:9/mpesa/timeout",
        "Occasion": "Jamhuri",
    }


def test_a_payment_without_words_has_no_occasion() -> None:
    """Remark is empty and Occasion missing where the command gave none."""
    _, inner = parts(REQUESTS.payment(payout(), NOW))
    assert texts(inner)["request/Transaction/Remark"] == ""
    assert "Occasion" not in pairs(inner, "ReferenceItem")
    assert valid(inner, "request.xsd")


@given(remark=TEXTS, occasion=TEXTS)
def test_every_text_arrives_exactly(remark: str, occasion: str) -> None:
    """Markup, `]]>`, line ends, non-ASCII: an independent reader gets just what was given."""
    _, inner = parts(REQUESTS.payment(payout(remark=remark, occasion=occasion), NOW))
    assert texts(inner)["request/Transaction/Remark"] == remark
    assert pairs(inner, "ReferenceItem").get("Occasion", "") == occasion


@pytest.mark.parametrize("text", ["]]>", "]]]]>>", "<![CDATA[x]]>", "&amp;", "%(id)s %", "\r\n"])
def test_texts_that_end_markup_or_templates_arrive_exactly(text: str) -> None:
    """What could end the CDATA, be markup or be a place in the template is only text."""
    _, inner = parts(REQUESTS.payment(payout(remark=text, occasion=text), NOW))
    assert texts(inner)["request/Transaction/Remark"] == text
    assert pairs(inner, "ReferenceItem")["Occasion"] == text


def test_settings_that_look_like_markup_or_templates_arrive_exactly() -> None:
    """Users, addresses and ids of the settings are escaped too."""
    odd = Requests(
        account(
            initiator_username="a<b>&%(id)s",
            result_url="http://x/?a=1&b=%20",
            queue_timeout_url="http://x/?%(value)s",
            third_party_id="]]>",
            language_code="%",
        )
    )
    _, inner = parts(odd.payment(payout(), NOW))
    told = texts(inner)
    assert told["request/Identity/Initiator/Identifier"] == "a<b>&%(id)s"
    assert told["request/Identity/Caller/ResultURL"] == "http://x/?a=1&b=%20"
    assert told["request/Identity/Caller/ThirdPartyID"] == "]]>"
    assert told["request/Transaction/LanguageCode"] == "%"
    assert pairs(inner, "ReferenceItem")["QueueTimeoutURL"] == "http://x/?%(value)s"


@pytest.mark.parametrize("bad", ["\x00", "\x1b", "\x08", "\ufffe", "\uffff", "\ud800"])
@pytest.mark.parametrize("field", ["remark", "occasion"])
def test_a_character_that_xml_cannot_carry_is_refused(field: str, bad: str) -> None:
    """The error names the field and does not repeat its text."""
    with pytest.raises(InvalidCommandError, match=field) as caught:
        REQUESTS.payment(payout(**{field: f"Wanjiku{bad}"}), NOW)
    assert "Wanjiku" not in str(caught.value)


@pytest.mark.parametrize("namespace", list(HeaderNamespace))
@pytest.mark.parametrize("form", list(DigestForm))
def test_the_header_fits_its_schema_and_its_digest_fits_its_stamp(
    namespace: HeaderNamespace, form: DigestForm
) -> None:
    """Either namespace, each digest form; the stamp is the one that was hashed."""
    requests = Requests(account(header_namespace=namespace, digest=form))
    header, _ = parts(requests.payment(payout(), NOW))
    assert valid(header, f"header_{namespace.name.lower()}.xsd")
    fields = {etree.QName(child).localname: child.text or "" for child in header}
    raw = hashlib.sha256(f"107000sp-secret{fields['timeStamp']}".encode())
    forms = {
        DigestForm.UPPER: raw.hexdigest().upper().encode(),
        DigestForm.LOWER: raw.hexdigest().encode(),
        DigestForm.RAW: raw.digest(),
    }
    assert base64.b64decode(fields["spPassword"]) == forms[form]
    assert fields["spId"] == "107000"
    assert fields["serviceId"] == "107000000"


def test_header_children_stand_in_the_order_of_live_senders() -> None:
    """In namespace B: spId, spPassword, timeStamp, serviceId (protocol.md, The choices, 1)."""
    header, _ = parts(REQUESTS.payment(payout(), NOW))
    assert [etree.QName(child).localname for child in header] == [
        *("spId", "spPassword", "timeStamp", "serviceId")
    ]


@pytest.mark.parametrize(
    ("time", "stamp"),
    [(HeaderTime.UTC, "20260304050607"), (HeaderTime.LOCAL, "20260304080607")],
)
def test_the_stamp_is_utc_or_local_time(time: HeaderTime, stamp: str) -> None:
    """`yyyyMMddHHmmss`, in UTC unless the setting says local time."""
    header, _ = parts(Requests(account(header_time=time)).payment(payout(), NOW))
    assert header.findtext(f"{{{HeaderNamespace.B.value}}}timeStamp") == stamp


def test_the_stamp_moves_with_the_second() -> None:
    """Within a second the header is made once; the next second has its own stamp and digest."""
    requests = Requests(account())
    stamp = f"{{{HeaderNamespace.B.value}}}timeStamp"
    seen = [
        parts(requests.payment(payout(), NOW + timedelta(milliseconds=step)))[0].findtext(stamp)
        for step in (0, 50, 200, 0)
    ]
    assert seen == ["20260304050607", "20260304050607", "20260304050608", "20260304050607"]


def test_the_credential_is_encrypted_once() -> None:
    """The same blob serves every request (protocol.md §2.2), so that a payment costs no RSA."""
    path = "request/Identity/Initiator/SecurityCredential"
    first = texts(parts(REQUESTS.payment(payout(), NOW))[1])[path]
    second = texts(parts(REQUESTS.payment(payout(), NOW))[1])[path]
    query = texts(parts(REQUESTS.status_query(payout(), QUERY_ID, NOW))[1])[path]
    assert first == second == query
    assert len(first) == 344


def test_the_access_device_can_be_left_out() -> None:
    """An empty setting leaves the optional element out."""
    _, inner = parts(Requests(account(access_device="")).payment(payout(), NOW))
    assert inner.find(f".//{{{REQUEST_NS}}}AccessDevice") is None
    assert valid(inner, "request.xsd")


def test_a_status_query_asks_about_the_payout_under_its_own_id() -> None:
    """One parameter, the payment's id; the query's own id is fresh (D-B2B03 §5.16)."""
    _, inner = parts(REQUESTS.status_query(payout(), QUERY_ID, NOW))
    assert valid(inner, "request.xsd")
    assert texts(inner)["request/Transaction/CommandID"] == "TransactionStatusQuery"
    assert texts(inner)["request/Transaction/OriginatorConversationID"] == QUERY_ID
    assert pairs(inner, "Parameter") == {"OriginatorConversationID": "600100_ORG_p-1"}
    assert b"254712345678" not in REQUESTS.status_query(payout(), QUERY_ID, NOW)


def broker_query(sent_at: datetime, again_at: datetime | None = None) -> etree._Element:
    """Makes a queryTransaction about a payout sent at these instants."""
    one = payout(submitted_at=sent_at, last_sent_at=again_at or sent_at)
    return etree.fromstring(REQUESTS.broker_query(one, NOW))


def test_a_broker_query_is_valid_by_our_wsdl(wsdl_schema: Callable[[str], etree.XMLSchema]) -> None:
    """Header in namespace A and its order, the id, and queryDate in the gateway's time."""
    root = broker_query(NOW)
    header = root.find(f"{{{SOAP}}}Header/*")
    query = root.find(f"{{{SOAP}}}Body/*")
    assert header is not None
    assert query is not None
    assert valid(etree.fromstring(etree.tostring(header)), "header_a.xsd")
    assert wsdl_schema("query_transaction.wsdl").validate(query)
    assert query[0].text == "600100_ORG_p-1"
    assert [leaf.text for leaf in query[1][0]] == ["queryDate", "20260304080607"]


@pytest.mark.parametrize(
    ("first", "last"),
    [
        (datetime(2026, 3, 4, 21, 30, tzinfo=UTC), datetime(2026, 3, 4, 21, 31, tzinfo=UTC)),
        (datetime(2026, 3, 4, 12, 0, tzinfo=UTC), datetime(2026, 3, 5, 12, 0, tzinfo=UTC)),
    ],
)
def test_query_date_is_left_out_where_it_could_name_another_day(
    first: datetime, last: datetime
) -> None:
    """Near midnight, or after sends on two days, a date could hide what was logged."""
    query = broker_query(first, last).find(f"{{{SOAP}}}Body/*")
    assert query is not None
    assert len(query) == 1
