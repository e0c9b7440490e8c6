"""What a run of rounds showed, as a table for people and as JSON for machines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.faults.killing import Order, Outcome
from tests.faults.points import POINTS, Load
from tests.faults.recovery import Recoveries


def replay_of(order: Order) -> str:
    """Return the command that holds a round once more: the same draws, not the same instants."""
    more = f" --more {','.join(order.more)}" if order.more else ""
    of = f"{order.kind}:{order.seed}:{order.payouts}:{order.times}"
    return f"bash ops/chaos.sh --replay {of}{more}"


@dataclass(slots=True)
class Totals:
    """The sums over all rounds so far."""

    rounds: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    figures: Counter[str] = field(default_factory=Counter)
    seconds: Counter[str] = field(default_factory=Counter)
    worst_settling_s: float = 0.0
    recoveries: dict[str, Recoveries] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def add(self, outcome: Outcome) -> list[str]:
        """Take in a round; return what was wrong with it."""
        order, judgement = outcome.order, outcome.judgement
        self.rounds[order.kind] += 1
        self.kills += outcome.kills
        self.faults += outcome.faults
        self.states += Counter(judgement.states)
        self.figures += Counter(
            births=outcome.births,
            published=judgement.published,
            payments=judgement.payments,
            events=judgement.events,
            dead_letters=judgement.dead_letters,
            resumed=outcome.resumed,
        )
        self.seconds["killing"] += round(outcome.killing_s)
        self.seconds["settling"] += round(outcome.settling_s)
        self.worst_settling_s = max(self.worst_settling_s, outcome.settling_s)
        for kind, times in outcome.recoveries.items():
            self.recoveries.setdefault(f"{kind}, {order.kind}", Recoveries()).join(times)
        wrong = [*map(str, judgement.violations), *outcome.problems]
        self.violations += [f"{replay_of(order)}: {one}" for one in wrong]
        return wrong

    @property
    def killed(self) -> int:
        """Count all violent deaths."""
        return self.kills.total()

    def told(self) -> dict[str, Any]:
        """Return all figures."""
        points = {name: self.kills[name] for name in POINTS}
        return {
            "rounds": dict(self.rounds),
            "kills": self.killed,
            "kills_per_minute": round(60 * self.killed / max(1, self.seconds["killing"])),
            "kills_by_point": points,
            "least_killed_point": min(points, key=points.__getitem__),
            "points_never_killed": [name for name, count in points.items() if not count],
            "kills_otherwise": {
                cause: count for cause, count in self.kills.items() if cause not in POINTS
            },
            "faults": dict(self.faults),
            "states": dict(self.states),
            **self.figures,
            "seconds": dict(self.seconds),
            "worst_settling_s": round(self.worst_settling_s, 1),
            "recoveries": {kind: times.told() for kind, times in self.recoveries.items()},
            "violations": self.violations,
        }


def table(totals: Totals) -> str:
    """Return the figures as lines for people."""
    return "\n".join(_lines(totals))


def _lines(totals: Totals) -> Iterator[str]:
    told = totals.told()
    if totals.rounds[Load.MIXED]:
        yield "kills by point"
        width = max(map(len, POINTS))
        yield from (
            f"  {name.ljust(width)}  {count:6}" for name, count in told["kills_by_point"].items()
        )
        yield f"  least: {told['least_killed_point']}; never: {told['points_never_killed']}"
    yield "other kills"
    yield from (f"  {cause}: {count}" for cause, count in told["kills_otherwise"].items())
    if totals.faults:
        yield "faults"
        yield from (f"  {kind}: {count}" for kind, count in sorted(totals.faults.items()))
    yield "time to recover (from a death to the end of the last payout that it touched)"
    for kind, times in told["recoveries"].items():
        yield "  " + kind + ": " + ", ".join(f"{name} {value}" for name, value in times.items())
    yield ""
    yield "rounds      " + ", ".join(f"{kind} {count}" for kind, count in totals.rounds.items())
    yield f"kills       {totals.killed}, {told['kills_per_minute']} a minute of killing"
    yield f"payouts     {totals.figures['published']} commands, " + ", ".join(
        f"{state} {count}" for state, count in sorted(totals.states.items())
    )
    yield (
        f"seen        {totals.figures['payments']} payments, {totals.figures['events']} events,"
        f" {totals.figures['dead_letters']} dead letters"
    )
    yield (
        f"to the end  {totals.seconds['settling']} s after the last kill in all,"
        f" {totals.worst_settling_s:.1f} s at worst"
    )
    yield f"violations  {len(totals.violations)}"
    yield from (f"  {one}" for one in totals.violations[:20])


def line(outcome: Outcome) -> str:
    """Return one round in a line."""
    states = ", ".join(f"{state} {n}" for state, n in sorted(outcome.judgement.states.items()))
    wrong = len(outcome.judgement.violations) + len(outcome.problems)
    return (
        f"{outcome.order.kind} {outcome.order.seed}: {outcome.kills.total()} kills in"
        f" {outcome.killing_s:.0f} s, then {outcome.settling_s:.1f} s; {states};"
        f" {len(outcome.owed)} points owed; {wrong} violations"
    )
