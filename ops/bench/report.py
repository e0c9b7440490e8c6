"""What a run has shown: one document for programs, and from it one table for people."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from ops.bench.findings import Drain, Findings, HalfLoad
from ops.bench.measures import OWN_ROLES, ROLES, spread
from ops.bench.stacks import OURS, STACKS

OWN: Final = "worker + callback server"
QUIET_CORES: Final = 0.15
_LATENCIES: Final[Mapping[str, str]] = {
    "request_p50_ms": "ms command to request, p50",
    "request_p99_ms": "ms command to request, p99",
    "event_p50_ms": "ms Result to event, p50",
    "event_p99_ms": "ms Result to event, p99",
}

Document = dict[str, Any]


def documented(findings: Findings) -> Document:
    """Return all figures, ready for JSON: of each round, and medians with their ranges."""
    options = findings.options
    return {
        "machine": {
            "cores": os.cpu_count(),
            "system": platform.platform(terse=True),
            "python": platform.python_version(),
        },
        "options": {
            "stacks": list(options.stacks),
            "rounds": options.rounds,
            "half_loads": options.half_loads,
            "payouts": options.payouts,
            "seconds": options.seconds,
            "concurrency": options.concurrency,
        },
        "stacks": {name: _stack(findings, name) for name in options.stacks},
        "ratios": {
            f"{OURS}/{name}": _ratios(findings, name)
            for name in options.stacks
            if OURS in options.stacks and name != OURS
        },
        "rounds": [_round(one) for one in findings.drains],
        "half_load_rounds": [_half_load_round(one) for one in findings.half_loads],
    }


def own_cpu_us(one: Drain) -> float:
    """Return the microseconds for each payout of what a stack consists of."""
    return sum(one.pace.cpu_us[role] for role in OWN_ROLES)


def _stack(findings: Findings, name: str) -> Document:
    drains, half_loads = findings.drains_of(name), findings.half_loads_of(name)
    told: Document = {
        "payouts": drains[0].payouts,
        "payouts_per_s": _spread(drains, lambda one: one.pace.rate),
        "cpu_us_per_payout": {
            OWN: _spread(drains, own_cpu_us),
            **_each(drains, ROLES, lambda one: one.pace.cpu_us),
        },
        "peak_mib": _each(drains, OWN_ROLES, lambda one: one.peak_mib),
        "others_cores": _spread(drains, lambda one: one.pace.foreign),
        "repeated_events": sum(one.repeats for one in drains),
    }
    if half_loads:
        told["half_load"] = {
            "payouts": half_loads[0].payouts,
            "rate": half_loads[0].rate,
            "others_cores": _spread(half_loads, lambda one: one.foreign),
            "repeated_events": sum(one.repeats for one in half_loads),
            **_each(half_loads, list(_LATENCIES), lambda one: asdict(one.latency)),
        }
    return told


def _ratios(findings: Findings, other: str) -> Document:
    """Rounds are compared with those beside them: what disturbed one disturbed the other, too."""
    pairs = list(zip(findings.drains_of(OURS), findings.drains_of(other), strict=True))
    return {
        "payouts_per_s": _spread(pairs, lambda pair: pair[0].pace.rate / pair[1].pace.rate),
        "cpu_us_per_payout": _spread(pairs, lambda pair: own_cpu_us(pair[0]) / own_cpu_us(pair[1])),
    }


def _round(one: Drain) -> Document:
    return {
        "stack": one.stack,
        "payouts": one.payouts,
        "payouts_per_s": one.pace.rate,
        "cpu_us_per_payout": dict(one.pace.cpu_us),
        "peak_mib": dict(one.peak_mib),
        "others_cores": one.pace.foreign,
        "repeated_events": one.repeats,
    }


def _half_load_round(one: HalfLoad) -> Document:
    return {
        "stack": one.stack,
        "payouts": one.payouts,
        "rate": one.rate,
        **asdict(one.latency),
        "others_cores": one.foreign,
        "repeated_events": one.repeats,
    }


def _each(
    rounds: Sequence[Any], names: Sequence[str], figures: Callable[[Any], Mapping[str, float]]
) -> dict[str, dict[str, float]]:
    return {name: asdict(spread([figures(one)[name] for one in rounds])) for name in names}


def _spread(rounds: Sequence[Any], figure: Callable[[Any], float]) -> dict[str, float]:
    return asdict(spread([figure(one) for one in rounds]))


def markdown(told: Document) -> str:
    """Return the figures as a table: medians, in brackets the least and the greatest round."""
    stacks: dict[str, Document] = told["stacks"]
    rows = [
        ("payouts in a round", [f"{one['payouts']:,}" for one in stacks.values()]),
        ("payouts/s", [_cell(one["payouts_per_s"]) for one in stacks.values()]),
        *_compared(told, "payouts_per_s", f"payouts/s, {OURS} to this"),
    ]
    for role in (OWN, *ROLES):
        cells = [_cell(one["cpu_us_per_payout"][role]) for one in stacks.values()]
        rows.append((f"CPU µs/payout, {role}", cells))
        if role == OWN:
            rows += _compared(told, "cpu_us_per_payout", f"CPU, {OURS} to this")
    rows += [
        (f"peak MiB, {role}", [_cell(one["peak_mib"][role]) for one in stacks.values()])
        for role in OWN_ROLES
    ]
    rows += _half_load_rows(stacks)
    cells = [_cell(one["others_cores"], 1) for one in stacks.values()]
    rows.append(("cores used by others meanwhile", cells))
    repeats = [f"{one['repeated_events']:,}" for one in stacks.values()]
    rows.append(("events repeated, same id", repeats))
    lines = [_line("", list(stacks)), _line("---", ["---:"] * len(stacks))]
    lines += [_line(title, cells) for title, cells in rows]
    return "\n".join([*lines, "", *_notes(told)]) + "\n"


def _compared(told: Document, figure: str, title: str) -> list[tuple[str, list[str]]]:
    ratios: dict[str, Document] = told["ratios"]
    if not ratios:
        return []
    found = [ratios.get(f"{OURS}/{name}") for name in told["stacks"]]
    return [(title, ["" if one is None else _cell(one[figure], 2) for one in found])]


def _half_load_rows(stacks: Mapping[str, Document]) -> list[tuple[str, list[str]]]:
    halves = [one.get("half_load") for one in stacks.values()]
    if not all(halves):
        return []
    rates = [f"{one['rate']:,.0f}" for one in halves if one]
    return [
        ("half load, payouts/s", rates),
        *(
            (title, [_cell(one[figure], 1) for one in halves if one])
            for figure, title in _LATENCIES.items()
        ),
    ]


def _notes(told: Document) -> list[str]:
    options, machine = told["options"], told["machine"]
    rounds = f"{options['rounds']} rounds of each in turn"
    if options["half_loads"]:
        rounds += f", then {options['half_loads']} of each at half load"
    where = f"{machine['cores']} cores, Python {machine['python']}, {machine['system']}"
    return [
        f"{rounds}; {options['concurrency']} requests in flight; {where}.",
        *_warning(told["stacks"]),
        "",
        *(f"- {name}: {STACKS[name].about}." for name in told["stacks"]),
    ]


def _warning(stacks: Mapping[str, Document]) -> list[str]:
    most = max(one["others_cores"]["high"] for one in stacks.values())
    if most < QUIET_CORES:
        return []
    return ["", f"The machine was not quiet: others used up to {most:.1f} cores meanwhile."]


def _line(title: str, cells: Sequence[str]) -> str:
    return f"| {' | '.join((title, *cells))} |"


def _cell(found: Mapping[str, float], digits: int = 0) -> str:
    median, low, high = (f"{found[name]:,.{digits}f}" for name in ("median", "low", "high"))
    return f"{median} ({low} to {high})"
