"""One timer for everything that is due later: cheaper than a task that sleeps for each payout."""

import asyncio
import heapq
from collections.abc import Callable
from typing import Any


class Timetable:
    """Guarantees that each entry runs once, not before it is due, in the order of due times."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._heap: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None
        self._wakes_at = 0.0

    def __len__(self) -> int:
        return len(self._heap)

    def after(self, delay_s: float, action: Callable[..., object], *arguments: Any) -> None:
        """Guarantees `action(*arguments)` in `delay_s`, unless the timetable is cleared first."""
        due = self._loop.time() + delay_s
        self._count += 1
        heapq.heappush(self._heap, (due, self._count, action, arguments))
        if self._timer is None or due < self._wakes_at:
            self._wake(due)

    def clear(self) -> None:
        """Guarantees that nothing entered so far runs."""
        self._heap.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wake(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._wakes_at = due
        self._timer = self._loop.call_at(due, self._run)

    def _run(self) -> None:
        self._timer = None
        # A loop's clock is coarse: what is due within a millisecond is due.
        now = self._loop.time() + 0.001
        heap = self._heap
        try:
            while heap and heap[0][0] <= now:
                _, _, action, arguments = heapq.heappop(heap)
                action(*arguments)
        finally:
            # An action that raises must not stop those after it.
            if heap:
                self._wake(heap[0][0])
