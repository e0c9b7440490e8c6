"""The questions about payouts in doubt: bounded, side by side, never two about one at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from payouts.domain.payout import Payout
from payouts.domain.values import AccountName, PayoutId
from payouts.ports import Clock, Pace, PayoutStore
from payouts.services.accounts import Accounts
from payouts.services.reconciliation import Reconciliation
from worker.pool import Pool

ASKED_AT_ONCE: Final = 20
ANSWERED_WITHIN_S: Final = 0.5
KEPT_EVERY: Final = 3  # Times in a claim's life.


@dataclass(slots=True)
class _UnderWay:
    """One account's questions: all, and since when the claims of those that wait are held."""

    tasks: dict[PayoutId, asyncio.Task[None]] = field(default_factory=dict)
    waiting: dict[PayoutId, datetime] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """Settles doubts by questions, each in its turn; safe in any number of workers.

    What is claimed may wait for its turn for longer than a claim lasts, where the pace is slow
    and many are in doubt. So the claims of what waits are renewed, which also tells what has been
    settled meanwhile; a claim that were left to lapse would be another worker's, and the same
    question would be asked twice while others wait.
    """

    store: PayoutStore
    pool: Pool
    pace: Pace
    reconciliation: Reconciliation
    accounts: Accounts
    clock: Clock
    claim_s: float
    _under_way: dict[AccountName, _UnderWay] = field(default_factory=dict)

    async def ask(self, account: AccountName) -> int:
        """Ask side by side about what is due; what is not answered soon is waited for by itself.

        So no question, and no account, holds another up. Questions that wait count: never more
        than ASKED_AT_ONCE of an account are under way. Returns how many were begun.

        Raises:
            StoreUnavailableError: the database is away, or was to a question since the last call.
        """
        own = self._under_way.setdefault(account, _UnderWay())
        failures = _failures(own)
        await self._keep(own)
        payouts = await self._claim(account, own)
        asking = {one.payout_id: asyncio.create_task(self._settle(one, own)) for one in payouts}
        own.tasks |= asking
        if asking:
            await asyncio.wait(asking.values(), timeout=ANSWERED_WITHIN_S)
        for failure in [*failures, *_failures(own)]:
            raise failure
        return len(asking)

    async def stop(self) -> None:
        """Give up the questions that are still unanswered; they are asked again."""
        tasks = [task for own in self._under_way.values() for task in own.tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep(self, own: _UnderWay) -> None:
        """Renew the claims of what waits for its turn; what is in doubt no more waits in vain."""
        now = self.clock.now()
        since = now - timedelta(seconds=self.claim_s / KEPT_EVERY)
        old = [payout_id for payout_id, at in own.waiting.items() if at <= since]
        if not old:
            return
        until = now + timedelta(seconds=self.claim_s)
        kept = await self.store.keep_doubts(old, until=until)
        for payout_id in own.waiting.keys() & set(old):
            if payout_id in kept:
                own.waiting[payout_id] = now
            else:
                own.tasks[payout_id].cancel()

    async def _claim(self, account: AccountName, own: _UnderWay) -> Sequence[Payout]:
        limit = ASKED_AT_ONCE - len(own.tasks)
        if limit < 1:
            return []
        now = self.clock.now()
        claimed = await self.store.claim_doubts(
            [account], now=now, until=now + timedelta(seconds=self.claim_s), limit=limit
        )
        # While an account is paused only those are asked about that a person or a restore wants.
        only_wanted = not self.accounts.is_open(account)
        return [
            one
            for one in claimed
            if one.payout_id not in own.tasks and (one.ask_now or not only_wanted)
        ]

    async def _settle(self, payout: Payout, own: _UnderWay) -> None:
        if await self.reconciliation.leave(payout):
            return
        again = None
        own.waiting[payout.payout_id] = self.clock.now()
        try:
            await self.pool.take_slot(payout.account)
            try:
                await self.pace.turn(payout.account)
                del own.waiting[payout.payout_id]
                again = await self.reconciliation.settle(payout)
            finally:
                if again is None:
                    self.pool.give_back(payout.account)
        finally:
            own.waiting.pop(payout.payout_id, None)
        if again is not None:
            self.pool.start(again, has_turn=True)


def _failures(own: _UnderWay) -> list[BaseException]:
    """Take what has ended from what is under way, and return how it failed, if it did."""
    done = {name: task for name, task in own.tasks.items() if task.done()}
    for name in done:
        del own.tasks[name]
    failed = (task.exception() for task in done.values() if not task.cancelled())
    return [failure for failure in failed if failure is not None]
