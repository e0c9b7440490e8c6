"""What we send: the payment, the TransactionStatusQuery and queryTransaction of an account."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from payouts.domain.payout import Payout
from payouts.domain.values import OriginatorConversationId, format_amount
from payouts.mpesa.credentials import security_credential
from payouts.mpesa.envelope import (
    REQUEST_NS,
    RESULT_NS,
    SOAP_NS,
    Header,
    escape,
    literal,
    request_message,
)
from payouts.mpesa.settings import GatewayAccount, HeaderNamespace

_DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8"?>'
_QUERY_NS: Final = "http://www.csapi.org/schema/transaction/data/v1_0/local"
_STATUS_QUERY: Final = "TransactionStatusQuery"


class Requests:
    """Makes an account's messages from templates that are compiled once.

    Args:
        account: the paying account; its password is encrypted here, once.

    Raises:
        SettingsError: the account's certificate or password is not usable.
    """

    def __init__(self, account: GatewayAccount) -> None:
        self._account = account
        self._header = Header(account, account.header_namespace)
        self._query_header = Header(account, HeaderNamespace.A)
        credential = security_credential(account.api_certificate, account.initiator_password)
        self._payment = _request(account, "Amount", _identity(account, credential, _MSISDN))
        own = _party("ReceiverParty", "4", literal(account.shortcode, "shortcode"))
        self._status_query = _request(
            account, "OriginatorConversationID", _identity(account, credential, own)
        )

    def payment(self, payout: Payout, now: datetime) -> bytes:
        """Return the GenericAPIRequest of a payout, in XSD order (D-B2C15 §4.1).

        Raises:
            InvalidCommandError: a text of the payout cannot be written in XML.
        """
        occasion = ""
        if payout.occasion:
            occasion = _OCCASION % escape(payout.occasion, "occasion")
        inner = self._payment % {
            "command": escape(payout.command_id, "command_id"),
            "id": escape(payout.originator_conversation_id, "originator_conversation_id"),
            "remark": escape(payout.remark or "", "remark"),
            "value": format_amount(payout.amount_minor),
            "occasion": occasion,
            "timestamp": _timestamp(now),
            "msisdn": escape(payout.msisdn, "msisdn"),
        }
        return request_message(self._header.at(now), inner)

    def status_query(
        self, payout: Payout, query_id: OriginatorConversationId, now: datetime
    ) -> bytes:
        """Return the TransactionStatusQuery about a payout, under its own id (D-B2B03 §5.16)."""
        inner = self._status_query % {
            "command": _STATUS_QUERY,
            "id": escape(query_id, "query_id"),
            "remark": "",
            "value": escape(payout.originator_conversation_id, "originator_conversation_id"),
            "occasion": "",
            "timestamp": _timestamp(now),
        }
        return request_message(self._header.at(now), inner)

    def broker_query(self, payout: Payout, now: datetime) -> bytes:
        """Return the queryTransaction about a payout (D-B2C15 §4.4).

        queryDate only makes the search faster. In which zone and how narrowly the broker
        compares it is not known, so it is given only when every reading names the same day.
        """
        query = _BROKER_QUERY % (
            escape(payout.originator_conversation_id, "originator_conversation_id"),
            self._query_date(payout),
        )
        header = self._query_header.at(now)
        return f"{_BROKER_OPENING}{header}{query}".encode()

    def _query_date(self, payout: Payout) -> str:
        first = payout.submitted_at or payout.created_at
        last = payout.last_sent_at or first
        zone = self._account.zone
        days = {instant.astimezone(tz).date() for instant in (first, last) for tz in (UTC, zone)}
        if len(days) > 1:
            return ""
        return _QUERY_DATE % first.astimezone(zone).strftime("%Y%m%d%H%M%S")


def _timestamp(now: datetime) -> str:
    """Return the instant as UTC with milliseconds; it must be current (code 19, §1.7)."""
    return now.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def _party(element: str, identifier_type: str, identifier: str, shortcode: str = "") -> str:
    """Return a party; its texts are escaped already."""
    belongs_to = f"<ShortCode>{shortcode}</ShortCode>" if shortcode else ""
    return (
        f"<{element}><IdentifierType>{identifier_type}</IdentifierType>"
        f"<Identifier>{identifier}</Identifier>{belongs_to}</{element}>"
    )


_MSISDN: Final = _party("ReceiverParty", "1", "%(msisdn)s")
_OCCASION: Final = "<ReferenceItem><Key>Occasion</Key><Value>%s</Value></ReferenceItem>"


def _identity(account: GatewayAccount, credential: str, receiver: str) -> str:
    """Return the template of the Identity element around a receiver's template."""
    shortcode = literal(account.shortcode, "shortcode")
    caller = literal(account.third_party_id or account.sp_id, "third_party_id")
    device = ""
    if account.access_device:
        device = _party("AccessDevice", "1", literal(account.access_device, "access_device"))
    return (
        "<Identity><Caller><CallerType>2</CallerType>"
        f"<ThirdPartyID>{caller}</ThirdPartyID>"
        f"<ResultURL>{literal(account.result_url, 'result_url')}</ResultURL></Caller>"
        "<Initiator><IdentifierType>11</IdentifierType>"
        f"<Identifier>{literal(account.initiator_username, 'initiator_username')}</Identifier>"
        f"<SecurityCredential>{credential}</SecurityCredential>"
        f"<ShortCode>{shortcode}</ShortCode></Initiator>"
        f"{_party('PrimaryParty', '4', shortcode, shortcode)}{receiver}{device}</Identity>"
    )


def _request(account: GatewayAccount, parameter: str, identity: str) -> str:
    """Return the template of an inner document with one parameter."""
    return (
        f'{_DECLARATION}<request xmlns="{REQUEST_NS}"><Transaction>'
        "<CommandID>%(command)s</CommandID>"
        f"<LanguageCode>{literal(account.language_code, 'language_code')}</LanguageCode>"
        "<OriginatorConversationID>%(id)s</OriginatorConversationID>"
        "<ConversationID></ConversationID><Remark>%(remark)s</Remark>"
        f"<Parameters><Parameter><Key>{parameter}</Key><Value>%(value)s</Value></Parameter>"
        "</Parameters><ReferenceData><ReferenceItem><Key>QueueTimeoutURL</Key>"
        f"<Value>{literal(account.queue_timeout_url, 'queue_timeout_url')}</Value>"
        "</ReferenceItem>%(occasion)s</ReferenceData>"
        f"<Timestamp>%(timestamp)s</Timestamp></Transaction>{identity}"
        "<KeyOwner>1</KeyOwner></request>"
    )


_BROKER_OPENING: Final = (
    f'{_DECLARATION}<soapenv:Envelope xmlns:soapenv="{SOAP_NS}" xmlns:loc="{_QUERY_NS}"'
    f' xmlns:res="{RESULT_NS}"><soapenv:Header>'
)
_BROKER_QUERY: Final = (
    "</soapenv:Header><soapenv:Body><loc:queryTransaction>"
    "<loc:originatorConversationID>%s</loc:originatorConversationID>%s"
    "</loc:queryTransaction></soapenv:Body></soapenv:Envelope>"
)
_QUERY_DATE: Final = (
    "<loc:extensionInfo><loc:item><res:Key>queryDate</res:Key><res:Value>%s</res:Value></loc:item>"
    "</loc:extensionInfo>"
)
