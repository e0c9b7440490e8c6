"""From the instants at which requests came to whether the pace held: pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor
from typing import Final

from ops.bench.errors import TooShortError
from ops.bench.measures import FROM, TO

SPAN_S: Final = 1.0
OVER: Final = 0.02  # What any one second may hold above the limit.
USED: Final = 0.97  # What of the limit is used, at least, while work is waiting.
_ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """How the requests of one run kept to their limit.

    Args:
        requests: that came in the whole run.
        busiest: the most that came in any one second, wherever it begins.
        allowed: the most that may.
        used: the part of the limit that was used between 15 % and 90 % of the run's time.
    """

    requests: int
    busiest: int
    allowed: int
    used: float

    @property
    def kept(self) -> bool:
        """Whether no second holds more than it may."""
        return self.busiest <= self.allowed

    @property
    def enough(self) -> bool:
        """Whether the limit was used as far as it has to be."""
        return self.used >= USED


def held(arrived: Sequence[float], limit: float, *, until: float) -> Held:
    """Return how a run kept to `limit` requests per second.

    Args:
        arrived: when each request came, in seconds of one clock; the run begins with the first.
        limit: requests per second.
        until: when the run ended, by the same clock; requests that came later do not count.

    Raises:
        TooShortError: not even one span is in it.
    """
    ordered = sorted(at for at in arrived if at <= until)
    if not ordered or until - ordered[0] < SPAN_S:
        raise TooShortError
    whole_s = until - ordered[0]
    begin, end = ordered[0] + whole_s * FROM, ordered[0] + whole_s * TO
    within = sum(begin <= at < end for at in ordered)
    return Held(
        requests=len(ordered),
        busiest=busiest(ordered),
        allowed=most_allowed(limit),
        used=within / (end - begin) / limit,
    )


def most_allowed(limit: float) -> int:
    """Return how many requests any one second may hold."""
    return floor(limit * SPAN_S * (1 + OVER) + _ROUNDING)


def busiest(ordered: Sequence[float]) -> int:
    """Return the most instants in any one second, its begin counted in, its end not."""
    most = first = 0
    for last, at in enumerate(ordered):
        while at - ordered[first] >= SPAN_S:
            first += 1
        most = max(most, last - first + 1)
    return most
