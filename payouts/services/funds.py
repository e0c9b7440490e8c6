"""Pauses an account before its float runs dry (PAYOUTS_FLOAT_MIN)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from payouts.domain.values import AccountName, format_amount
from payouts.ports import Exposure, PayoutStore
from payouts.services.accounts import Accounts


@dataclass(frozen=True, slots=True, kw_only=True)
class Funds:
    """Keeps `minimums` of minor units in each account, as far as Results tell its balance.

    What is sent and not ended counts as gone. Nothing is done for an account that has no
    minimum, is paused, or whose balance no Result has told since it was last resumed.
    """

    store: PayoutStore
    accounts: Accounts
    minimums: Mapping[AccountName, int]

    async def look(self) -> int:
        """Pause each account that may fall below its minimum; return how many."""
        names = [name for name in self.minimums if not self.accounts.is_paused(name)]
        if not names:
            return 0
        low = [one for one in await self.store.exposures(names) if self._is_low(one)]
        for one in low:
            await self.accounts.pause(one.name, self._words(one))
        return len(low)

    def _is_low(self, one: Exposure) -> bool:
        balance = one.utility_balance_minor
        return balance is not None and balance - one.at_risk_minor < self.minimums[one.name]

    def _words(self, one: Exposure) -> str:
        return (
            f"the float may fall below {format_amount(self.minimums[one.name])}: the last known"
            f" balance is {format_amount(one.utility_balance_minor or 0)}, and"
            f" {format_amount(one.at_risk_minor)} is on its way"
        )
