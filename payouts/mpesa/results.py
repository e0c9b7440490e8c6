"""Reads the asynchronous outcome: GenericAPIResult, of G1 and G2 (protocol.md §4)."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Final

from payouts.domain.answers import Result, TransactionStatus
from payouts.domain.errors import UnreadableMessageError
from payouts.domain.values import ConversationId, OriginatorConversationId, TransactionId
from payouts.mpesa.parameters import Parameters, money, parameters_of, receiver_digits
from payouts.mpesa.soap import body_children, fields_of, inner_document, local_name, short

MAX_DESCRIPTION: Final = 1024
# One public sample puts a Result into a ResponseMsg; the inner document decides what it is.
_MESSAGES: Final = frozenset({"resultmsg", "responsemsg"})
_COMPLETED_TYPES: Final = frozenset({"", "completed"})
_STATUSES: Final[Mapping[str, TransactionStatus]] = {
    "completed": TransactionStatus.COMPLETED,
    "cancelled": TransactionStatus.CANCELLED,
    "canceled": TransactionStatus.CANCELLED,
    "declined": TransactionStatus.DECLINED,
    "expired": TransactionStatus.EXPIRED,
}
_COMPLETED_AT: Final = (
    "transactioncompleteddatetime",
    "transactiondatetime",
    "transcompletedtime",
    "finalisedtime",
)
_SHORTEST_MSISDN: Final = 9


def parse_result(body: bytes) -> Result:
    """Return the Result in a SOAP message, of a payment or of a TransactionStatusQuery.

    Raises:
        MessageTooLargeError: the body is too large.
        UnreadableMessageError: it is no Result, or it has no code. Never anything else.
    """
    for child in body_children(body):
        if local_name(child) in _MESSAGES:
            return result_of(inner_document(child, "result"))
    raise UnreadableMessageError("It has no ResultMsg.")


def result_of(document: ET.Element) -> Result:
    """Return the Result that an inner document tells.

    Raises:
        UnreadableMessageError: it has no code.
    """
    fields = fields_of(document)
    code = short(fields, "resultcode")
    if code is None:
        raise UnreadableMessageError("It has no ResultCode.")
    parameters = parameters_of(document)
    status = _status(code, parameters)
    amount, unreadable = _amount(parameters)
    originator = short(fields, "originatorconversationid")
    conversation = short(fields, "conversationid")
    subject = parameters.first("originatorconversationid")
    return Result(
        code=code,
        description=fields.get("resultdesc", "")[:MAX_DESCRIPTION],
        intermediate=_is_intermediate(fields.get("resulttype", "")),
        originator_conversation_id=(
            None if originator is None else OriginatorConversationId(originator)
        ),
        conversation_id=None if conversation is None else ConversationId(conversation),
        transaction_id=_receipt(fields, parameters, status),
        amount_minor=amount,
        amount_unreadable=unreadable,
        receiver=_receiver(parameters, status),
        completed_at_text=parameters.first(*_COMPLETED_AT),
        status=status,
        subject_originator_conversation_id=(
            None if subject is None else OriginatorConversationId(subject)
        ),
        utility_balance_minor=_balance(parameters),
        parameters=parameters.mapping(),
    )


def _is_intermediate(kind: str) -> bool:
    """Tell whether further messages follow: any ResultType but 0, `Completed` and none."""
    kind = kind.lower()
    return kind not in _COMPLETED_TYPES and kind.strip("0") != ""


def _status(code: str, parameters: Parameters) -> TransactionStatus | None:
    """Return the payment's state; a query that itself failed tells none."""
    text = parameters.first("transactionstatus")
    if text is None or code.strip("0"):
        return None
    return _STATUSES.get(text.lower(), TransactionStatus.UNDER_WAY)


def _amount(parameters: Parameters) -> tuple[int | None, bool]:
    """Return the amount and whether one is there that cannot be read, or two that differ."""
    texts = parameters.values("transactionamount", "amount")
    if not texts:
        return None, False
    amounts = {money(text) for text in texts}
    amount = amounts.pop()
    if amounts or amount is None or amount < 0:
        return None, True
    return amount, False


def _receiver(parameters: Parameters, status: TransactionStatus | None) -> str | None:
    text = parameters.first("receiverpartypublicname")
    if text is not None:
        return receiver_digits(text)
    # In a query's answer the credit party is the receiver; an organisation's short code there
    # says nothing about a person's number.
    credit = parameters.first("creditpartyname") if status is not None else None
    digits = None if credit is None else receiver_digits(credit)
    return digits if digits is not None and len(digits) >= _SHORTEST_MSISDN else None


def _receipt(
    fields: Mapping[str, str], parameters: Parameters, status: TransactionStatus | None
) -> TransactionId | None:
    """Return the payment's receipt; a query's own TransactionID is none (protocol.md §4.4)."""
    own = None if status is not None else short(fields, "transactionid")
    keys = ("receiptno",) if status is not None else ("transactionreceipt",)
    receipt = own or short({"receipt": parameters.first(*keys) or ""}, "receipt")
    return None if receipt is None else TransactionId(receipt)


def _balance(parameters: Parameters) -> int | None:
    text = parameters.first("b2cutilityaccountavailablefunds", "utilityaccountavailablefunds")
    return None if text is None else money(text)
