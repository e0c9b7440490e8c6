"""From what was seen to figures: pure, and the same for every stack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from math import ceil
from statistics import median
from typing import Final

from ops.bench.errors import TooShortError

FROM: Final = 0.15
TO: Final = 0.90
ROLES: Final = ("worker", "callback server", "RabbitMQ", "PostgreSQL", "simulator", "driver")
OWN_ROLES: Final = ("worker", "callback server")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What was seen at one instant of a round.

    Args:
        at_s: on any clock that does not jump.
        events: completion events in the queue.
        cpu_s: CPU time so far, by role.
        busy_s: CPU time so far of the whole machine.
    """

    at_s: float
    events: float
    cpu_s: Mapping[str, float]
    busy_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """One round between 15 % and 90 % of its payouts.

    Args:
        rate: payouts in a second.
        cpu_us: microseconds of CPU for each payout, by role.
        foreign: CPU that others on this machine used meanwhile, in cores.
    """

    rate: float
    cpu_us: Mapping[str, float]
    foreign: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Journey:
    """When a payout passed each point, in seconds of one clock.

    Args:
        published_at: its command was handed to RabbitMQ.
        requested_at: the simulator took its request.
        told_at: the simulator sent its Result.
        heard_at: its event came to the listener.
    """

    published_at: float
    requested_at: float
    told_at: float
    heard_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Milliseconds from command to request, and from Result to event."""

    request_p50_ms: float
    request_p99_ms: float
    event_p50_ms: float
    event_p99_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A figure over several rounds."""

    median: float
    low: float
    high: float


def pace(samples: Sequence[Sample], payouts: int) -> Pace:
    """Return what happened between 15 % and 90 % of `payouts`.

    Raises:
        TooShortError: both fall on the same instant.
    """
    begin, end = moment(samples, payouts * FROM), moment(samples, payouts * TO)
    seconds, done = end.at_s - begin.at_s, end.events - begin.events
    if seconds <= 0 or done <= 0:
        raise TooShortError
    spent = {role: end.cpu_s[role] - begin.cpu_s[role] for role in end.cpu_s}
    return Pace(
        rate=done / seconds,
        cpu_us={role: used / done * 1e6 for role, used in spent.items()},
        foreign=foreign(begin, end),
    )


def best_rate(samples: Sequence[Sample], *, span_s: float = 1.0) -> float:
    """Return the most events in a second, over any span of at least that length.

    What has just been started is slow for a while; a round is to last as long as it is asked to.

    Raises:
        TooShortError: there were none, or the span is longer than all.
    """
    rates = [
        (end.events - begin.events) / (end.at_s - begin.at_s)
        for begin, end in combinations(samples, 2)
        if end.at_s - begin.at_s >= span_s
    ]
    if max(rates, default=0) <= 0:
        raise TooShortError
    return max(rates)


def foreign(begin: Sample, end: Sample) -> float:
    """Return the CPU that nobody of the round used between two samples, in cores.

    Not below 0: the system counts the machine's time and its processes' in different ways.
    """
    ours = sum(end.cpu_s.values()) - sum(begin.cpu_s.values())
    return max(0.0, (end.busy_s - begin.busy_s - ours) / (end.at_s - begin.at_s))


def moment(samples: Sequence[Sample], events: float) -> Sample:
    """Return the instant at which there were so many events, on the line between two samples.

    Raises:
        TooShortError: there never were so many, or from the beginning.
    """
    for before, after in pairwise(samples):
        if before.events <= events <= after.events and before.events < after.events:
            part = (events - before.events) / (after.events - before.events)
            return _between(before, after, part)
    raise TooShortError


def latency(journeys: Sequence[Journey]) -> Latency:
    """Return how long payouts waited, of those published between 15 % and 90 % of all.

    The first ones meet processes that have just started, the last ones an emptier machine.
    """
    ordered = sorted(journeys, key=lambda one: one.published_at)
    chosen = ordered[int(len(ordered) * FROM) : ceil(len(ordered) * TO)]
    requests = [(one.requested_at - one.published_at) * 1000 for one in chosen]
    events = [(one.heard_at - one.told_at) * 1000 for one in chosen]
    return Latency(
        request_p50_ms=percentile(requests, 0.5),
        request_p99_ms=percentile(requests, 0.99),
        event_p50_ms=percentile(events, 0.5),
        event_p99_ms=percentile(events, 0.99),
    )


def percentile(values: Sequence[float], part: float) -> float:
    """Return the smallest value that at least this part (0 to 1) of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(ceil(part * len(ordered)), 1) - 1]


def spread(values: Sequence[float]) -> Spread:
    """Return median, least and greatest."""
    return Spread(median=median(values), low=min(values), high=max(values))


def _between(before: Sample, after: Sample, part: float) -> Sample:
    def at(first: float, second: float) -> float:
        return first + (second - first) * part

    return Sample(
        at_s=at(before.at_s, after.at_s),
        events=at(before.events, after.events),
        cpu_s={role: at(before.cpu_s[role], after.cpu_s[role]) for role in after.cpu_s},
        busy_s=at(before.busy_s, after.busy_s),
    )
