"""Adds up what many worlds have been through."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator

from tests.simulation.world import Outcome

_COLUMN = 44


def write_line(line: str) -> None:
    """Write one line to where results go."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def violated(outcomes: Iterable[Outcome]) -> list[str]:
    """Return what was violated, each with the command that plays it again."""
    return [
        f"{outcome.violations[0]}; python -m tests.simulation --seed {outcome.seed} --trace"
        for outcome in outcomes
        if outcome.violations
    ]


class Total:
    """The sum of all outcomes."""

    def __init__(self) -> None:
        self.seeds = 0
        self.failed = 0
        self.violations = 0
        self.steps = 0
        self.lasted_s = 0.0
        self.states: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()

    def add(self, outcome: Outcome) -> None:
        """Add one world."""
        self.seeds += 1
        self.failed += bool(outcome.violations)
        self.violations += len(outcome.violations)
        self.steps += outcome.steps
        self.lasted_s += outcome.lasted_s
        self.states.update(outcome.states)
        self.seen.update(outcome.seen)

    def lines(self, seconds: float) -> Iterator[str]:
        """Yield the table."""
        yield from self._line("seeds", self.seeds)
        yield from self._line("payouts", sum(self.states.values()))
        for state, count in sorted(self.states.items()):
            yield from self._line(f"  at the end {state}", count)
        yield from self._line("steps", self.steps)
        yield from self._line("virtual hours", round(self.lasted_s / 3600))
        for name, count in sorted(self.seen.items()):
            yield from self._line(f"  {name}", count)
        yield from self._line("seconds", round(seconds))
        yield from self._line("violations", self.violations)

    @staticmethod
    def _line(name: str, count: int) -> Iterator[str]:
        yield f"{name:<{_COLUMN}}{count:>16,}"
