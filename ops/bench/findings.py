"""What a run was asked for, and what it found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ops.bench.measures import Latency, Pace


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """What one round of one stack showed.

    Args:
        payouts: which waited at its start.
        pace: between 15 % and 90 % of them.
        peak_mib: the most memory that worker and callback server had, by role.
        repeats: events that came more than once, with the same id.
    """

    stack: str
    payouts: int
    pace: Pace
    peak_mib: Mapping[str, float]
    repeats: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HalfLoad:
    """What one round at half load showed.

    Args:
        payouts: which were published, evenly.
        rate: in a second.
        latency: of those between 15 % and 90 % of them.
        foreign: CPU that others on this machine used meanwhile, in cores.
        repeats: events that came more than once, with the same id.
    """

    stack: str
    payouts: int
    rate: float
    latency: Latency
    foreign: float
    repeats: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a person asked for.

    Args:
        stacks: their names, in the order of each round.
        rounds: of each stack.
        payouts: the most that wait at the start of one round.
        seconds: which a round may take; a slow stack has fewer payouts for it.
        concurrency: requests in flight.
        half_loads: latency rounds of each stack; 0 for none.
        output: the folder of the results.
    """

    stacks: Sequence[str]
    rounds: int
    payouts: int
    seconds: float
    concurrency: int
    half_loads: int
    output: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """All that was measured, round by round."""

    options: Options
    drains: Sequence[Drain]
    half_loads: Sequence[HalfLoad]

    def drains_of(self, stack: str) -> list[Drain]:
        """Return the throughput rounds of one stack."""
        return [one for one in self.drains if one.stack == stack]

    def half_loads_of(self, stack: str) -> list[HalfLoad]:
        """Return the latency rounds of one stack."""
        return [one for one in self.half_loads if one.stack == stack]
