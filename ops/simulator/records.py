"""What the books consist of: requests, payments, the lines of their file, and their numbers."""

import datetime as dt
import re
from enum import StrEnum

import msgspec

_KEY = re.compile(r"\d+_[A-Za-z0-9]+(?:-r\d+)?_(.+)", re.DOTALL)
_BASE36 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_SERIAL_DIGITS = 7
_STRIDE = 28_211_845_607  # Odd and no multiple of 3: serials then visit every value once.
MARKET_TIME = dt.timezone(dt.timedelta(hours=3))


class State(StrEnum):
    """Where a request is on the gateway's side."""

    QUEUED = "queued"  # cached by the broker, unknown to the core
    ACCEPTED = "accepted"  # the core will pay or decline it in a moment
    PAID = "paid"  # the money moved
    FAILED = "failed"  # declined; no money moved
    EXPIRED = "expired"  # dropped by the broker, the id is free again


class Conversation(msgspec.Struct, kw_only=True):
    """One accepted request, from its acceptance to its Result."""

    originator_conversation_id: str
    conversation_id: str
    command_id: str
    msisdn: str
    amount: int
    short_code: str
    result_url: str
    timeout_url: str
    references: list[tuple[str, str]]
    accepted_at: float
    verdict: str = "0"
    results: int = 1
    pays: bool = False
    status: str = ""
    hidden_until: float = 0.0
    state: State = State.ACCEPTED
    result_code: str = ""
    receipt: str = ""
    ended_at: float = 0.0
    told_at: float = 0.0
    balance: int = 0
    faults: list[str] = []


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """When a request was accepted and its first Result sent, in seconds since 1970; 0 = not yet."""

    originator_conversation_id: str
    accepted_at: float
    told_at: float


class Payment(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the ledger: money that moved."""

    originator_conversation_id: str
    conversation_id: str
    receipt: str
    msisdn: str
    amount: str
    short_code: str
    command_id: str
    paid_at: str


class Accepted(msgspec.Struct, tag="accepted", tag_field="event"):
    """A request was accepted or queued."""

    conversation: Conversation


class Ended(msgspec.Struct, tag="ended", tag_field="event", omit_defaults=True):
    """A request was paid, declined or expired; `payment` is the ledger line, when paid."""

    conversation: Conversation
    payment: Payment | None = None


class Delivered(msgspec.Struct, tag="delivered", tag_field="event"):
    """The Result was acknowledged or given up; nothing is left to do for this request."""

    conversation_id: str


class Floated(msgspec.Struct, tag="floated", tag_field="event"):
    """A float was set by hand."""

    short_code: str
    amount: int


Event = Accepted | Ended | Delivered | Floated


def payout_key(originator_conversation_id: str) -> str:
    """Guarantees the payout id: the id without short code, organisation and resubmission.

    `600000_ORG-r2_salary-7` and `600000_ORG_salary-7` are the same payout, `salary-7`.
    """
    found = _KEY.fullmatch(originator_conversation_id)
    return found[1] if found else originator_conversation_id


def money(cents: int) -> str:
    """Guarantees two decimals, exactly: `-1234` is `-12.34`."""
    sign = "-" if cents < 0 else ""
    return f"{sign}{abs(cents) // 100}.{abs(cents) % 100:02}"


def receipt_number(serial: int, moment: float) -> str:
    """Guarantees a receipt of 10 characters, unique for the serial, that carries its date.

    Year, month and day are one character each (protocol §4.4).
    """
    day = dt.datetime.fromtimestamp(moment, MARKET_TIME)
    rest = serial * _STRIDE % 36**_SERIAL_DIGITS
    digits = ""
    for _ in range(_SERIAL_DIGITS):
        rest, digit = divmod(rest, 36)
        digits = _BASE36[digit] + digits
    return date_letters(day) + digits


def date_letters(day: dt.datetime) -> str:
    """Guarantees the three characters that begin a receipt of that day (protocol §4.4)."""
    year = chr(ord("A") + (day.year - 2006) % 26)
    return year + chr(ord("A") + day.month - 1) + "0123456789ABCDEFGHIJKLMNOPQRSTUV"[day.day]
