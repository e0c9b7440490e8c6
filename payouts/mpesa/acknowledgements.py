"""What we answer to callbacks: acknowledgements and faults, as ready-made bytes."""

from __future__ import annotations

from enum import Enum
from typing import Final

from payouts.mpesa.envelope import RESPONSE_NS, RESULT_NS, SOAP_NS, escape
from payouts.mpesa.settings import AckNamespace

CONTENT_TYPE: Final = "text/xml; charset=utf-8"
_TIMEOUT_NS: Final = "http://www.csapi.org/schema/timeoutnotification/data/v1_0/local"


class Acknowledgement(Enum):
    """What a callback is answered: code and words (D-B2C15 §5.2.2, protocol.md §4.5)."""

    SUCCESS = ("00000000", "success")
    OVERLOAD = ("200000001", "The system is overloaded, send it again later")
    INTERNAL_ERROR = ("200000003", "Internal error")


class FaultCode(Enum):
    """Whose fault a message is that cannot be taken (SOAP 1.1 §4.4.1)."""

    CLIENT = "Client"
    SERVER = "Server"


def result_acknowledgement(
    acknowledgement: Acknowledgement, namespace: AckNamespace = AckNamespace.REQUEST
) -> bytes:
    """Return the answer to a Result, in the document's namespace unless told otherwise."""
    code, words = acknowledgement.value
    return (
        f'<soapenv:Envelope xmlns:soapenv="{SOAP_NS}" xmlns:ack="{namespace.value}">'
        "<soapenv:Header/><soapenv:Body><ack:ResponseMsg><![CDATA["
        f'<?xml version="1.0" encoding="UTF-8"?><response xmlns="{RESPONSE_NS}">'
        f"<ResponseCode>{code}</ResponseCode><ResponseDesc>{words}</ResponseDesc></response>"
        "]]></ack:ResponseMsg></soapenv:Body></soapenv:Envelope>"
    ).encode()


def queue_timeout_acknowledgement(acknowledgement: Acknowledgement) -> bytes:
    """Return the answer to a notifyQueueTimeout; whatever is not success is 000000001."""
    _, words = acknowledgement.value
    code = "00000000" if acknowledgement is Acknowledgement.SUCCESS else "000000001"
    return (
        f'<soapenv:Envelope xmlns:soapenv="{SOAP_NS}" xmlns:loc="{_TIMEOUT_NS}"'
        f' xmlns:res="{RESULT_NS}"><soapenv:Header/><soapenv:Body>'
        "<loc:notifyQueueTimeoutResponse><loc:result>"
        f"<res:ResultCode>{code}</res:ResultCode><res:ResultDesc>{words}</res:ResultDesc>"
        "</loc:result></loc:notifyQueueTimeoutResponse></soapenv:Body></soapenv:Envelope>"
    ).encode()


def soap_fault(code: FaultCode, words: str) -> bytes:
    """Return a SOAP 1.1 fault; `words` must not repeat what was received."""
    return (
        f'<soapenv:Envelope xmlns:soapenv="{SOAP_NS}"><soapenv:Body><soapenv:Fault>'
        f"<faultcode>soapenv:{code.value}</faultcode>"
        f"<faultstring>{escape(words, 'fault')}</faultstring>"
        "</soapenv:Fault></soapenv:Body></soapenv:Envelope>"
    ).encode()
