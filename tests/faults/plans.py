"""Where and when processes die: drawn from a seed, so that a round's plan can be made again."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from tests.faults.points import POINTS, Part, Point, Process

START_SHARE: Final = 0.1
DRAIN_SHARE: Final = 0.2
TERM_S: Final = (0.3, 1.2)
RANDOM_MEAN_S: Final = 2.5
RANDOM_LEAST_S: Final = 0.05
REAL_SHARE: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """How one process is to end.

    Args:
        armed: which passing of which point kills it; whatever comes first.
        term_after_s: when it is told to drain.
        kill_after_s: when it is killed from outside.
        real: whether it is started as people do, by `python -m`, instead of by a fork.
        seed: of the small delays inside it.
    """

    armed: Mapping[str, int] = field(default_factory=dict)
    term_after_s: float | None = None
    kill_after_s: float | None = None
    real: bool = False
    seed: int = 0


CALM: Final = Fate()


class Plan(Protocol):
    """Hands out fates, one to each birth, and hears of deaths at points."""

    def fate(self, process: Process, slot: int, life: int) -> Fate:
        """Return how the so-many-th life of a slot is to end."""

    def killed(self, point: str) -> None:
        """Note a death at a point."""

    @property
    def done(self) -> bool:
        """Whether all deaths that were planned have come."""


class PointPlan:
    """Each point so many times; a life is armed with all points that are still owed.

    The draws depend on seed, slot and life alone. Which of the armed points a process reaches
    first depends on real time, and so does what is still owed.

    Args:
        seed: of all draws.
        times: how often each point is to kill.
        names: which points; all of the table where not given.
    """

    def __init__(self, seed: int, times: int, names: Iterable[str] | None = None) -> None:
        self._seed = seed
        self._times = times
        self._names = tuple(POINTS if names is None else names)
        self.kills: Counter[str] = Counter()

    @property
    def owed(self) -> list[str]:
        """Return the points that have not killed often enough."""
        return [name for name in self._names if self.kills[name] < self._times]

    @property
    def done(self) -> bool:
        """Whether every point has killed often enough."""
        return not self.owed

    def killed(self, point: str) -> None:
        """Count a death."""
        self.kills[point] += 1

    def fate(self, process: Process, slot: int, life: int) -> Fate:
        """Arm a life for its start, its work or its drain."""
        draws = random.Random(f"{self._seed} {process} {slot} {life}")  # noqa: S311 - no secret
        chance, term_s, seed = draws.random(), draws.uniform(*TERM_S), draws.getrandbits(32)
        counts = {name: draws.randint(1, POINTS[name].place.often) for name in self._names}
        owed: dict[Part, dict[str, int]] = {part: {} for part in Part}
        for name in self.owed:
            point: Point = POINTS[name]
            if point.process is process:
                owed[point.place.part][name] = counts[name]
        if owed[Part.START] and chance < START_SHARE:
            return Fate(armed=owed[Part.START], seed=seed)
        if owed[Part.DRAIN] and (chance > 1 - DRAIN_SHARE or not owed[Part.WORK]):
            return Fate(armed=owed[Part.DRAIN], term_after_s=term_s, seed=seed)
        if owed[Part.WORK]:
            return Fate(armed=owed[Part.WORK], seed=seed)
        return Fate(armed=owed[Part.START], seed=seed)


class RandomPlan:
    """Lives that are ended from outside at random instants, some of them started as people do."""

    def __init__(self, seed: int, kills: int) -> None:
        self._seed = seed
        self._left = kills

    @property
    def done(self) -> bool:
        """Whether so many have been killed."""
        return self._left <= 0

    def killed(self, point: str) -> None:
        """Count a death."""
        del point
        self._left -= 1

    def fate(self, process: Process, slot: int, life: int) -> Fate:
        """Draw an instant."""
        draws = random.Random(f"{self._seed} {process} {slot} {life}")  # noqa: S311 - no secret
        lives_s = RANDOM_LEAST_S + draws.expovariate(1 / RANDOM_MEAN_S)
        real = draws.random() < REAL_SHARE
        return Fate(kill_after_s=lives_s + (1.0 if real else 0.0), real=real)
