"""Makes a failing seed smaller, for whoever has to read it."""

from __future__ import annotations

from dataclasses import replace

from tests.simulation.scenario import Size, scenario_of
from tests.simulation.world import play


def shrunk(seed: int, size: Size) -> Size:
    """Return the least that still violates the same invariant: fewer kinds, fewer payouts."""
    wanted = _violated(seed, size)
    if wanted is None:
        return size
    small = replace(size, only=scenario_of(seed, size).kinds, without=frozenset())
    if _violated(seed, small) != wanted:
        return size
    for kind in sorted(small.only or ()):
        fewer = replace(small, only=(small.only or frozenset()) - {kind})
        if _violated(seed, fewer) == wanted:
            small = fewer
    for payouts in (1, 2, 3, 5, 8, 13):
        fewer = replace(small, payouts=payouts)
        if payouts < small.payouts and _violated(seed, fewer) == wanted:
            return fewer
    return small


def _violated(seed: int, size: Size) -> int | None:
    violations = play(seed, size).violations
    return violations[0].invariant if violations else None
