"""What the gateway answers and sends: Responses, Results, queue time-outs, queries' answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from functools import partial
from typing import Final
from xml.sax.saxutils import escape

from payouts.domain.answers import BrokerRecord, QueueTimeout, Response, Result
from payouts.domain.errors import UnreadableMessageError
from payouts.domain.values import OriginatorConversationId
from payouts.mpesa.queries import parse_broker_record
from payouts.mpesa.responses import parse_response
from payouts.mpesa.results import parse_result
from payouts.mpesa.timeouts import parse_queue_timeout
from tests.fixtures.mpesa import messages
from tests.fuzz.mutators.markup import MARKUP
from tests.fuzz.mutators.octets import PLAIN
from tests.fuzz.oracle import Finding, Target
from tests.fuzz.planted import MSISDN, NAME, PASSWORD

ASKED: Final = OriginatorConversationId("600100_ORG_p-1")
_LONGEST: Final = 8192
_TOKENS: Final = (
    b"<![CDATA[",
    b"]]>",
    b"<!--",
    b"<!DOCTYPE",
    b"<?xml",
    b"&amp;",
    b"&lt;",
    b"xmlns",
    b"ResultMsg",
    b"ResponseMsg",
    b"ResultCode",
    b"ResultParameter",
    b"<Key>",
    b"TransactionStatus",
    b"OriginatorConversationID",
    b"queryTransactionResponse",
    b"notifyQueueTimeout",
    b"Fault",
    b"encoding='",
)


def check(value: object, data: bytes) -> None:
    """Hold what was read against what the database and the logs can keep."""
    for text in _texts(value):
        if "\x00" in text or any("\ud800" <= one <= "\udfff" for one in text):
            raise Finding(f"a text that cannot be kept, of {data[:200]!r}")
        if len(text) > _LONGEST:
            raise Finding(f"a text of {len(text)} characters, of {data[:200]!r}")


def check_response(value: object, data: bytes) -> None:
    """See also that the Response, written anew, reads the same."""
    check(value, data)
    assert isinstance(value, Response)
    told = {
        "ResponseDesc": value.description.strip(),
        "ConversationID": value.conversation_id or "",
        "OriginatorConversationID": value.originator_conversation_id or "",
    }
    again = parse_response(
        messages.response_message(_escaped(value.code), **{k: _escaped(v) for k, v in told.items()})
    )
    if again != replace(value, description=value.description.strip()):
        raise Finding(f"written anew it reads otherwise: {data[:200]!r}")


def check_result(value: object, data: bytes) -> None:
    """See also that the Result, written anew with its parameters, reads the same."""
    check(value, data)
    assert isinstance(value, Result)
    if value.amount_unreadable or value.intermediate or "" in value.parameters.values():
        return  # The mapping does not tell a type, nor what stands behind an empty parameter.
    told = {
        "ResultDesc": value.description.strip(),
        "ConversationID": value.conversation_id or "",
        "OriginatorConversationID": value.originator_conversation_id or "",
        "TransactionID": value.transaction_id or "" if value.status is None else "",
    }
    pairs = [(_escaped(key), _escaped(text)) for key, text in value.parameters.items()]
    again = parse_result(
        messages.result_message(
            _escaped(value.code), pairs, **{k: _escaped(v) for k, v in told.items() if v}
        )
    )
    if (again.code, again.amount_minor, again.receiver, again.status, again.conversation_id) != (
        value.code,
        value.amount_minor,
        value.receiver,
        value.status,
        value.conversation_id,
    ):
        raise Finding(f"written anew it reads otherwise: {data[:200]!r}")


def check_timeout(value: object, data: bytes) -> None:
    """See also that the notice, written anew, reads the same."""
    check(value, data)
    assert isinstance(value, QueueTimeout)
    again = parse_queue_timeout(_timeout(_escaped(value.originator_conversation_id)))
    if again != value:
        raise Finding(f"written anew it reads otherwise: {data[:200]!r}")


def check_record(value: object, data: bytes) -> None:
    """See also that no more answers are told than were logged."""
    assert isinstance(value, BrokerRecord)
    for part in (value.response, *value.responses, *value.results):
        check(part, data)
    if min(value.requests, value.unreadable_responses, value.queue_timeouts) < 0:
        raise Finding(f"a count below nothing, of {data[:200]!r}")


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, text in value.items():
            yield from (key, text)
    elif is_dataclass(value):
        for one in fields(value):
            yield from _texts(getattr(value, one.name))


def _escaped(text: str) -> str:
    return escape(text, {"\r": "&#13;", "\n": "&#10;", "\t": "&#9;"})


def _timeout(identifier: str) -> bytes:
    return messages.envelope(
        '<l:notifyQueueTimeout xmlns:l="urn:t"><l:originatorConversationID>'
        f"{identifier}</l:originatorConversationID>"
        f"<l:originRequest><![CDATA[<request>{MSISDN} {PASSWORD}</request>]]></l:originRequest>"
        "</l:notifyQueueTimeout>"
    ).encode()


def response_seeds() -> Sequence[bytes]:
    """Give Responses of every shape, a fault and pages that are none."""
    ids = {"ConversationID": "AG_1", "OriginatorConversationID": ASKED}
    return [
        messages.response_message("0", ResponseDesc="Accepted", ServiceStatus="0", **ids),
        messages.response_message("100000000", ResponseDesc=f"Queued for {NAME} {MSISDN}", **ids),
        messages.envelope(
            f"<r:ResponseMsg xmlns:r='urn:x'>{messages.response('1')}</r:ResponseMsg>"
        ).encode(),
        messages.envelope(
            f"<ResponseMsg>{escape(messages.response('26', ResponseDesc='Busy'))}</ResponseMsg>"
        ).encode("utf-16"),
        messages.envelope(
            f"<e:Fault><faultcode>e:Server</faultcode><faultstring>{NAME} {MSISDN} {PASSWORD}"
            "</faultstring></e:Fault>"
        ).encode(),
        f"<html><body>{MSISDN}<br>Bad gateway</body></html>".encode(),
        b"",
    ]


def result_seeds() -> Sequence[bytes]:
    """Give Results of a payment, of a query, with odd amounts and as real elements."""
    ids = {"OriginatorConversationID": ASKED, "ConversationID": "AG_1"}
    paid = (
        ("TransactionAmount", "1250.50"),
        ("TransactionReceipt", "SKJ81H3WLA"),
        ("ReceiverPartyPublicName", f"{MSISDN} - {NAME}"),
        ("TransactionCompletedDateTime", "04.03.2026 08:06:07"),
        ("B2CUtilityAccountAvailableFunds", "98765.43"),
        ("B2CRecipientIsRegisteredCustomer", "Y"),
    )
    asked = (
        ("TransactionStatus", "Completed"),
        ("Amount", "{Amount={BasicAmount=7.00, MinimumAmount=700, CurrencyCode=KES}}"),
        ("CreditPartyName", f"{MSISDN} - {NAME}"),
        ("ReceiptNo", "SKJ81H3WLA"),
        ("OriginatorConversationID", "600100_ORG_p-1"),
    )
    return [
        messages.result_message("0", paid, TransactionID="SKJ81H3WLA", ResultDesc="Done", **ids),
        messages.result_message("2001", (), ResultDesc=f"The initiator {PASSWORD} is wrong", **ids),
        messages.result_message("0", asked, **ids),
        messages.envelope(f"<ResultMsg>{messages.result('0', paid, **ids)}</ResultMsg>").encode(),
        messages.carried("ResultMsg", messages.result("1", paid, ResultDesc=f"{NAME} & Co", **ids)),
        messages.result_message("0", (*paid, ("TransactionAmount", "1")), **ids),
    ]


def timeout_seeds() -> Sequence[bytes]:
    """Give notices as the broker sends them."""
    return [_timeout(ASKED), _timeout("600100_ORG-q17_p-1"), _timeout(""), result_seeds()[0]]


def record_seeds() -> Sequence[bytes]:
    """Give the broker's log of requests, answers and Results, and a refused question."""
    request = messages.envelope(
        f"<RequestMsg><![CDATA[<request><Transaction><OriginatorConversationID>{ASKED}"
        f"</OriginatorConversationID></Transaction><Receiver>{MSISDN}</Receiver></request>]]>"
        "</RequestMsg>"
    ).encode()
    post, answer = "POST /mminterface/request HTTP/1.1", "HTTP/1.1 200 OK"
    lists = {
        "submitApiRequest": [messages.http(post, request)] * 2,
        "submitApiResponse": [messages.http(answer, one) for one in response_seeds()[:2]],
        "submitApiResult": [messages.http(post, one) for one in result_seeds()[:2]],
        "queueTimeout": [messages.http(post, timeout_seeds()[0])],
    }
    return [
        messages.record(lists=lists),
        messages.record(),
        messages.record("00000001", name="queryTranscationResponse"),
        messages.response_message("100000001", ResponseDesc="No such"),
    ]


def _target(
    name: str,
    read: Callable[[bytes], object],
    seeds: Callable[[], Sequence[bytes]],
    check: Callable[[object, bytes], None],
) -> Target:
    return Target(
        name=name,
        read=read,
        errors=(UnreadableMessageError,),
        check=check,
        seeds=seeds,
        tokens=_TOKENS,
        mutators=(*MARKUP, *MARKUP, *PLAIN),
    )


TARGETS: Final = (
    _target("responses", parse_response, response_seeds, check_response),
    _target("results", parse_result, result_seeds, check_result),
    _target("timeouts", parse_queue_timeout, timeout_seeds, check_timeout),
    _target("queries", partial(parse_broker_record, asked=ASKED), record_seeds, check_record),
)
