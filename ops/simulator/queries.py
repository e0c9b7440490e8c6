"""What queries tell: the state of a payment, and the broker's log of a request."""

import re
from collections.abc import Callable
from typing import Final
from xml.sax.saxutils import escape

from ops.simulator import answers, codes
from ops.simulator.books import Books
from ops.simulator.checks import STATUS_QUERY
from ops.simulator.documents import answer_to_query, failed_query, result
from ops.simulator.records import Conversation, State, money
from ops.simulator.settings import SimulatorSettings
from ops.simulator.statistics import MessageLog
from ops.simulator.wire import Inner

_HEADER: Final = re.compile(rb"<(\w+:)?Header\b.*?</(\w+:)?Header>", re.DOTALL)
_RESULT_URL: Final = re.compile(rb"(<ResultURL>)[^<]*(</ResultURL>)")
_CORE_URL: Final = rb"\g<1>https://broker.invalid:18323/mminterface/result\g<2>"
_REQUEST: Final = (
    '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
    'xmlns:req="http://api-v1.gen.mm.vodafone.com/mminterface/request"><soapenv:Body>'
    '<req:RequestMsg><![CDATA[<?xml version="1.0" encoding="UTF-8"?>'
    '<request xmlns="http://api-v1.gen.mm.vodafone.com/mminterface/request"><Transaction>'
    "<CommandID>%s</CommandID><OriginatorConversationID>%s</OriginatorConversationID>"
    "<Parameters><Parameter><Key>Amount</Key><Value>%s</Value></Parameter></Parameters>"
    "<ReferenceData>%s</ReferenceData></Transaction><Identity>"
    "<Caller><CallerType>2</CallerType><ResultURL>%s</ResultURL></Caller>"
    "<PrimaryParty><IdentifierType>4</IdentifierType><Identifier>%s</Identifier></PrimaryParty>"
    "<ReceiverParty><IdentifierType>1</IdentifierType><Identifier>%s</Identifier></ReceiverParty>"
    "</Identity><KeyOwner>1</KeyOwner></request>]]></req:RequestMsg></soapenv:Body>"
    "</soapenv:Envelope>"
)
_STATUS: Final = {
    State.ACCEPTED: "Initiated",
    State.PAID: "Completed",
    State.FAILED: "Declined",
}


def rebuilt_request(conversation: Conversation) -> bytes:
    """Guarantees an envelope without Header that says what the request asked for.

    It stands in for the original where that was not kept; credentials are never kept.
    """
    references = "".join(
        f"<ReferenceItem><Key>{escape(key)}</Key><Value>{escape(value)}</Value></ReferenceItem>"
        for key, value in conversation.references
    )
    return (
        _REQUEST
        % (
            conversation.command_id,
            escape(conversation.originator_conversation_id),
            money(conversation.amount),
            references,
            escape(conversation.result_url),
            escape(conversation.short_code),
            escape(conversation.msisdn),
        )
    ).encode()


class Queries:
    """Guarantees answers from the books as they are at that moment."""

    def __init__(
        self, settings: SimulatorSettings, books: Books, log: MessageLog, clock: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._books = books
        self._log = log
        self._clock = clock

    def status_result(self, query: Conversation, inner: Inner, code: str, shape: str) -> bytes:
        """Guarantees the Result of a TransactionStatusQuery; `code` other than 0 declines it."""
        if code != "0":
            return failed_query(query, code, shape)
        asked = self._asked(inner)
        return answer_to_query(query, asked, self._status(asked), shape)

    def logged(self, originator: str) -> dict[str, list[bytes]]:
        """Guarantees the broker's log of that id as HTTP messages by kind; empty when unknown."""
        known = self._books.known(originator)
        if known is not None and known.hidden_until > self._clock():
            return {}
        found = self._log.of(originator)
        if found is None and known is not None:
            found = self._rebuilt(known)
        if found is None:
            return {}
        messages = {kind: list(listed) for kind, listed in found.items()}
        messages["submitApiResponse"] = [
            _http_response(body) for body in messages.get("submitApiResponse", ())
        ]
        if self._settings.query_both_legs:
            messages["submitApiRequest"] += [
                _core_leg(message) for message in messages["submitApiRequest"]
            ]
            messages["submitApiResponse"] *= 2
        return messages

    def _asked(self, inner: Inner) -> Conversation | None:
        parameters = inner.parameters
        originator = parameters.get("OriginatorConversationID")
        other = parameters.get("ReceiptNumber") or parameters.get("ConversationID") or ""
        found = self._books.known(originator) if originator else self._books.found(other)
        if found is None or found.hidden_until > self._clock():
            return None
        return None if found.state in (State.QUEUED, State.EXPIRED) else found

    def _status(self, asked: Conversation | None) -> str:
        if asked is None:
            return ""
        ended = asked.state in (State.PAID, State.FAILED)
        return (ended and asked.status) or _STATUS[asked.state]

    def _rebuilt(self, known: Conversation) -> dict[str, list[bytes]]:
        """What the log would hold, for an id that it let go or that an earlier process served."""
        body = rebuilt_request(known)
        request = (
            b"POST /mminterface/request HTTP/1.1\r\nContent-Type: text/xml\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        cached = known.state in (State.QUEUED, State.EXPIRED)
        response = answers.response(
            codes.CACHED if cached else "0",
            known.originator_conversation_id,
            known.conversation_id,
            shape=self._settings.core,
        )
        rebuilt = {"submitApiRequest": [request], "submitApiResponse": [response]}
        if known.state in (State.PAID, State.FAILED) and known.results:
            sent = result(known, known.result_code, self._settings.core)
            rebuilt["submitApiResult"] = [_http_post(sent)]
        if known.state is State.EXPIRED:
            notice = answers.timeout_notice(known.originator_conversation_id, body)
            rebuilt["queueTimeOut"] = [_http_post(notice)]
        return rebuilt


def is_status_query(inner: Inner) -> bool:
    """Guarantees true only for the command that asks for a payment's state."""
    return inner.get("CommandID") == STATUS_QUERY


def _http_response(body: bytes) -> bytes:
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nConnection: close\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    )


def _http_post(body: bytes) -> bytes:
    return b"POST / HTTP/1.1\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n%s" % (
        len(body),
        body,
    )


def _core_leg(message: bytes) -> bytes:
    """The broker drops the SOAP Header and puts its own ResultURL in (protocol §0)."""
    body = message.partition(b"\r\n\r\n")[2]
    body = _RESULT_URL.sub(_CORE_URL, _HEADER.sub(b"", body, count=1))
    head = (
        b"POST /payment/services/RequestMgrService HTTP/1.1\r\nContent-Type: text/xml\r\n"
        b"Connection: close\r\nContent-Length: %d\r\n\r\n"
    )
    return head % len(body) + body
