"""The SOAP envelope that we send: escaping, the header of the second, the CDATA around."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from payouts.domain.errors import InvalidCommandError
from payouts.mpesa.credentials import sp_password
from payouts.mpesa.settings import GatewayAccount, HeaderNamespace, HeaderTime

REQUEST_NS: Final = "http://api-v1.gen.mm.vodafone.com/mminterface/request"
RESPONSE_NS: Final = "http://api-v1.gen.mm.vodafone.com/mminterface/response"
RESULT_NS: Final = "http://api-v1.gen.mm.vodafone.com/mminterface/result"
SOAP_NS: Final = "http://schemas.xmlsoap.org/soap/envelope/"

# What XML 1.0 has no way to write, not even as a reference (XML 1.0 §2.2).
_IMPOSSIBLE: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_SPECIAL: Final = re.compile("[&<>\r]")
_STAMP: Final = "%Y%m%d%H%M%S"


def escape(text: str, name: str) -> str:
    """Return `text` so that a reader of the element gets exactly it back.

    `>` is escaped too, so that no `]]>` ends the CDATA around; a carriage return is written as a
    reference, as readers turn a bare one into a line feed.

    Raises:
        InvalidCommandError: a character that XML cannot carry. Only `name` is told.
    """
    if _IMPOSSIBLE.search(text):
        raise InvalidCommandError((f"{name}: must not contain control characters",))
    if _SPECIAL.search(text) is None:
        return text
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace("\r", "&#13;")


class Header:
    """The RequestSOAPHeader of an account, made once per second and namespace."""

    def __init__(self, account: GatewayAccount, namespace: HeaderNamespace) -> None:
        self._account = account
        self._zone = UTC if account.header_time is HeaderTime.UTC else account.zone
        self._template = _header_template(account, namespace)
        self._second: datetime | None = None
        self._text = ""

    def at(self, now: datetime) -> str:
        """Return the header element for this instant, with its stamp and digest."""
        second = now.replace(microsecond=0)
        if second != self._second:
            stamp = now.astimezone(self._zone).strftime(_STAMP)
            account = self._account
            digest = sp_password(account.sp_id, account.sp_password, stamp, account.digest)
            self._text = self._template % {"digest": digest, "stamp": stamp}
            self._second = second
        return self._text


def _header_template(account: GatewayAccount, namespace: HeaderNamespace) -> str:
    sp_id = literal(account.sp_id, "sp_id")
    service = literal(account.service_id, "service_id")
    parts = {
        "spId": f"<h:spId>{sp_id}</h:spId>",
        "spPassword": "<h:spPassword>%(digest)s</h:spPassword>",
        "timeStamp": "<h:timeStamp>%(stamp)s</h:timeStamp>",
        "serviceId": f"<h:serviceId>{service}</h:serviceId>",
    }
    if namespace is HeaderNamespace.A:
        # The schema of A is a sequence (protocol.md §1.2); B's senders write serviceId last.
        parts["timeStamp"] = parts.pop("timeStamp")
    children = "".join(parts.values())
    return f'<h:RequestSOAPHeader xmlns:h="{namespace.value}">{children}</h:RequestSOAPHeader>'


def literal(text: str, name: str) -> str:
    """Return `text` escaped for XML and for standing in a %-template."""
    return escape(text, name).replace("%", "%%")


_OPENING: Final = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    f'<soapenv:Envelope xmlns:soapenv="{SOAP_NS}" xmlns:req="{REQUEST_NS}"><soapenv:Header>'
)
_TO_INNER: Final = "</soapenv:Header><soapenv:Body><req:RequestMsg><![CDATA["
_CLOSING: Final = "]]></req:RequestMsg></soapenv:Body></soapenv:Envelope>"


def request_message(header: str, inner: str) -> bytes:
    """Return the envelope of a GenericAPIRequest around an inner document, in UTF-8."""
    return f"{_OPENING}{header}{_TO_INNER}{inner}{_CLOSING}".encode()
