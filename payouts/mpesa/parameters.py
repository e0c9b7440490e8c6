"""The keys and values of a Result: amounts, balances and receivers as G1 and G2 write them."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from payouts.domain.errors import UnreadableMessageError
from payouts.mpesa.soap import local_name, text_of

MAX_PARAMETERS: Final = 256
_MAX_KEY: Final = 256
_MAX_VALUE: Final = 8192
_ITEMS: Final = frozenset({"resultparameter", "parameter"})

_AMOUNT: Final = re.compile(
    r"(?:(?:Kshs?|KES)\.?\s{0,4})?(-?)([0-9]{1,13}|[0-9]{1,3}(?:,[0-9]{3}){1,4})(?:\.([0-9]{1,6}))?",
    re.IGNORECASE,
)
_MONEY_MAP: Final = re.compile(r"\s{0,9}\{\s{0,9}Amount\s{0,9}=\s{0,9}\{([^{}]{1,400})\}\s{0,9}\}")
_RECEIVER: Final = re.compile(r"\+?([0-9]{5,15})\s{0,9}(?:-.*)?", re.DOTALL)


@dataclass(slots=True)
class Parameters:
    """A Result's parameters in its order, found by key regardless of case and blanks."""

    _items: list[tuple[str, str, str]] = field(default_factory=list)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._items)

    def add(self, key: str, value: str) -> None:
        """Add one behind the others."""
        self._items.append((key.replace(" ", "").lower(), key, value))

    def values(self, *keys: str) -> Sequence[str]:
        """Return every non-empty value of these keys (lower case, without blanks)."""
        return [value for plain, _, value in self._items if value and plain in keys]

    def first(self, *keys: str) -> str | None:
        """Return the first non-empty value of these keys, or None."""
        return next(iter(self.values(*keys)), None)

    def mapping(self) -> Mapping[str, str]:
        """Return keys as sent with their values; the first one counts where a key repeats."""
        found: dict[str, str] = {}
        for _, key, value in self._items:
            found.setdefault(key, value)
        return found


def parameters_of(document: ET.Element) -> Parameters:
    """Return the parameters of a Result document; unknown elements among them are passed over.

    Raises:
        UnreadableMessageError: there are more of them, or longer ones, than any Result has.
    """
    parameters = Parameters()
    for child in document:
        if local_name(child) == "resultparameters":
            _collect(child, parameters, levels=2)
    if len(parameters) > MAX_PARAMETERS:
        raise UnreadableMessageError("It has too many parameters.")
    return parameters


def _collect(parent: ET.Element, into: Parameters, levels: int) -> None:
    """Add the items of `parent`; one sample nests them one level deeper (protocol.md §4.2)."""
    for item in parent:
        if local_name(item) not in _ITEMS:
            continue
        parts = {local_name(part): text_of(part) for part in item}
        key, value = parts.get("key"), parts.get("value", "")
        if key:
            if len(key) > _MAX_KEY or len(value) > _MAX_VALUE:
                raise UnreadableMessageError("A parameter in it is too long.")
            into.add(key, value)
        elif levels > 1:
            _collect(item, into, levels - 1)


def money(text: str) -> int | None:
    """Return the minor units that `text` tells, or None where nobody can say for certain.

    Taken are `10`, `100.22`, `200.0000`, `Ksh200.00`, `1,000.00`, a sign, and money maps such as
    `{Amount={BasicAmount=7.00, MinimumAmount=700, CurrencyCode=KES}}` (protocol.md §4.3).
    """
    found = _MONEY_MAP.fullmatch(text)
    if found is not None:
        return _money_map(found[1])
    plain = _AMOUNT.fullmatch(text.strip())
    if plain is None:
        return None
    decimals = (plain[3] or "").ljust(2, "0")
    if decimals[2:].strip("0"):
        return None
    minor = int(plain[2].replace(",", "")) * 100 + int(decimals[:2])
    return -minor if plain[1] else minor


def _money_map(text: str) -> int | None:
    entries = {
        key.strip().lower(): value.strip()
        for key, equals, value in (entry.partition("=") for entry in text.split(","))
        if equals
    }
    basic = money(entries.get("basicamount", ""))
    minimum = entries.get("minimumamount")
    # MinimumAmount is BasicAmount in cents; where the two differ, neither is believed.
    if basic is None or (minimum is not None and minimum != str(basic)):
        return None
    return basic


def receiver_digits(text: str) -> str | None:
    """Return the digits before the name in `254… - First Last`, or None if they are masked.

    The national form (`07…`, `01…`) gets the Kenyan code, as in commands.
    """
    found = _RECEIVER.fullmatch(text.strip())
    if found is None:
        return None
    digits = found[1]
    if digits[:2] in {"07", "01"} and len(digits) == 10:  # noqa: PLR2004 - the national form
        return "254" + digits[1:]
    return digits
