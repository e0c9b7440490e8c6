"""What the broker answers on the request's own connection, as SOAP documents in bytes."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

from ops.simulator import codes

XML: Final = "text/xml"
_SOAP: Final = "http://schemas.xmlsoap.org/soap/envelope/"
_API: Final = "http://api-v1.gen.mm.vodafone.com/mminterface"
_QUERY: Final = "http://www.csapi.org/schema/transaction/data/v1_0/local"
_TIMEOUT: Final = "http://www.csapi.org/schema/timeoutnotification/data/v1_0/local"

_G2: Final = (
    f'<soapenv:Envelope xmlns:soapenv="{_SOAP}"><soapenv:Body>'
    f'<req:ResponseMsg xmlns:req="{_API}/request"><![CDATA[%s]]></req:ResponseMsg>'
    "</soapenv:Body></soapenv:Envelope>"
)
_G1: Final = (
    f'<s:Envelope xmlns:s="{_SOAP}"><s:Body><ResponseMsg xmlns="{_API}/request">'
    "<![CDATA[%s]]></ResponseMsg></s:Body></s:Envelope>"
)
_DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8"?>'
_G2_INNER: Final = (
    _DECLARATION + "<Response><ResponseCode>%s</ResponseCode><ConversationID>%s</ConversationID>"
    "<ResponseDesc>%s</ResponseDesc><OriginatorConversationID>%s</OriginatorConversationID>"
    "<ServiceStatus>0</ServiceStatus></Response>"
)
_G1_INNER: Final = (
    f'<Response xmlns="{_API}/response"><ResponseCode>%s</ResponseCode>'
    "<ConversationID>%s</ConversationID>"
    "<OriginatorConversationID>%s</OriginatorConversationID>"
    "<ServiceStatus>0</ServiceStatus></Response>"
)
_BROKER_INNER: Final = (
    _DECLARATION + f'<response xmlns="{_API}/response"><ResponseCode>%s</ResponseCode>'
    "<ResponseDesc>%s</ResponseDesc></response>"
)
_FAULT: Final = (
    _DECLARATION + f'<soapenv:Envelope xmlns:soapenv="{_SOAP}"><soapenv:Body><soapenv:Fault>'
    "<faultcode>soapenv:%s</faultcode><faultstring>%s</faultstring><detail/>"
    "</soapenv:Fault></soapenv:Body></soapenv:Envelope>"
)
_PAGE: Final = (
    "<!DOCTYPE html><html><head><title>Service unavailable</title></head>"
    "<body><h1>Service unavailable</h1><p>Please try again later.<br></body></html>"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer; `drop` closes the connection without any."""

    status: int = 200
    body: bytes = b""
    content_type: str = XML
    drop: bool = False


DROPPED: Final = Answer(drop=True)


def response(code: str, originator: str, conversation: str, *, name: str = "", shape: str) -> bytes:
    """Guarantees a GenericAPIResponse; broker codes carry no ids (protocol §3.2).

    `shape`: `g2`, `g1`, `padded` (blanks inside and around, as G2 was seen to echo the id) or
    `reordered` (the XSD's order of fields).
    """
    text = escape(codes.response_text(code, name))
    if not codes.is_core(code) or code == codes.CACHED:
        return (_G2 % (_BROKER_INNER % (code, text))).encode()
    identifier = escape(originator)
    if shape == "g1":
        return (_G1 % (_G1_INNER % (code, conversation, identifier))).encode()
    if shape == "padded":
        inner = _G2_INNER % (f" {code}", conversation, text, identifier + "\n   ")
        return (_G2 % f"\n      {inner}\n      ").encode()
    if shape == "reordered":
        inner = _G2_INNER % (code, conversation, text, identifier)
        moved = f"<ConversationID>{conversation}</ConversationID>"
        inner = inner.replace(moved, "").replace("<OriginatorC", moved + "<OriginatorC", 1)
        return (_G2 % inner).encode()
    return (_G2 % (_G2_INNER % (code, conversation, text, identifier))).encode()


