"""How many payouts and how much money, by currency."""

from __future__ import annotations

from collections.abc import Mapping

from ops.cli.words import money, plural
from payouts.domain.values import format_amount


class Sums:
    """Count and sum by currency."""

    def __init__(self) -> None:
        self._by_currency: dict[str, tuple[int, int]] = {}

    def add(self, currency: str, minor: int) -> None:
        """Count one payout in."""
        self.add_many(currency, 1, minor)

    def add_many(self, currency: str, number: int, minor: int) -> None:
        """Count several payouts in, which come to `minor` together."""
        before, total = self._by_currency.get(currency, (0, 0))
        self._by_currency[currency] = (before + number, total + minor)

    @property
    def by_currency(self) -> Mapping[str, tuple[int, int]]:
        """Count and sum, by currency."""
        return dict(self._by_currency)

    def records(self) -> list[dict[str, object]]:
        """Return count and sum as `--json` tells them."""
        return [
            {"currency": currency, "count": number, "sum": format_amount(minor)}
            for currency, (number, minor) in sorted(self._by_currency.items())
        ]

    @property
    def count(self) -> int:
        """How many payouts, of all currencies."""
        return sum(number for number, _ in self._by_currency.values())

    def __str__(self) -> str:
        """Return count and sum in words, such as `2 payouts, KES 25.00`."""
        return told(self._by_currency)


def told(by_currency: Mapping[str, tuple[int, int]]) -> str:
    """Return counts and sums in words, such as `2 payouts, KES 25.00`."""
    parts = [
        f"{plural(number, 'payout')}, {money(minor, currency)}"
        for currency, (number, minor) in sorted(by_currency.items())
    ]
    return " and ".join(parts) or "no payout"
