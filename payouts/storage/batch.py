"""Group commit: what arrives while a commit is under way, or soon after another, forms the next.

An idle writer commits a single item at once. A busy one begins its commits a little apart, since
each costs much, whatever it holds: the further apart, the longer they take.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from payouts.domain.errors import PayoutsError, StoreRefusedError, StoreUnavailableError

T = TypeVar("T")
R = TypeVar("R")

MAX_BATCH: Final = 500
MAX_WAITING: Final = 5000
WORTH: Final = 64  # So many items are worth a commit at once.


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """The least time between the beginnings of two commits.

    Args:
        most_s: seconds.
        duty: with it, the gap is only as long as makes a commit take this part of it. So a machine
            with time to spare commits sooner than a busy one.
    """

    most_s: float
    duty: float = 0.0

    def after(self, took_s: float) -> float:
        """Return the gap after the beginning of a commit that took so long, in seconds."""
        return min(took_s / self.duty, self.most_s) if self.duty else self.most_s


NO_GAP: Final = Gap(most_s=0.0)
AWAITED: Final = Gap(most_s=0.02, duty=0.15)  # Somebody waits for these commits.
_Waiting = tuple[T, "asyncio.Future[R]"]


class BatchWriter(Generic[T, R]):
    """Writes items in the order in which they came, many to a commit.

    Args:
        name: names the writer's task.
        write: writes a batch in one commit and returns one outcome per item, in its order.
        key: items with the same key never share a batch; the later one goes into a later batch.
        max_batch: the largest batch.
        max_waiting: how many items may wait; beyond that `submit` itself waits.
        gap: between the beginnings of two commits, unless WORTH items wait.
    """

    def __init__(
        self,
        name: str,
        write: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        *,
        key: Callable[[T], Hashable],
        max_batch: int = MAX_BATCH,
        max_waiting: int = MAX_WAITING,
        gap: Gap = NO_GAP,
    ) -> None:
        self._name = name
        self._write = write
        self._key = key
        self._max_batch = max_batch
        self._gap = gap
        self._room = asyncio.Semaphore(max_waiting)
        self._waiting: deque[_Waiting[T, R]] = deque()
        self._arrived = asyncio.Event()
        self._worth_it = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to write; to be called once, inside a running loop."""
        self._task = asyncio.create_task(self._run(), name=f"batch-writer-{self._name}")

    async def stop(self) -> None:
        """Write what waits, then end. Nothing more is taken."""
        self._closing = True
        self._arrived.set()
        self._worth_it.set()
        if self._task is not None:
            await self._task

    async def submit(self, item: T) -> R:
        """Return the item's outcome once it is committed.

        A caller that is cancelled meanwhile leaves the item to be written all the same.

        Raises:
            StoreUnavailableError: this batch's outcome is not known, or the writer has stopped.
            StoreRefusedError: the database refused this item; the rest of its batch was written.
        """
        async with self._room:
            if self._closing or self._task is None or self._task.done():
                raise StoreUnavailableError(f"(the writer of {self._name} does not run)")
            outcome: asyncio.Future[R] = asyncio.get_running_loop().create_future()
            self._waiting.append((item, outcome))
            self._arrived.set()
            if len(self._waiting) == WORTH:
                self._worth_it.set()
            return await outcome

    async def _run(self) -> None:
        try:
            await self._write_all()
        finally:
            _fail(self._waiting, StoreUnavailableError(f"(the writer of {self._name} ended)"))

    async def _write_all(self) -> None:
        clock = asyncio.get_running_loop().time
        due = clock()
        while True:
            if not self._waiting:
                if self._closing:
                    return
                self._arrived.clear()
                await self._arrived.wait()
                continue
            if (left_s := due - clock()) > 0:
                await self._gather(left_s)
            began = clock()
            await self._commit(self._next_batch())
            due = began + self._gap.after(clock() - began)

    async def _gather(self, left_s: float) -> None:
        """Let more come for so long, as long as what waits is not worth a commit."""
        self._worth_it.clear()
        if self._closing or len(self._waiting) >= WORTH:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(left_s):
                await self._worth_it.wait()

    def _next_batch(self) -> list[_Waiting[T, R]]:
        batch: list[_Waiting[T, R]] = []
        held: list[_Waiting[T, R]] = []
        keys: set[Hashable] = set()
        while self._waiting and len(batch) < self._max_batch:
            entry = self._waiting.popleft()
            key = self._key(entry[0])
            if key in keys:
                held.append(entry)
            else:
                keys.add(key)
                batch.append(entry)
        self._waiting.extendleft(reversed(held))
        return batch

    async def _commit(self, batch: Sequence[_Waiting[T, R]]) -> None:
        try:
            outcomes = await self._write([item for item, _ in batch])
            settled = list(zip(batch, outcomes, strict=True))
        except StoreRefusedError as error:
            await self._split(batch, error)
        except PayoutsError as error:
            _fail(batch, error)
        except asyncio.CancelledError:
            _fail(batch, StoreUnavailableError(f"(the writer of {self._name} ended)"))
            raise
        except Exception as error:  # noqa: BLE001 - a defect must reach the callers, not hang them.
            _fail(batch, error)
        else:
            for (_, outcome), result in settled:
                if not outcome.done():
                    outcome.set_result(result)

    async def _split(self, batch: Sequence[_Waiting[T, R]], error: StoreRefusedError) -> None:
        """Find by halves what the database refuses, so that the others are written."""
        if len(batch) == 1:
            _fail(batch, error)
            return
        half = len(batch) // 2
        await self._commit(batch[:half])
        await self._commit(batch[half:])


def _fail(batch: Iterable[_Waiting[T, R]], error: Exception) -> None:
    for _, outcome in batch:
        if not outcome.done():
            # One object raised in many tasks would collect the tracebacks of all.
            own = type(error)(error.detail) if isinstance(error, PayoutsError) else error
            outcome.set_exception(own)
