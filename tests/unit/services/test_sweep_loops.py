import asyncio
from datetime import UTC, datetime

import pytest

from payouts.domain.signals import Signal
from payouts.services.sweeps import Sweep, SweepLoops


class _Signals:
    """Keeps what was told."""

    def __init__(self) -> None:
        self.told: list[tuple[Signal, object]] = []

    def emit(self, signal: Signal, /, **fields: object) -> None:
        self.told.append((signal, fields.get("error")))


class _QuickClock:
    """Rests for no time at all."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        await asyncio.sleep(0)


async def test_a_defect_ends_no_loop() -> None:
    """A sweep that raises what nobody foresaw runs again, and is told of.

    Proved by catching only our own errors: the loop ended in silence, and doubts with it.
    """
    runs = 0
    again = asyncio.Event()

    async def run() -> int:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise KeyError("defect")
        again.set()
        return 0

    signals = _Signals()
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: reported.append(context["exception"])
    )
    sweep = Sweep(name="doubts", rest_s=1.0, run=run)
    async with SweepLoops([sweep], _QuickClock(), signals, lambda: 0.5):
        async with asyncio.timeout(5):
            await again.wait()
    assert signals.told == [(Signal.SWEEP_FAILED, "KeyError")]
    assert [type(error) for error in reported] == [KeyError]


@pytest.mark.parametrize("count", [0, 1])
async def test_leaving_ends_every_loop(count: int) -> None:
    """After the context nothing runs any more, whether or not there was work."""
    runs = 0
    begun = asyncio.Event()

    async def run() -> int:
        nonlocal runs
        runs += 1
        begun.set()
        return count

    sweep = Sweep(name="due", rest_s=1.0, run=run, greedy=True)
    async with SweepLoops([sweep], _QuickClock(), _Signals(), lambda: 0.5):
        await begun.wait()
    seen = runs
    await asyncio.sleep(0)
    assert runs == seen
