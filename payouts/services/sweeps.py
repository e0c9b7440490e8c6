"""Background loops with one contract: run, rest, run again; stop when told; errors end no loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Self

from payouts.domain.decisions import Jitter
from payouts.domain.errors import PayoutsError
from payouts.domain.signals import Signal
from payouts.ports import Clock, Telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Something done again and again; `run` returns how many rows it moved.

    Args:
        rest_s: the pause after a run that had nothing to do; one that had goes on at once
            when `greedy`.
    """

    name: str
    rest_s: float
    run: Callable[[], Awaitable[int]]
    greedy: bool = False


class SweepLoops:
    """Runs sweeps side by side until stopped; each is jittered so that processes spread out."""

    def __init__(
        self, sweeps: Sequence[Sweep], clock: Clock, telemetry: Telemetry, jitter: Jitter
    ) -> None:
        self._sweeps = sweeps
        self._clock = clock
        self._telemetry = telemetry
        self._jitter = jitter
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._loop(sweep)) for sweep in self._sweeps]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """End the loops; a run that is under way is cancelled, which its transaction survives."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def _loop(self, sweep: Sweep) -> None:
        while True:
            count = await self._run(sweep)
            if not (sweep.greedy and count):
                await self._clock.sleep(sweep.rest_s * (0.75 + 0.5 * self._jitter()))
            else:
                await self._clock.sleep(0)

    async def _run(self, sweep: Sweep) -> int:
        try:
            count = await sweep.run()
        except PayoutsError as error:
            self._telemetry.emit(Signal.SWEEP_FAILED, sweep=sweep.name, error=type(error).__name__)
            return 0
        except Exception as error:  # noqa: BLE001 - a defect is told, and the loop goes on
            self._telemetry.emit(Signal.SWEEP_FAILED, sweep=sweep.name, error=type(error).__name__)
            asyncio.get_running_loop().call_exception_handler(
                {"message": f"the sweep {sweep.name} failed", "exception": error}
            )
            return 0
        if count:
            self._telemetry.emit(Signal.SWEEP_DONE, sweep=sweep.name, count=count)
        return count
