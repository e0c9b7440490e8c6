"""Who orders something, and why: nothing is ordered without either."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from ops.cli.exits import UsageError
from ops.cli.words import hide_numbers
from payouts.ports import Order

MAX_OPERATOR: Final = 64
MAX_REASON: Final = 1000

Sign = Callable[[datetime], Order]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """Who orders it, and why.

    Args:
        reason: Why; it stands in the audit for good. Numbers of receivers are masked.
        operator: Who; by default PAYOUTS_OPERATOR, else the login name.
        json: Write for programs.
    """

    reason: str
    operator: str | None = None
    json: bool = False

    def check(self) -> None:
        """Raise UsageError unless it says why."""
        reason_of("--reason", self.reason)

    def signed(self, configured: str) -> Sign:
        """Return how to sign an order given at some instant; each payout's has its own.

        Args:
            configured: PAYOUTS_OPERATOR, or empty.

        Raises:
            UsageError: nobody is named, or no reason is given.
        """
        operator = operator_of(self.operator, configured)
        reason = reason_of("--reason", self.reason)
        return lambda at: Order(operator=operator, reason=reason, at=at)


def operator_of(given: str | None, configured: str) -> str:
    """Return who orders: as said, else as configured, else who is logged in.

    Raises:
        UsageError: nobody is named, or not readably.
    """
    name = (given if given is not None else configured or _login_name()).strip()
    if not name:
        raise UsageError("Say who orders this: --operator NAME, or PAYOUTS_OPERATOR.")
    if len(name) > MAX_OPERATOR or not name.isprintable():
        raise UsageError(f"--operator must be up to {MAX_OPERATOR} printable characters.")
    return name


def reason_of(option: str, text: str) -> str:
    """Return why, with receivers' numbers masked, as the audit can never forget one.

    Raises:
        UsageError: it says nothing, or too much.
    """
    reason = hide_numbers(" ".join(text.split()))
    if not reason:
        raise UsageError(f"{option} must say why.")
    if len(reason) > MAX_REASON:
        raise UsageError(f"{option} must be up to {MAX_REASON} characters.")
    return reason


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