def fault(text: str = "Internal Server Exception", *, who: str = "Server") -> Answer:
    """Guarantees a SOAP 1.1 fault with HTTP 500."""
    return Answer(500, (_FAULT % (who, escape(text))).encode())


def spoiled(how: str) -> Answer:
    """Guarantees an answer that carries no Response: `drop`, `http_500`, `html`, `empty`, `fault`.

    No public document shows any of these from the Kenyan broker; they are what terminators and
    application servers in front of it send.
    """
    if how == "http_500":
        return Answer(500, b"Internal Server Error", "text/plain")
    if how == "html":
        return Answer(200, _PAGE.encode(), "text/html")
    if how == "empty":
        return Answer(200, b"")
    return fault() if how == "fault" else DROPPED


def timeout_notice(originator: str, request: bytes) -> bytes:
    """Guarantees a notifyQueueTimeout that carries `request` in base64 lines (protocol §5.1)."""
    wrapped = base64.encodebytes(request).decode().strip()
    return (
        f'<soapenv:Envelope xmlns:soapenv="{_SOAP}" xmlns:loc="{_TIMEOUT}"><soapenv:Header/>'
        "<soapenv:Body><loc:notifyQueueTimeout>"
        f"<loc:originatorConversationID>{escape(originator)}</loc:originatorConversationID>"
        f"<loc:originRequest>{wrapped}</loc:originRequest>"
        "</loc:notifyQueueTimeout></soapenv:Body></soapenv:Envelope>"
    ).encode()


_LISTS: Final = (
    ("submitApiRequestList", "submitApiRequest"),
    ("submitApiResponseList", "submitApiResponse"),
    ("submitApiResultList", "submitApiResult"),
    ("queueTimeOutList", "queueTimeOut"),
)


def query_answer(code: str, logged: Mapping[str, Sequence[bytes]]) -> bytes:
    """Guarantees a queryTransactionResponse with the logged HTTP messages (protocol §5.2).

    `logged` maps `submitApiRequest`, `submitApiResponse`, `submitApiResult` and `queueTimeOut` to
    complete HTTP messages; a list without any is an empty element.
    """
    text = "Success" if not code.strip("0") else escape(codes.response_text(code))
    lists = "".join(_list(outer, inner, logged.get(inner, ())) for outer, inner in _LISTS)
    return (
        f'<soapenv:Envelope xmlns:soapenv="{_SOAP}"><soapenv:Body>'
        f'<ns1:queryTransactionResponse xmlns:ns1="{_QUERY}"><ns1:result>'
        f'<ns2:ResponseCode xmlns:ns2="{_API}/response">{code}</ns2:ResponseCode>'
        f'<ns3:ResponseDesc xmlns:ns3="{_API}/response">{text}</ns3:ResponseDesc>'
        f"</ns1:result>{lists}</ns1:queryTransactionResponse></soapenv:Body></soapenv:Envelope>"
    ).encode()


def query_refusal(code: str, name: str = "") -> bytes:
    """Guarantees the refusal of a queryTransaction; its code has no namespace, as documented."""
    return (
        f'<soapenv:Envelope xmlns:soapenv="{_SOAP}" xmlns:loc="{_QUERY}"><soapenv:Header/>'
        "<soapenv:Body><loc:queryTransactionResponse><loc:result>"
        f"<ResponseCode>{code}</ResponseCode>"
        f"<ResponseDesc>{escape(codes.response_text(code, name))}</ResponseDesc>"
        "</loc:result></loc:queryTransactionResponse></soapenv:Body></soapenv:Envelope>"
    ).encode()


def _list(outer: str, inner: str, messages: Sequence[bytes]) -> str:
    if not messages:
        return f"<ns1:{outer}/>"
    items = "".join(
        f"<ns1:{inner}>{base64.b64encode(message).decode()}</ns1:{inner}>" for message in messages
    )
    return f"<ns1:{outer}>{items}</ns1:{outer}>"
