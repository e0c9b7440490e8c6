"""A payout command: what upstream publishes, checked in full, all problems told at once.

The rules are the table of contract.md §1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from payouts.domain.errors import InvalidAmountError, InvalidCommandError, InvalidMsisdnError
from payouts.domain.payout import Payout, State
from payouts.domain.values import (
    ID_PATTERN,
    KENYA_MSISDN,
    AccountName,
    PayoutId,
    RunId,
    conversation_id_for,
    format_amount,
    normalise_msisdn,
    parse_amount,
)

MAX_BODY_BYTES: Final = 64 * 1024
MAX_TEXT: Final = 255
MAX_NAMED: Final = 20
MAX_METADATA_BYTES: Final = 2048
COMMAND_IDS: Final = (
    "BusinessPayment",
    "SalaryPayment",
    "PromotionPayment",
    "SalaryPaymentWithWithdrawalChargePaid",
    "BusinessPaymentWithWithdrawalChargePaid",
)
DEFAULT_ACCOUNT: Final = AccountName("default")
REQUIRED: Final = ("payout_id", "amount", "msisdn")
FIELDS: Final = frozenset(
    (
        *REQUIRED,
        "command_id",
        "account",
        "currency",
        "run_id",
        "remark",
        "occasion",
        "not_after",
        "metadata",
    )
)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")
_FIELD_NAME: Final = re.compile(r"(?!(?:[^0-9]*[0-9]){5})[A-Za-z][A-Za-z0-9_-]{0,31}")
_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountRules:
    """What an account accepts: its identity on the wire, its currency, its limits.

    Args:
        min_minor: smallest amount of one payout, in minor units.
        max_minor: largest amount of one payout, in minor units.
        msisdn_pattern: what a receiver's number must match in full after normalisation.
    """

    name: AccountName
    shortcode: str
    organisation: str
    currency: str = "KES"
    min_minor: int = 1
    max_minor: int = 10**15
    msisdn_pattern: re.Pattern[str] = field(default=re.compile(KENYA_MSISDN))


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A valid, normalised payout command. Its repr names no receiver."""

    payout_id: PayoutId
    amount_minor: int
    msisdn: str = field(repr=False)
    command_id: str = COMMAND_IDS[0]
    account: AccountName = DEFAULT_ACCOUNT
    currency: str = "KES"
    run_id: RunId | None = None
    remark: str | None = field(default=None, repr=False)
    occasion: str | None = field(default=None, repr=False)
    not_after: datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=dict, repr=False)


def readable_payout_id(fields: Mapping[str, object]) -> PayoutId | None:
    """Return the payout id of a command that may otherwise be invalid, if it is itself valid."""
    value = fields.get("payout_id")
    if isinstance(value, str) and ID_PATTERN.fullmatch(value):
        return PayoutId(value)
    return None


def validate(fields: Mapping[str, object], account: AccountRules) -> Command:
    """Return the command that `fields` (a decoded JSON object) tells, checked and normalised.

    Raises:
        InvalidCommandError: with every problem found, none of which repeats personal data.
    """
    reading = _Reading(fields, account)
    command = Command(
        payout_id=PayoutId(reading.identifier("payout_id") or ""),
        amount_minor=reading.amount(),
        msisdn=reading.msisdn(),
        command_id=reading.command_id(),
        account=reading.account_name(),
        currency=reading.currency(),
        run_id=_run_id(reading.identifier("run_id")),
        remark=reading.text("remark"),
        occasion=reading.text("occasion"),
        not_after=reading.not_after(),
        metadata=reading.metadata(),
    )
    reading.refuse_unknown()
    if reading.problems:
        raise InvalidCommandError(tuple(reading.problems), readable_payout_id(fields))
    return command


def _has_control(text: str) -> bool:
    # No control character is printable, and most texts are: that is seen without searching.
    return not text.isprintable() and _CONTROL.search(text) is not None


def _run_id(value: str | None) -> RunId | None:
    return None if value is None else RunId(value)


