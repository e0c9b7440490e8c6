"""Settings of one paying account: from the environment, or from its table in the accounts file."""

from __future__ import annotations

from datetime import timedelta, timezone
from enum import StrEnum
from re import compile as compile_pattern

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from payouts.domain.commands import AccountRules
from payouts.domain.values import KENYA_MSISDN, AccountName
from payouts.settings.groups import Group, at_least
from payouts.settings.kinds import (
    AmountMinor,
    Currency,
    HttpUrl,
    MsisdnPattern,
    Organisation,
    Rate,
    ReadableFile,
    Shortcode,
    Text,
    UtcOffset,
)

DEFAULT_ACCOUNT = AccountName("default")


class HeaderNamespaceName(StrEnum):
    """Which of the two namespaces that the broker takes (protocol.md §1.2)."""

    A = "A"
    B = "B"


class HeaderTimeName(StrEnum):
    """In which time the header's stamp is (protocol.md §1.7)."""

    UTC = "utc"
    LOCAL = "local"


class DigestName(StrEnum):
    """What of the digest is encoded in spPassword (protocol.md §2.1)."""

    UPPER = "upper"
    LOWER = "lower"
    RAW = "raw"


class RuleSettings(Group):
    """What an account accepts."""

    shortcode: Shortcode = Field(description="paying short code")
    organisation: Organisation = Field(
        "ORG", description="the organisation name used in ids (`[A-Za-z0-9]`)"
    )
    currency: Currency = Field("KES", description="the account's currency")
    min_amount: AmountMinor = Field(1, description="smallest amount of one payout")
    max_amount: AmountMinor = Field(10**15 - 1, description="largest amount of one payout")
    msisdn_pattern: MsisdnPattern = Field(
        compile_pattern(KENYA_MSISDN),
        description="regular expression that a receiver's normalised number must match in full",
    )

    def rules(self, name: AccountName) -> AccountRules:
        """Return these settings as the domain's rules of the account `name`."""
        return AccountRules(
            name=name,
            shortcode=self.shortcode,
            organisation=self.organisation,
            currency=self.currency,
            min_minor=self.min_amount,
            max_minor=self.max_amount,
            msisdn_pattern=self.msisdn_pattern,
        )

    @field_validator("max_amount")
    @classmethod
    def _limits(cls, value: int, info: ValidationInfo) -> int:
        return at_least(value, "min_amount", info)


class AccountSettings(RuleSettings):
    """How an account reaches the gateway."""

    gateway_url: HttpUrl = Field(description="where GenericAPIRequest is posted")
    query_url: HttpUrl | None = Field(
        None, description="the broker's queryTransaction endpoint; empty = not available"
    )
    sp_id: Text = Field(description="the service provider's id at the broker")
    sp_password: SecretStr = Field(description="its password")
    service_id: Text = Field(description="the service's id at the broker")
    initiator_username: Text = Field(description="the API initiator")
    initiator_password: SecretStr = Field(description="its password")
    api_certificate: ReadableFile = Field(
        description="path of the X.509 certificate (PEM or DER) that encrypts the initiator"
        " password"
    )
    result_url: HttpUrl = Field(
        repr=False, description="the callback server's Result address as M-PESA sees it"
    )
    queue_timeout_url: HttpUrl = Field(repr=False, description="the same for notifyQueueTimeout")
    tps: Rate = Field(
        0.0,
        description="requests per second to this short code, over **all** workers together;"
        " 0 = no limit",
    )
    float_min: AmountMinor | None = Field(
        None,
        description="the account pauses before its balance, less what is on its way, falls below"
        " this; empty = never. The balance is what the last Result told",
    )
    header_namespace: HeaderNamespaceName = Field(
        HeaderNamespaceName.B, description="`A` or `B`: the namespace of the request's header"
    )
    header_time: HeaderTimeName = Field(
        HeaderTimeName.UTC, description="`utc` or `local`: the time in the request's header"
    )
    utc_offset: UtcOffset = Field(
        timezone(timedelta(hours=3)), description="the gateway's local time, such as `+03:00`"
    )
    digest: DigestName = Field(
        DigestName.UPPER,
        description="`upper` or `lower` case hexadecimal, or `raw`: the digest in spPassword",
    )
    third_party_id: str = Field(
        "", max_length=20, description="the caller's id at the core; empty = the SP's id"
    )
