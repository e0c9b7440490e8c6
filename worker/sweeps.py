"""The worker's own background work: due payouts, doubts, orphans, heartbeats, accounts."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeVar

from payouts.domain.decisions import Policies
from payouts.domain.values import AccountName
from payouts.messaging.consumer import CommandConsumer
from payouts.ports import Clock, PayoutStore
from payouts.services.accounts import Accounts
from payouts.services.completion import Completions
from payouts.services.funds import Funds
from payouts.services.lease import Lease
from payouts.services.sweeps import Sweep
from payouts.services.upkeep import Upkeep
from worker.pool import Pool
from worker.questions import Questions

DUE_AT_ONCE: Final = 20
ORPHANED_AFTER_S: Final = 5.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSweeps:
    """Moves on what no message moves; safe in any number of workers."""

    store: PayoutStore
    pool: Pool
    questions: Questions
    accounts: Accounts
    consumers: Mapping[AccountName, CommandConsumer]
    funds: Funds
    completions: Completions
    upkeep: Upkeep
    lease: Lease
    clock: Clock
    policies: Policies
    lease_s: float

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
        asked = [self.questions.ask(name) for name in self.accounts.reachable()]
        return sum(await _all_done(asked))

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


async def _all_done(work: Sequence[Coroutine[None, None, T]]) -> list[T]:
    """Return all outcomes once all are done; then the first failure is raised."""
    outcomes = await asyncio.gather(*work, return_exceptions=True)
    done: list[T] = []
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
        done.append(outcome)
    return done