class _Reading:
    """One pass over a command's fields that collects what is wrong."""

    def __init__(self, fields: Mapping[str, object], account: AccountRules) -> None:
        self.fields = fields
        self.account = account
        self.problems: list[str] = []

    def _string(self, name: str) -> str | None:
        value = self.fields.get(name)
        if value is None:
            if name in REQUIRED:
                self.problems.append(f"{name}: is required")
            return None
        if not isinstance(value, str):
            self.problems.append(f"{name}: must be a JSON string")
            return None
        return value

    def identifier(self, name: str) -> str | None:
        value = self._string(name)
        if value is not None and ID_PATTERN.fullmatch(value) is None:
            self.problems.append(f"{name}: must be 1-64 of A-Z a-z 0-9 . _ -")
        return value

    def amount(self) -> int:
        value = self._string("amount")
        if value is None:
            return 0
        try:
            minor = parse_amount(value)
        except InvalidAmountError:
            self.problems.append(
                'amount: must be a decimal text above 0 with at most 2 decimals, such as "1250.50"'
            )
            return 0
        low, high = self.account.min_minor, self.account.max_minor
        if not low <= minor <= high:
            self.problems.append(
                f"amount: must be within {format_amount(low)} and {format_amount(high)},"
                f" the limits of account {self.account.name}"
            )
        return minor

    def msisdn(self) -> str:
        value = self._string("msisdn")
        if value is None:
            return ""
        try:
            return normalise_msisdn(value, self.account.msisdn_pattern)
        except InvalidMsisdnError:
            self.problems.append("msisdn: does not match the receivers' pattern of this market")
            return ""

    def command_id(self) -> str:
        value = self._string("command_id")
        if value is not None and value not in COMMAND_IDS:
            self.problems.append(f"command_id: must be one of {', '.join(COMMAND_IDS)}")
        return value or COMMAND_IDS[0]

    def account_name(self) -> AccountName:
        value = self._string("account")
        if value is not None and value != self.account.name:
            self.problems.append(
                f"account: this queue pays from {self.account.name};"
                " publish with the account's name as routing key"
            )
        return self.account.name

    def currency(self) -> str:
        value = self._string("currency")
        if value is not None and value != self.account.currency:
            self.problems.append(
                f"currency: account {self.account.name} pays {self.account.currency} only"
            )
        return self.account.currency

    def text(self, name: str) -> str | None:
        value = self._string(name)
        if value is None:
            return None
        if len(value) > MAX_TEXT:
            self.problems.append(f"{name}: must have at most {MAX_TEXT} characters")
        elif _has_control(value):
            self.problems.append(f"{name}: must not contain control characters")
        return value

    def not_after(self) -> datetime | None:
        value = self._string("not_after")
        if value is None:
            return None
        if _INSTANT.fullmatch(value):
            with suppress(ValueError, OverflowError):
                return datetime.fromisoformat(value.upper()).astimezone(UTC)
        self.problems.append(
            "not_after: must be an RFC 3339 instant, such as 2026-11-30T17:00:00+03:00"
        )
        return None

    def metadata(self) -> Mapping[str, str]:
        value = self.fields.get("metadata")
        if value is None:
            return {}
        if not isinstance(value, dict) or not {str}.issuperset(
            map(type, (*value, *value.values()))
        ):
            self.problems.append("metadata: must be a flat JSON object of strings")
            return {}
        size, odd = 2, False
        for text in (*value, *value.values()):
            size += 3 + (len(text) if text.isascii() else len(text.encode(errors="replace")))
            odd = odd or _has_control(text)
        if size > MAX_METADATA_BYTES:
            self.problems.append(f"metadata: must take at most {MAX_METADATA_BYTES} bytes")
        if odd:
            self.problems.append("metadata: must not contain control characters")
        return value

    def refuse_unknown(self) -> None:
        if self.fields.keys() <= FIELDS:
            return
        unknown = sorted(name for name in self.fields if name not in FIELDS)
        # A name may be content that slipped into the wrong place: only what looks like a field's
        # is repeated.
        named = [name for name in unknown if _FIELD_NAME.fullmatch(name)][:MAX_NAMED]
        others = len(unknown) - len(named)
        parts = [*map(repr, named), *([f"{others} not named here"] if others else [])]
        self.problems.append(f"unknown fields: {', '.join(parts)}")


_CONTENT: Final = (
    "amount_minor",
    "msisdn",
    "command_id",
    "account",
    "currency",
    "run_id",
    "remark",
    "occasion",
    "not_after",
    "metadata",
)


def differences(command: Command, payout: Payout) -> tuple[str, ...]:
    """Return the names of the fields in which a command differs from the payout it repeats."""
    return tuple(
        name.removesuffix("_minor")
        for name in _CONTENT
        if getattr(command, name) != getattr(payout, name)
    )


def payout_of(command: Command, account: AccountRules, *, state: State, now: datetime) -> Payout:
    """Return the new payout that a command asks for, in its first state, under its one id."""
    return Payout(
        payout_id=command.payout_id,
        account=command.account,
        amount_minor=command.amount_minor,
        currency=command.currency,
        msisdn=command.msisdn,
        command_id=command.command_id,
        originator_conversation_id=conversation_id_for(
            account.shortcode, account.organisation, command.payout_id
        ),
        state=state,
        created_at=now,
        run_id=command.run_id,
        remark=command.remark,
        occasion=command.occasion,
        not_after=command.not_after,
        metadata=command.metadata,
    )
