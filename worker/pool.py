"""The requests in flight: bounded, known by name, drained on request."""

from __future__ import annotations

import asyncio

from payouts.domain.payout import Payout
from payouts.domain.values import PayoutId
from payouts.services.submission import Submission


class Pool:
    """Runs submissions side by side, never more than `concurrency` (PAYOUTS_CONCURRENCY).

    A slot is taken before a payout's intent is written, so that what is in the database as
    `submitting` is about to be sent, and RabbitMQ keeps the rest (back-pressure).
    """

    def __init__(self, submission: Submission, concurrency: int) -> None:
        self._submission = submission
        self._slots = asyncio.Semaphore(concurrency)
        self._free = concurrency
        self._tasks: dict[PayoutId, asyncio.Task[None]] = {}

    @property
    def free(self) -> int:
        """How many slots nobody has."""
        return self._free

    @property
    def in_flight(self) -> list[PayoutId]:
        """The payouts that this process is sending."""
        return list(self._tasks)

    async def take_slot(self) -> None:
        """Wait for a slot; `start` or `give_back` must follow."""
        await self._slots.acquire()
        self._free -= 1

    def give_back(self) -> None:
        """Return a slot that was not used."""
        self._free += 1
        self._slots.release()

    def start(self, payout: Payout) -> None:
        """Send a payout in the slot that was taken for it."""
        task = asyncio.create_task(self._submission.submit(payout))
        self._tasks[payout.payout_id] = task
        task.add_done_callback(lambda done: self._finish(payout.payout_id, done))

    def _finish(self, payout_id: PayoutId, task: asyncio.Task[None]) -> None:
        if self._tasks.get(payout_id) is task:
            del self._tasks[payout_id]
        self.give_back()
        if not task.cancelled() and task.exception() is not None:
            # The row stays `submitting`; the sweep of orphans takes it to `in_doubt`.
            asyncio.get_running_loop().call_exception_handler(
                {"message": f"sending {payout_id} failed", "exception": task.exception()}
            )

    async def drain(self, timeout_s: float) -> int:
        """Wait for what is in flight; return how many had to be left, `submitting`, to the sweep."""
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=timeout_s)
        left = list(self._tasks.values())
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)
        return len(left)
