"""How figures, instants and texts are written for people. Pure functions."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from payouts.domain.values import format_amount, mask_msisdn

_NUMBER: Final = re.compile(r"(?<!\w)(?:\+?254|0)[17]\d{8}(?!\d)")
_MINUTE_S = 60
_HOUR_S = 3600
_DAY_S = 86400


def count(number: int) -> str:
    """Return a count with its thousands apart, such as `1,000`."""
    return f"{number:,}"


def money(minor: int, currency: str = "") -> str:
    """Return an amount with its thousands apart and its currency, such as `KES 1,250.50`."""
    sign = "-" if minor < 0 else ""
    units, cents = format_amount(abs(minor)).split(".")
    return f"{currency} {sign}{int(units):,}.{cents}".strip()


def plural(number: int, singular: str, several: str = "") -> str:
    """Return a count and its noun, such as `1 payout` or `2 payouts`."""
    return f"{count(number)} {singular if number == 1 else several or singular + 's'}"


def moment(value: datetime | None) -> str:
    """Return an instant in UTC to the millisecond, such as `2026-11-23 19:50:25.123Z`."""
    if value is None:
        return ""
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "Z"


def duration(seconds: float) -> str:
    """Return a length of time to two units at most, such as `2 min 5 s`."""
    whole = round(abs(seconds))
    if whole < 1:
        return "less than 1 s"
    if whole < _MINUTE_S:
        return f"{whole} s"
    if whole < _HOUR_S:
        return _two(whole // 60, "min", whole % 60, "s")
    if whole < _DAY_S:
        return _two(whole // 3600, "h", whole % 3600 // 60, "min")
    return _two(whole // 86400, "d", whole % 86400 // 3600, "h")


def _two(first: int, first_unit: str, second: int, second_unit: str) -> str:
    rest = f" {second} {second_unit}" if second else ""
    return f"{first} {first_unit}{rest}"


def relative(value: datetime, now: datetime) -> str:
    """Return how far an instant is from now, such as `in 12 s` or `3 min ago`."""
    seconds = (value - now).total_seconds()
    return f"in {duration(seconds)}" if seconds >= 0 else f"{duration(seconds)} ago"


def printable(text: object) -> str:
    """Return the text with whatever could steer a terminal made visible.

    Descriptions come from the gateway and from files; an escape sequence in one must not act.
    """
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in str(text)
    )


def hide_numbers(text: str) -> str:
    """Return the text with every receiver's number in it masked.

    What the gateway says of a payment is free text and sometimes names the receiver.
    """
    return _NUMBER.sub(lambda found: mask_msisdn(found[0]), text)
