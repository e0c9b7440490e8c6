"""What an account, its TLS and its time-outs are, handed in; nothing here reads the environment."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta, timezone, tzinfo
from enum import StrEnum
from pathlib import Path
from typing import Final

from payouts.domain.values import AccountName

NAIROBI: Final = timezone(timedelta(hours=3), "EAT")
"""East Africa Time has no summer time, so that a fixed offset is exact."""


class HeaderNamespace(StrEnum):
    """In which namespace the RequestSOAPHeader stands; the live broker takes both (§1.2)."""

    A = "http://www.huawei.com.cn/schema/common/v2_1"
    B = "http://www.huawei.com/schema/osg/common/v2_1"


class DigestForm(StrEnum):
    """What of the SHA-256 digest is base64-encoded in spPassword (§2.1)."""

    UPPER = "upper"
    LOWER = "lower"
    RAW = "raw"


class HeaderTime(StrEnum):
    """In which time the header's timeStamp is; documented is UTC (§1.7)."""

    UTC = "utc"
    LOCAL = "local"


class AckNamespace(StrEnum):
    """In which namespace the acknowledgement's ResponseMsg stands (§4.5, Contradiction)."""

    REQUEST = "http://api-v1.gen.mm.vodafone.com/mminterface/request"
    RESULT = "http://api-v1.gen.mm.vodafone.com/mminterface/result"


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayAccount:
    """One paying account as the wire needs it. Its repr shows the name and the short code only.

    Args:
        name: as commands name it.
        shortcode: the paying organisation's short code.
        sp_id: the service provider's id at the broker; `sp_password` its password in clear.
        service_id: the service at the broker, usually the SP's id and `000`.
        initiator_username: the API operator; `initiator_password` its password in clear.
        api_certificate: X.509, PEM or DER; its key encrypts the initiator's password.
        gateway_url: where GenericAPIRequest is posted.
        query_url: where queryTransaction is posted; empty: not available.
        result_url: our callback server's Result address, as M-PESA sees it.
        queue_timeout_url: the same for notifyQueueTimeout.
        third_party_id: the core-side caller; empty: the SP's id.
        language_code: reserved; empty or `0`.
        access_device: the AccessDevice's identifier; all known senders send this constant.
        zone: the gateway's local time, for `header_time` LOCAL and queryDate.
    """

    name: AccountName
    shortcode: str
    sp_id: str = field(repr=False)
    sp_password: str = field(repr=False)
    service_id: str = field(repr=False)
    initiator_username: str = field(repr=False)
    initiator_password: str = field(repr=False)
    api_certificate: bytes = field(repr=False)
    gateway_url: str = field(repr=False)
    result_url: str = field(repr=False)
    queue_timeout_url: str = field(repr=False)
    query_url: str = field(default="", repr=False)
    organisation: str = field(default="ORG", repr=False)
    third_party_id: str = field(default="", repr=False)
    language_code: str = field(default="", repr=False)
    access_device: str = field(default="Identifier3", repr=False)
    header_namespace: HeaderNamespace = field(default=HeaderNamespace.B, repr=False)
    header_time: HeaderTime = field(default=HeaderTime.UTC, repr=False)
    digest: DigestForm = field(default=DigestForm.UPPER, repr=False)
    zone: tzinfo = field(default=NAIROBI, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsOptions:
    """How TLS to the gateway is made. Its verification cannot be turned off.

    Args:
        ca_file: the certificates that may have signed the gateway's; None: the system's.
        certificate_file: our client certificate, PEM; None: we show none.
        key_file: its private key, PEM; None: it is in `certificate_file`.
        key_password: the private key's password.
    """

    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    key_password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long the client waits, in seconds.

    Args:
        connect_s: for TCP and TLS to come about; longer is `NotSent`.
        total_s: for the whole request; longer, once it was written, is `OutcomeUnknown`.
        keep_alive_s: how long an idle connection may be used again. It stays below what servers
            usually allow (5 s), as a request written while the server hangs up is in doubt.
            0: never.
    """

    connect_s: float = 10.0
    total_s: float = 30.0
    keep_alive_s: float = 4.0
