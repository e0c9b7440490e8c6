"""The worker's own background work: due payouts, doubts, orphans, heartbeats, accounts."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, TypeVar

from payouts.domain.decisions import Policies
from payouts.domain.payout import Payout
from payouts.domain.values import AccountName
from payouts.messaging.consumer import CommandConsumer
from payouts.ports import Clock, Pace, PayoutStore
from payouts.services.accounts import Accounts
from payouts.services.completion import Completions
from payouts.services.funds import Funds
from payouts.services.lease import Lease
from payouts.services.reconciliation import Reconciliation
from payouts.services.sweeps import Sweep
from payouts.services.upkeep import Upkeep
from worker.pool import Pool

DUE_AT_ONCE: Final = 20
ANSWERED_WITHIN_S: Final = 0.5
ORPHANED_AFTER_S: Final = 5.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSweeps:
    """Moves on what no message moves; safe in any number of workers."""

    store: PayoutStore
    pool: Pool
    pace: Pace
    reconciliation: Reconciliation
    accounts: Accounts
    consumers: Mapping[AccountName, CommandConsumer]
    funds: Funds
    completions: Completions
    upkeep: Upkeep
    lease: Lease
    clock: Clock
    policies: Policies
    lease_s: float
    late: dict[AccountName, set[asyncio.Task[None]]] = field(default_factory=dict)

    def all(self) -> list[Sweep]:
        """Return the sweeps with their pace."""
        beat_s = min(2.0, self.lease_s / 6)
        doubt_s = min(1.0, self.policies.query_interval_s / 4)
        return [
            Sweep(name="heartbeat", rest_s=beat_s, run=self.beat),
            Sweep(name="accounts", rest_s=1.0, run=self.look_at_accounts),
            Sweep(name="circuit", rest_s=1.0, run=self.accounts.probe),
            Sweep(name="funds", rest_s=1.0, run=self.funds.look),
            Sweep(name="due", rest_s=0.5, run=self.submit_due, greedy=True),
            Sweep(name="doubts", rest_s=doubt_s, run=self.ask_doubts, greedy=True),
            Sweep(name="orphans", rest_s=ORPHANED_AFTER_S, run=self.find_orphans),
            Sweep(name="balances", rest_s=1.0, run=self.completions.write_balances),
            *self.upkeep.all(),
        ]

    async def beat(self) -> int:
        """Tell the database that this worker lives, and which accounts it cannot serve."""
        return await self.lease.beat(cut_off=self.accounts.cut_off())

    async def submit_due(self) -> int:
        """Send `received` and `waiting` payouts whose time has come, as slots allow."""
        claims = [self._submit_due(name) for name in self.accounts.open_accounts()]
        return sum(await _all_done(claims))

    async def _submit_due(self, account: AccountName) -> int:
        limit = min(DUE_AT_ONCE, self.pool.free(account))
        if limit < 1:
            return 0
        for _ in range(limit):
            await self.pool.take_slot(account)
        claimed = 0
        try:
            payouts = await self.store.claim_due(
                self.lease.owner, [account], now=self.clock.now(), limit=limit
            )
            for payout in payouts:
                self.pool.start(payout, has_turn=False)
                claimed += 1
        finally:
            for _ in range(limit - claimed):
                self.pool.give_back(account)
        return claimed

    async def ask_doubts(self) -> int:
        """Ask about payouts in doubt; send the same id again where that is proved safe.

        While an account is paused only those are asked about that a person or a restore wants
        asked: questions send no payment, but they carry the same credentials.
        """
        if self.pool.closing:
            return 0
        asked = [self._ask_doubts(name) for name in self.accounts.reachable()]
        return sum(await _all_done(asked))

    async def _ask_doubts(self, account: AccountName) -> int:
        """Ask side by side; what is not answered soon is waited for by itself.

        So no question, and no account, holds another up. Questions that wait count: never more
        than DUE_AT_ONCE of an account are under way.
        """
        late = self.late.setdefault(account, set())
        failures = _failures(late)
        limit = DUE_AT_ONCE - len(late)
        payouts = await self._claim_doubts(account, limit) if limit > 0 else []
        asking = {asyncio.create_task(self._settle(payout)) for payout in payouts}
        late |= asking
        if asking:
            await asyncio.wait(asking, timeout=ANSWERED_WITHIN_S)
        for failure in [*failures, *_failures(late)]:
            raise failure
        return len(payouts)

    async def _claim_doubts(self, account: AccountName, limit: int) -> Sequence[Payout]:
        now = self.clock.now()
        payouts = await self.store.claim_doubts(
            [account],
            now=now,
            until=now + timedelta(seconds=self.policies.query_interval_s),
            limit=limit,
        )
        if self.accounts.is_open(account):
            return payouts
        return [payout for payout in payouts if payout.ask_now]

    async def stop(self) -> None:
        """Give up the questions that are still unanswered; they are asked again."""
        late = [task for tasks in self.late.values() for task in tasks]
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _settle(self, payout: Payout) -> None:
        await self.pool.take_slot(payout.account)
        again = None
        try:
            await self.pace.turn(payout.account)
            again = await self.reconciliation.settle(payout)
        finally:
            if again is None:
                self.pool.give_back(payout.account)
        if again is not None:
            self.pool.start(again, has_turn=True)

    async def find_orphans(self) -> int:
        """Doubt rows that say this worker is sending them while it is not."""
        now = self.clock.now()
        moved = await self.store.mark_orphaned(
            self.lease.owner,
            self.pool.in_flight,
            before=now - timedelta(seconds=ORPHANED_AFTER_S),
            now=now,
        )
        self.pool.revoke(moved, now)
        return len(moved)

    async def look_at_accounts(self) -> int:
        """Learn which accounts are paused, and take commands for the others only."""
        closed = await self.accounts.refresh()
        for name, consumer in self.consumers.items():
            if self.accounts.is_open(name):
                await consumer.resume()
            else:
                await consumer.pause()
        return closed


def _failures(tasks: set[asyncio.Task[None]]) -> list[BaseException]:
    """Take what has ended out of the set, and return how it failed, if it did."""
    done = {task for task in tasks if task.done()}
    tasks -= done
    failed = (task.exception() for task in done if not task.cancelled())
    return [failure for failure in failed if failure is not None]


async def _all_done(work: Sequence[Coroutine[None, None, T]]) -> list[T]:
    """Return all outcomes once all are done; then the first failure is raised."""
    outcomes = await asyncio.gather(*work, return_exceptions=True)
    done: list[T] = []
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
        done.append(outcome)
    return done
