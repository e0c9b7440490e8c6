"""Reads what the broker's log holds about one id: queryTransaction's answer (protocol.md §5.2)."""

from __future__ import annotations

import binascii
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import Final

from payouts.domain.answers import BrokerRecord, Response, Result
from payouts.domain.errors import UnreadableMessageError
from payouts.domain.values import OriginatorConversationId
from payouts.mpesa.responses import MESSAGE, response_of
from payouts.mpesa.results import result_of
from payouts.mpesa.soap import body_children, fields_of, inner_document, local_name, text_of

MAX_RECORD_BYTES: Final = 1024 * 1024
MAX_LOGGED: Final = 200
_ANSWERS: Final = frozenset({"querytransactionresponse", "querytranscationresponse"})
_OK: Final = "200"
_RESULT_MESSAGES: Final = frozenset({"resultmsg", "responsemsg"})


def parse_broker_record(body: bytes, asked: OriginatorConversationId | None = None) -> BrokerRecord:
    """Return what the broker logged, counted so that doubt remains wherever the log is unclear.

    `requests` counts sends, not legs: the messages from us to the broker, or those from the
    broker to the core if there are more of them. A logged request counts unless it can be read
    and names another id. `responses` has each distinct one once, as both legs carry the same; a
    logged Response or Result that cannot be read counts in `unreadable_responses`. So a record
    with as many refusals as requests holds a refusal of every send.

    Args:
        body: the HTTP body.
        asked: the id that was asked for; messages that name another one are left out.

    Raises:
        MessageTooLargeError: the body is too large.
        UnreadableMessageError: it is no answer to queryTransaction. Never anything else.
    """
    for child in body_children(body, limit=MAX_RECORD_BYTES):
        name = local_name(child)
        if name in _ANSWERS:
            return _record(child, asked)
        if name == MESSAGE:
            return _refusal(response_of(inner_document(child, "response")))
    raise UnreadableMessageError("It has no queryTransactionResponse.")


def _refusal(response: Response) -> BrokerRecord:
    """Return a refused query's record; a success in this shape would read as *not found*."""
    if not response.code.strip("0"):
        raise UnreadableMessageError("It has no queryTransactionResponse.")
    return BrokerRecord(response=response)


def _record(answer: ET.Element, asked: OriginatorConversationId | None) -> BrokerRecord:
    result = next((part for part in answer if local_name(part) == "result"), None)
    if result is None:
        raise UnreadableMessageError("It has no result.")
    log = _Log(asked)
    for kind, text in _logged(answer):
        log.take(kind, text)
    return BrokerRecord(
        response=response_of(result),
        requests=max(log.client_legs, log.core_legs) + log.unclear_requests,
        responses=tuple(log.responses),
        unreadable_responses=log.unreadable,
        # Which leg a Response is of cannot be told: where the core was asked, both may carry it.
        answered=log.answers // 2 if log.core_legs else log.answers,
        results=tuple(log.results),
        queue_timeouts=log.queue_timeouts,
    )


def _logged(answer: ET.Element) -> Iterator[tuple[str, str]]:
    """Yield each logged message with its element's name, in the broker's order."""
    count = 0
    for part in answer:
        if not local_name(part).endswith("list"):
            continue
        for item in part:
            text = text_of(item)
            if text:
                count += 1
                if count > MAX_LOGGED:
                    raise UnreadableMessageError("It has too many logged messages.")
                yield local_name(item), text


class _Log:
    """Sorts and counts the logged messages that are about the id that was asked for."""

    def __init__(self, asked: OriginatorConversationId | None) -> None:
        self._asked = asked
        self.client_legs = 0
        self.core_legs = 0
        self.unclear_requests = 0
        self.responses: list[Response] = []
        self.results: list[Result] = []
        self.answers = 0
        self.unreadable = 0
        self.queue_timeouts = 0

    def take(self, kind: str, text: str) -> None:
        if kind == "submitapirequest":
            self._take_request(text)
        elif kind == "submitapiresponse":
            self._take_response(text)
        elif kind == "submitapiresult":
            self._take_result(text)
        elif kind == "queuetimeout":
            self.queue_timeouts += 1
        else:
            self.unreadable += 1  # Something is logged that nobody here knows how to read.

    def _take_request(self, text: str) -> None:
        try:
            body = _http_body(text)
            message = _message(body, "requestmsg")
        except UnreadableMessageError:
            self.unclear_requests += 1
            return
        try:
            fields = _transaction(inner_document(message, "request"))
        except UnreadableMessageError:
            fields = {}  # Stored captures have doubled quotes (protocol.md §6); it still counts.
        if self._is_other(fields.get("originatorconversationid")):
            return
        # The broker removes the header with our spId before it passes a request on (§0).
        if b"RequestSOAPHeader" in body:
            self.client_legs += 1
        else:
            self.core_legs += 1

    def _take_response(self, text: str) -> None:
        try:
            message = _message(_http_body(text), MESSAGE)
            response = response_of(inner_document(message, "response"))
        except UnreadableMessageError:
            self.unreadable += 1
            return
        if self._is_other(response.originator_conversation_id):
            return
        self.answers += 1
        if response not in self.responses:
            self.responses.append(response)

    def _take_result(self, text: str) -> None:
        try:
            result = result_of(inner_document(_message(_http_body(text), "resultmsg"), "result"))
        except UnreadableMessageError:
            self.unreadable += 1
            return
        named = result.originator_conversation_id
        if self._is_other(named):
            return
        if self._asked is not None and named is None:
            self.unreadable += 1  # Nobody can say whose it is: it proves nothing, either way.
        elif result not in self.results:
            self.results.append(result)

    def _is_other(self, named: str | None) -> bool:
        return bool(named) and self._asked is not None and named != self._asked


def _http_body(text: str) -> bytes:
    """Return the body of a logged HTTP message; an answer other than 200 is no Response."""
    try:
        message = binascii.a2b_base64(text.encode("ascii"))
    except (binascii.Error, UnicodeEncodeError):
        raise UnreadableMessageError("A logged message is not base64.") from None
    head, separator, body = message.partition(b"\r\n\r\n")
    if not separator:
        head, separator, body = message.partition(b"\n\n")
    if head.lstrip().startswith(b"<"):
        return message  # Logged without its HTTP head.
    start = head.split(b"\n", 1)[0].split()
    if start[:1] and start[0].startswith(b"HTTP/") and start[1:2] != [_OK.encode()]:
        raise UnreadableMessageError("A logged answer has another status than 200.")
    return body


def _message(body: bytes, name: str) -> ET.Element:
    for child in body_children(body):
        if local_name(child) == name or (
            name == "resultmsg" and local_name(child) in _RESULT_MESSAGES
        ):
            return child
    raise UnreadableMessageError("A logged message is of another kind.")


def _transaction(request: ET.Element) -> dict[str, str]:
    for part in request:
        if local_name(part) == "transaction":
            return fields_of(part)
    return {}
