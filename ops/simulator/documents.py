"""GenericAPIResult documents, in the shape of G2 and in every other shape that was seen.

The templates are filled by `%`, which costs a few microseconds for a whole Result.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Final
from xml.sax.saxutils import escape

from ops.simulator import codes
from ops.simulator.records import MARKET_TIME, Conversation, State, date_letters, money

_SOAP: Final = "http://schemas.xmlsoap.org/soap/envelope/"
_API: Final = "http://api-v1.gen.mm.vodafone.com/mminterface"
_CPS: Final = "http://cps.huawei.com/cpsinterface/result"
_DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8"?>'
_NAME: Final = "Asha Simulated"
_CHARGE: Final = 2700
_OTHER_RECEIVER: Final = "254799999999"
_OTHER_AMOUNT: Final = 100

_G2: Final = (
    f'<soapenv:Envelope xmlns:soapenv="{_SOAP}"><soapenv:Body>'
    f'<res:ResultMsg xmlns:res="{_API}/result">%s</res:ResultMsg>'
    "</soapenv:Body></soapenv:Envelope>"
)
_CPS_G2: Final = (
    f'<soapenv:Envelope xmlns:soapenv="{_SOAP}"><soapenv:Header/><soapenv:Body>'
    f'<req:ResultMsg xmlns:req="{_CPS}">%s</req:ResultMsg></soapenv:Body></soapenv:Envelope>'
)
_G1: Final = (
    f'<s:Envelope xmlns:s="{_SOAP}"><s:Body><ResultMsg xmlns="{_API}/result">%s</ResultMsg>'
    "</s:Body></s:Envelope>"
)
_INNER: Final = (
    "<ResultType>%s</ResultType><ResultCode>%s</ResultCode><ResultDesc>%s</ResultDesc>"
    "<OriginatorConversationID>%s</OriginatorConversationID><ConversationID>%s</ConversationID>"
    "<TransactionID>%s</TransactionID>"
)
_PAIR: Final = "<ResultParameter><Key>%s</Key><Value>%s</Value></ResultParameter>"
_G1_KEY: Final = f' xmlns="{_API}/request"'
_G1_PAIR: Final = f"<Parameter><Key{_G1_KEY}>%s</Key><Value{_G1_KEY}>%s</Value></Parameter>"
_ITEM: Final = "<ReferenceItem><Key>%s</Key><Value>%s</Value></ReferenceItem>"
_ROOT: Final = f'<Result xmlns="{_API}/result">'

Pairs = Sequence[tuple[str, str]]


def result(conversation: Conversation, code: str, shape: str, *, other: str = "") -> bytes:
    """Guarantees the Result of a payment with this code, in this shape.

    `other` is `amount` or `receiver` to name one that was not asked for.
    """
    moment = dt.datetime.fromtimestamp(conversation.ended_at, MARKET_TIME)
    paid = code == "0"
    amount = conversation.amount + (_OTHER_AMOUNT if other == "amount" else 0)
    receiver = _OTHER_RECEIVER if other == "receiver" else conversation.msisdn
    if shape == "g1":
        pairs = _g1_pairs(conversation, amount, moment) if paid else ()
        return _render_g1(conversation, code, pairs)
    pairs = _pairs(conversation, amount, receiver, moment, shape) if paid else ()
    return _render(conversation, code, pairs, shape, _transaction_id(conversation, code, moment))


def answer_to_query(
    query: Conversation, asked: Conversation | None, status: str, shape: str
) -> bytes:
    """Guarantees the Result of a TransactionStatusQuery; code 2033 (G1: 49) without `asked`.

    `status` is the TransactionStatus to report (protocol §4.3).
    """
    moment = dt.datetime.fromtimestamp(query.accepted_at, MARKET_TIME)
    nothing = date_letters(moment) + "0000000"
    pairs = () if asked is None else _query_pairs(asked, status)
    if shape == "g1":
        return _render_g1(query, "0" if asked else codes.G1_NOT_FOUND, pairs)
    if asked is None:
        return _render(query, codes.NOT_FOUND, (), shape, nothing)
    return _render(query, "0", pairs, shape, nothing)


def failed_query(query: Conversation, code: str, shape: str) -> bytes:
    """Guarantees the Result of a query that was itself declined, with this code."""
    moment = dt.datetime.fromtimestamp(query.accepted_at, MARKET_TIME)
    return _render(query, code, (), shape, date_letters(moment) + "0000000")


def _render(
    conversation: Conversation, code: str, pairs: Pairs, shape: str, transaction_id: str
) -> bytes:
    items = "".join([_PAIR % (key, value) for key, value in pairs])
    if shape == "nested" and items:
        items = f"<ResultParameter>{items}</ResultParameter>"
    parameters = f"<ResultParameters>{items}</ResultParameters>" if items else ""
    references = "".join(
        [_ITEM % (escape(key), escape(value)) for key, value in conversation.references]
    )
    inner = _INNER % (
        "0",
        code,
        escape(codes.result_text(code)),
        escape(conversation.originator_conversation_id),
        conversation.conversation_id,
        transaction_id,
    )
    tail = f"<ReferenceData>{references}</ReferenceData>" if references else ""
    return _framed(inner + parameters + tail, shape)


def _framed(content: str, shape: str) -> bytes:
    document = f"{_DECLARATION}{_ROOT}{content}</Result>"
    if shape == "escaped":
        return (_G2 % escape(document)).encode()
    if shape == "lowercase":
        document = f'{_DECLARATION}<result xmlns="{_API}/result">{content}</result>'
    elif shape == "cps":
        content = content.replace("ConversationID>", "ConversationId>")
        content = content.replace("<OriginatorConversationId>", "<OriginatorConversationID>")
        content = content.replace("</OriginatorConversationId>", "</OriginatorConversationID>")
        content = content.replace("TransactionID>", "TransactionId>")
        return (_CPS_G2 % f"<![CDATA[{_DECLARATION}<Result>{content}</Result>]]>").encode()
    elif shape == "padded":
        document = "\n   " + document.replace("</", "\n   </").replace("><", ">\n<") + "\n   "
    return (_G2 % f"<![CDATA[{document}]]>").encode()


def _render_g1(conversation: Conversation, code: str, pairs: Pairs) -> bytes:
    """G1: the word for the type, no TransactionID on failures, keys in the request namespace."""
    inner = _INNER % (
        "Completed",
        code,
        "Success" if code == "0" else escape(codes.result_text(code)),
        escape(conversation.originator_conversation_id),
        conversation.conversation_id,
        conversation.receipt,
    )
    if not conversation.receipt:
        inner = inner.replace("<TransactionID></TransactionID>", "")
    items = "".join([_G1_PAIR % pair for pair in pairs])
    parameters = f"<ResultParameters>{items}</ResultParameters>" if items else ""
    return (_G1 % f"<![CDATA[{_ROOT}{inner}{parameters}</Result>]]>").encode()


def _transaction_id(conversation: Conversation, code: str, moment: dt.datetime) -> str:
    """A receipt for money that moved; else what G2 was seen to send (protocol §4.4)."""
    if conversation.receipt:
        return conversation.receipt
    if code == codes.CORE_ERROR:
        return f"{date_letters(moment)}Z{conversation.conversation_id[-6:].upper()}"
    return date_letters(moment) + "0000000"


def _pairs(
    conversation: Conversation, amount: int, receiver: str, moment: dt.datetime, shape: str
) -> Pairs:
    balance = money(conversation.balance)
    if shape == "sparse":
        return (("Currency", "KES"), ("B2CUtilityAccountAvailableFunds", balance))
    known = shape != "unregistered"
    charged = conversation.command_id.endswith("ChargePaid")
    pairs = [
        ("TransactionReceipt", conversation.receipt),
        ("TransactionAmount", money(amount)),
        ("TransactionCompletedDateTime", moment.strftime("%d.%m.%Y %H:%M:%S")),
        ("ReceiverPartyPublicName", f"{receiver} - {_NAME if known else ''}"),
        ("B2CWorkingAccountAvailableFunds", "0.00"),
        ("B2CUtilityAccountAvailableFunds", balance),
        ("B2CChargesPaidAccountAvailableFunds", money(-_CHARGE) if charged else "0.00"),
        ("B2CRecipientIsRegisteredCustomer", "Y" if known else "N"),
    ]
    if charged:
        pairs.append(("B2CWithdrawalChargeAmount", money(_CHARGE)))
    if shape == "raw_ampersand":
        accounts = f"Utility Account|KES|{balance}|{balance}|0.00|0.00"
        pairs.append(
            (
                "DebitPartyAffectedAccountBalance",
                f"{accounts}&Charges Paid Account|KES|0.00|0.00|0.00|0.00",
            )
        )
    return pairs


def _g1_pairs(conversation: Conversation, amount: int, moment: dt.datetime) -> Pairs:
    return (
        ("Amount", f"Ksh{money(amount)}"),
        ("Transaction Datetime", moment.strftime("%d/%m/%Y %H:%M:%S")),
        ("Working Account Available Funds", "0.0000"),
        ("Charges Paid Account Available Funds", "0.0000"),
        ("Utility Account Available Funds", f"{money(conversation.balance)}00"),
    )


def _query_pairs(asked: Conversation, status: str) -> Pairs:
    started = dt.datetime.fromtimestamp(asked.accepted_at, MARKET_TIME)
    final = asked.state in (State.PAID, State.FAILED)
    ended = dt.datetime.fromtimestamp(asked.ended_at, MARKET_TIME).strftime("%Y%m%d%H%M%S")
    return (
        ("DebitPartyName", f"{escape(asked.short_code)} - Simulated Organisation"),
        ("CreditPartyName", f"{escape(asked.msisdn)} - {_NAME}"),
        ("InitiatedTime", started.strftime("%Y%m%d%H%M%S")),
        ("FinalisedTime", ended if final else ""),
        ("DebitAccountType", "Utility Account"),
        ("DebitPartyCharges", ""),
        ("CreditPartyCharges", ""),
        ("TransactionType", escape(asked.command_id)),
        ("TransactionReason", ""),
        ("ReasonType", escape(asked.command_id)),
        ("TransactionStatus", status),
        ("ReceiptNo", asked.receipt),
        ("Amount", money(asked.amount)),
        ("Conversation ID", asked.conversation_id),
        ("Originator Conversation ID", escape(asked.originator_conversation_id)),
    )
