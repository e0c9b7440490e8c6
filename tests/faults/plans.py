"""Where and when processes die: drawn from a seed, so that a round's plan can be made again."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from types import MappingProxyType
from typing import Final, Protocol

from tests.faults.points import POINTS, Part, Point, Process

START_SHARE: Final = 0.1
DRAIN_SHARE: Final = 0.2
TERM_S: Final = (0.3, 1.2)
RANDOM_MEAN_S: Final = 4.0
RANDOM_LEAST_S: Final = 0.05
REAL_SHARE: Final = 0.2
RESTLESS_S: Final = 0.5
LATER: Final = 3
NEVER: Final[Mapping[str, int]] = MappingProxyType({})


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
PEACE: Final = Fate(kill_after_s=0.0)


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
    """Each point so many times; points that are still owed are drawn.

    The draws depend on seed, slot and life, and on what is still owed, hence on real time.

    Args:
        seed: of all draws.
        times: how often each point is to kill in this round.
        names: which points.
        before: how often each has killed in earlier rounds.
        enough: how often each is to kill in all rounds.
        restless: whether those that do not come to their point are killed all the same.
    """

    def __init__(
        self,
        seed: int,
        times: int,
        names: Iterable[str],
        *,
        restless: bool = False,
        before: Mapping[str, int] = NEVER,
        enough: float = inf,
    ) -> None:
        self._seed = seed
        self._restless = restless
        self._before = dict(before)
        self._wanted = {name: min(times, enough - self._before.get(name, 0)) for name in names}
        self.kills: Counter[str] = Counter()

    @property
    def owed(self) -> list[str]:
        """Return the points that have not killed often enough."""
        return [name for name, times in self._wanted.items() if self.kills[name] < times]

    @property
    def done(self) -> bool:
        """Whether every point has killed often enough."""
        return not self.owed

    def killed(self, point: str) -> None:
        """Count a death."""
        self.kills[point] += 1

    def fate(self, process: Process, slot: int, life: int) -> Fate:
        """Arm a life for a point of its start, its work or its drain; a rare one brings its like.

        A life that is armed for all rare points dies at the first of them, hardly ever at another.
        So beside a rare target it is armed only for those that have killed no more often.
        """
        draws = random.Random(f"{self._seed} {process} {slot} {life}")  # noqa: S311 - no secret
        chance, term_s, seed = draws.random(), draws.uniform(*TERM_S), draws.getrandbits(32)
        owed = [point for point in map(POINTS.get, self.owed) if point and point.process is process]
        part = _part(chance, {point.place.part for point in owed})
        candidates = [point for point in owed if point.place.part is part]
        if not candidates:
            return Fate(kill_after_s=RANDOM_MEAN_S, seed=seed)
        target = draws.choice(candidates)
        armed = {target.name: draws.randint(1, target.place.often)}
        if part is Part.WORK and target.rare:
            most = self._in_all(target)
            armed |= {
                point.name: 1 for point in candidates if point.rare and self._in_all(point) <= most
            }
            common = [point for point in candidates if not point.rare]
            if common:  # What is rare may never come: it does not live for ever.
                other = draws.choice(common)
                armed[other.name] = draws.randint(other.place.often, LATER * other.place.often)
        return Fate(
            armed=armed,
            term_after_s=term_s if part is Part.DRAIN else None,
            kill_after_s=RESTLESS_S + term_s if self._restless else None,
            seed=seed,
        )

    def _in_all(self, point: Point) -> int:
        return self._before.get(point.name, 0) + self.kills[point.name]


def _part(chance: float, parts: set[Part]) -> Part:
    if Part.START in parts and chance < START_SHARE:
        return Part.START
    if Part.DRAIN in parts and chance > 1 - DRAIN_SHARE:
        return Part.DRAIN
    for part in (Part.WORK, Part.DRAIN, Part.START):
        if part in parts:
            return part
    return Part.WORK


class RandomPlan:
    """Lives that are ended from outside at random instants, some of them started as people do."""

    def __init__(self, seed: int, kills: int, *, real: bool = True) -> None:
        self._seed = seed
        self._real_share = REAL_SHARE if real else 0.0
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
        real = draws.random() < self._real_share
        return Fate(kill_after_s=lives_s + (1.0 if real else 0.0), real=real)
