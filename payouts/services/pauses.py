"""Pauses accounts by what Results blame, so that no run follows its first payouts into failure."""

from __future__ import annotations

from typing import Final

from payouts.domain.code_types import Blame, CodeClass, Side
from payouts.domain.codes import blames_initiator, lookup
from payouts.domain.signals import Signal
from payouts.domain.values import AccountName
from payouts.ports import Clock, PayoutStore, Telemetry

AGAIN_AFTER_S: Final = 1.0
_WORDS: Final = {
    CodeClass.CONFIGURATION.value: "blame the configuration",
    Blame.FLOAT.value: "say that the balance does not suffice",
}


class Pauses:
    """Heeds the codes of Results of each account (design.md §3, "A sick account").

    A Result that blames the initiator pauses at once; `limit` in a row that blame the
    configuration, or the float, pause as well. Results in a row are those that this process
    hears. Such a Result has failed its payout already.
    """

    def __init__(
        self, store: PayoutStore, clock: Clock, telemetry: Telemetry, *, limit: int
    ) -> None:
        self._store = store
        self._clock = clock
        self._telemetry = telemetry
        self._limit = limit
        self._rows: dict[AccountName, tuple[str, int]] = {}
        self._paused: dict[AccountName, float] = {}

    async def heed(self, account: AccountName, side: Side, code: str) -> None:
        """Learn from the code of one Result; return once a pause that it asks for is durable.

        Raises:
            StoreUnavailableError: the pause is not certain to have been written.
        """
        if blames_initiator(side, code):
            await self._pause(account, f"code {code} of a Result says that the initiator is locked")
            return
        if side is Side.QUERY:
            return
        row = lookup(side, code)
        blamed = row.blames.value if row.blames is not None else row.klass.value
        if blamed not in _WORDS:
            self._rows.pop(account, None)
            return
        before, count = self._rows.get(account, (blamed, 0))
        count = count + 1 if before == blamed else 1
        self._rows[account] = (blamed, count)
        if count >= self._limit:
            words = f"{count} Results in a row {_WORDS[blamed]}, the last with code {code}"
            await self._pause(account, words)

    async def look(self) -> int:
        """Tell of accounts paused here that a person has resumed; return how many."""
        if not self._paused:
            return 0
        statuses = await self._store.account_statuses(list(self._paused))
        resumed = [name for name, status in statuses.items() if not status.paused]
        for name in resumed:
            self._paused.pop(name, None)
            self._telemetry.emit(Signal.ACCOUNT_RESUMED, account=name)
        return len(resumed)

    async def _pause(self, account: AccountName, reason: str) -> None:
        """Pause; what hundreds of Results on their way say in the same second is said once."""
        now = self._clock.monotonic()
        if now - self._paused.get(account, float("-inf")) < AGAIN_AFTER_S:
            return
        await self._store.set_paused(account, paused=True, reason=reason, at=self._clock.now())
        self._rows.pop(account, None)
        self._paused[account] = now
        self._telemetry.emit(Signal.ACCOUNT_PAUSED, account=account, reason=reason)
