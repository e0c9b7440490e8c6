"""What stands in the cells of a statement, read: money, instants, receivers, ids. Pure functions.

Each function is bounded by the length that it looks at; none repeats a cell in an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

MAX_ID: Final = 160
_LOOK: Final = 2048
_MONEY: Final = re.compile(
    r"(?P<sign>[-+(]?) ?(?:[A-Za-z]{2,4}\.? ?)?(?P<minus>-?)"
    r"(?P<units>[0-9]{1,13}|[0-9]{1,3}(?:,[0-9]{3}){1,4})(?:\.(?P<cents>[0-9]{1,2})0*)?\)?"
)
_DATE: Final = (
    r"(?:(?P<y>[0-9]{4})[-/.](?P<m>[0-9]{1,2})[-/.](?P<d>[0-9]{1,2})"
    r"|(?P<dd>[0-9]{1,2})[-/.](?P<mm>[0-9]{1,2})[-/.](?P<yy>[0-9]{4}))"
)
_TIME: Final = (
    r"(?P<H>[0-9]{1,2}):(?P<M>[0-9]{2})(?::(?P<S>[0-9]{2})(?:\.[0-9]{1,6})?)?"
    r"(?: ?(?P<half>[AaPp])[Mm])?(?P<zone>Z|[+-][0-9]{2}:?[0-9]{2})?"
)
_INSTANT: Final = re.compile(_DATE + r"[T ]{1,2}" + _TIME)
_DIGITS: Final = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})")
_DIALLED: Final = r"(?<![\w*])\+?(?:[0-9]{9,15}|[0-9]{2,9}[*xX]{2,9}[0-9]{2,5})(?![\w*])"
_NUMBER: Final = re.compile(_DIALLED, re.ASCII)
_TO_NUMBER: Final = re.compile(rf"\b[Tt][Oo]\b[ -]{{1,4}}({_DIALLED})", re.ASCII)
_OWN_ID: Final = re.compile(
    r"(?<![\w.-])[0-9]{1,20}_[A-Za-z0-9]{1,32}(?:-r[0-9]{1,6})?_[\w.-]{1,64}", re.ASCII
)
_CONVERSATION: Final = re.compile(r"(?<![\w.-])AG_[0-9]{8}_[0-9a-fA-F]{8,40}(?!\w)", re.ASCII)
_RECEIPT: Final = re.compile(r"[\w.-]{4,64}", re.ASCII)
_NATIONAL: Final = 10
_NOON: Final = 12


def money_of(text: str) -> int:
    """Return the minor units of a text such as `-1,250.50`, `Ksh 20` or `(3.00)`; empty is 0.

    Raises:
        ValueError: it is no amount, or has a fraction of a cent.
    """
    if not text:
        return 0
    found = _MONEY.fullmatch(text[:_LOOK])
    if found is None or (found["sign"] == "(") != text.endswith(")"):
        raise ValueError("the amount cannot be read")
    if found["sign"] and found["minus"]:
        raise ValueError("the amount cannot be read")
    minor = int(found["units"].replace(",", "")) * 100 + int((found["cents"] or "").ljust(2, "0"))
    negative = found["sign"] in {"-", "("} or bool(found["minus"])
    return -minor if negative else minor


def instant_of(text: str, zone: timezone) -> datetime:
    """Return the instant of a text such as `27-11-2026 17:05:59`, day first unless the year is.

    Args:
        text: date and time, perhaps with an offset of its own.
        zone: the local time of a text without one.

    Raises:
        ValueError: it is no instant, such as one with its month first.
    """
    compact = _DIGITS.fullmatch(text)
    if compact is not None:
        return _instant([int(part) for part in compact.groups()], zone)
    found = _INSTANT.fullmatch(text[:_LOOK])
    if found is None:
        raise ValueError("the time cannot be read")
    day = (found["y"], found["m"], found["d"])
    if found["y"] is None:
        day = (found["yy"], found["mm"], found["dd"])
    hour = int(found["H"])
    if found["half"]:
        if not 1 <= hour <= _NOON:
            raise ValueError("the time cannot be read")
        hour = hour % _NOON + (_NOON if found["half"] in "Pp" else 0)
    parts = [*map(int, day), hour, int(found["M"]), int(found["S"] or 0)]
    return _instant(parts, _zone(found["zone"]) or zone)


def _instant(parts: list[int], zone: timezone) -> datetime:
    year, month, day, hour, minute, second = parts
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(
            "the time cannot be read; dates have their day or their year first"
        ) from None


def _zone(text: str | None) -> timezone | None:
    if text is None:
        return None
    if text == "Z":
        return UTC
    distance = timedelta(hours=int(text[1:3]), minutes=int(text[-2:]))
    if distance >= timedelta(days=1):
        raise ValueError("the time cannot be read")
    return timezone(-distance if text[0] == "-" else distance)


def is_receipt(text: str) -> bool:
    """Tell whether a text can be a receipt."""
    return _RECEIPT.fullmatch(text) is not None


def receiver_of(party: str, details: str) -> str | None:
    """Return the receiver's number, perhaps masked, in the form of the wire; else None.

    In details only what stands behind “to” is one: other long numbers may be references.
    """
    found = _NUMBER.search(party[:_LOOK])
    if found is not None:
        return _dialled(found[0])
    behind = _TO_NUMBER.search(details[:_LOOK])
    return _dialled(behind[1]) if behind is not None else None


def _dialled(text: str) -> str:
    number = text.removeprefix("+").replace("x", "*").replace("X", "*")
    return "254" + number[1:] if _is_national(number) else number


def _is_national(number: str) -> bool:
    return number.startswith(("07", "01")) and len(number) == _NATIONAL


def same_receiver(told: str, msisdn: str) -> bool:
    """Tell whether a number can be the receiver's: whole, with its middle hidden, or no number."""
    if "*" not in told:
        return told == msisdn or len(told) != len(msisdn)
    head, tail = told[: told.index("*")], told[told.rindex("*") + 1 :]
    if head.startswith("0"):
        head = "254" + head[1:]
    return msisdn.startswith(head) and msisdn.endswith(tail)


def own_ids_in(text: str) -> Iterator[str]:
    """Give what in a text has the form of our OriginatorConversationID.

    A full stop at its end may be the sentence's or the id's: both readings are given.
    """
    for found in _OWN_ID.findall(text[:_LOOK]):
        yield found
        if found.endswith("."):
            yield found.rstrip(".")


def conversations_in(text: str) -> Iterator[str]:
    """Give what in a text has the form of M-PESA's ConversationID."""
    yield from _CONVERSATION.findall(text[:_LOOK])
