"""The requests in flight: bounded, known by name, drained on request."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

from payouts.domain.commands import DEFAULT_ACCOUNT
from payouts.domain.payout import Payout
from payouts.domain.values import AccountName, PayoutId
from payouts.ports import Pace
from payouts.services.submission import Submission

REVOKED_FOR: Final = timedelta(hours=1)


class Pool:
    """Runs submissions side by side, never more than `concurrency` (PAYOUTS_CONCURRENCY).

    The accounts share the slots evenly, so that a slow one never stands in the way of another
    (contract.md §1).

    A slot is taken before a payout's intent is written, so that what is in the database as
    `submitting` is about to be sent, and RabbitMQ keeps the rest (back-pressure).
    """

    def __init__(
        self,
        submission: Submission,
        pace: Pace,
        concurrency: int,
        accounts: Sequence[AccountName] = (DEFAULT_ACCOUNT,),
    ) -> None:
        self._submission = submission
        self._pace = pace
        share = max(1, concurrency // len(accounts))
        self._slots = {name: asyncio.Semaphore(share) for name in accounts}
        self._free = dict.fromkeys(accounts, share)
        self._tasks: dict[PayoutId, asyncio.Task[None]] = {}
        self._expected: Counter[PayoutId] = Counter()
        self._revoked: dict[PayoutId, datetime] = {}
        self._closing = False

    def free(self, account: AccountName) -> int:
        """How many of an account's slots nobody has; none once the pool is closing."""
        return 0 if self._closing else self._free[account]

    @property
    def closing(self) -> bool:
        """Whether the sweeps may bring nothing more."""
        return self._closing

    @property
    def in_flight(self) -> list[PayoutId]:
        """The payouts that this process is sending, or about to send."""
        return [*self._tasks, *self._expected]

    @contextmanager
    def expecting(self, payout_id: PayoutId) -> Iterator[None]:
        """Count a payout as in flight while its intent is written down, however long that takes.

        An intent whose commit was not heard of is written again until it is; meanwhile the sweep
        of orphans must not take the row, which is about to be sent, for one that nobody knows.
        """
        self._expected[payout_id] += 1
        try:
            yield
        finally:
            self._expected[payout_id] -= 1
            if not self._expected[payout_id]:
                del self._expected[payout_id]

    async def take_slot(self, account: AccountName) -> None:
        """Wait for a slot; `start` or `give_back` must follow."""
        await self._slots[account].acquire()
        self._free[account] -= 1

    def give_back(self, account: AccountName) -> None:
        """Return a slot that was not used."""
        self._free[account] += 1
        self._slots[account].release()

    def start(self, payout: Payout, *, has_turn: bool) -> None:
        """Send a payout in the slot that was taken for it; without a turn it waits for one."""
        task = asyncio.create_task(self._send(payout, has_turn=has_turn))
        self._tasks[payout.payout_id] = task
        task.add_done_callback(lambda done: self._finish(payout, done))

    def revoke(self, payout_ids: Sequence[PayoutId], at: datetime) -> None:
        """Hold back what was claimed before `at`: the sweep has taken it to `in_doubt`."""
        self._revoked = {
            one: when for one, when in self._revoked.items() if at - when < REVOKED_FOR
        }
        self._revoked.update(dict.fromkeys(payout_ids, at))

    def may_send(self, payout: Payout) -> bool:
        """Tell whether the claim under which a payout is about to be sent still stands."""
        at = self._revoked.get(payout.payout_id)
        return at is None or (payout.claimed_at is not None and payout.claimed_at > at)

    async def _send(self, payout: Payout, *, has_turn: bool) -> None:
        if not has_turn:
            await self._pace.turn(payout.account)
        await self._submission.submit(payout, may_send=lambda: self.may_send(payout))

    def _finish(self, payout: Payout, task: asyncio.Task[None]) -> None:
        payout_id = payout.payout_id
        if self._tasks.get(payout_id) is task:
            del self._tasks[payout_id]
        self.give_back(payout.account)
        if not task.cancelled() and task.exception() is not None:
            # The row stays `submitting`; the sweep of orphans takes it to `in_doubt`.
            asyncio.get_running_loop().call_exception_handler(
                {"message": f"sending {payout_id} failed", "exception": task.exception()}
            )

    def close(self) -> None:
        """Take nothing more from the sweeps: what they would start now would be cut off."""
        self._closing = True

    async def drain(self, timeout_s: float) -> int:
        """Wait for what is in flight; return how many were left, `submitting`, to the sweep."""
        self.close()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while self._tasks and (left_s := deadline - loop.time()) > 0:
            await asyncio.wait(list(self._tasks.values()), timeout=left_s)
        left = list(self._tasks.values())
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)
        return len(left)
