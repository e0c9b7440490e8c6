"""What a run has shown, as a Markdown table for people and as JSON for programs."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from typing import Any, Final

from ops.bench.findings import Drain, Findings
from ops.bench.measures import OWN_ROLES, ROLES, Spread, spread
from ops.bench.stacks import BARE, STACKS

OWN: Final = "worker + callback server"


def documented(findings: Findings) -> dict[str, Any]:
    """Return all figures, ready for JSON: each round, and medians with their ranges."""
    options = findings.options
    return {
        "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
        "options": {
            "stacks": list(options.stacks),
            "rounds": options.rounds,
            "payouts": options.payouts,
            "seconds": options.seconds,
            "concurrency": options.concurrency,
        },
        "stacks": {name: _stack(findings.of(name)) for name in options.stacks},
        "rounds": [_round(one) for one in findings.drains],
    }


def _round(one: Drain) -> dict[str, Any]:
    return {
        "stack": one.stack,
        "payouts": one.payouts,
        "payouts_per_s": one.pace.rate,
        "cpu_us_per_payout": dict(one.pace.cpu_us),
        "peak_mib": dict(one.peak_mib),
        "others_cores": one.pace.foreign,
        "repeated_events": one.repeats,
    }


def _stack(rounds: Sequence[Drain]) -> dict[str, Any]:
    return {
        "payouts": rounds[0].payouts,
        "payouts_per_s": _plain(spread([one.pace.rate for one in rounds])),
        "cpu_us_per_payout": {
            **{role: _plain(spread([one.pace.cpu_us[role] for one in rounds])) for role in ROLES},
            OWN: _plain(spread([_own(one) for one in rounds])),
        },
        "peak_mib": {
            role: _plain(spread([one.peak_mib[role] for one in rounds])) for role in OWN_ROLES
        },
        "others_cores": _plain(spread([one.pace.foreign for one in rounds])),
    }


def _own(one: Drain) -> float:
    return sum(one.pace.cpu_us[role] for role in OWN_ROLES)


def _plain(found: Spread) -> dict[str, float]:
    return {"median": found.median, "low": found.low, "high": found.high}


def markdown(told: dict[str, Any]) -> str:
    """Return the figures of `documented` as tables, medians with their ranges in brackets."""
    names = list(told["stacks"])
    stacks = list(told["stacks"].values())
    lines = [_row("", names), _row("---", ["---:"] * len(names))]
    lines.append(_row("payouts/s", [_cell(one["payouts_per_s"]) for one in stacks]))
    for role in (OWN, *ROLES):
        cells = [_cell(one["cpu_us_per_payout"][role]) for one in stacks]
        lines.append(_row(f"CPU µs, {role}", cells))
    lines += [
        _row(f"peak MiB, {role}", [_cell(one["peak_mib"][role]) for one in stacks])
        for role in OWN_ROLES
    ]
    lines.extend(_row(title, cells) for title, cells in _ratios(told, names))
    lines += ["", *(f"- {name}: {STACKS[name].about}" for name in names)]
    return "\n".join(lines) + "\n"


def _ratios(told: dict[str, Any], names: Sequence[str]) -> list[tuple[str, list[str]]]:
    if BARE not in names:
        return []

    def rate(name: str) -> float:
        return float(told["stacks"][name]["payouts_per_s"]["median"])

    def own(name: str) -> float:
        return float(told["stacks"][name]["cpu_us_per_payout"][OWN]["median"])

    return [
        (f"payouts/s, times {BARE}", [f"{rate(name) / rate(BARE):.2f}" for name in names]),
        (f"CPU µs, {OWN}, times {BARE}", [f"{own(name) / own(BARE):.2f}" for name in names]),
    ]


def _row(title: str, cells: Sequence[str]) -> str:
    return f"| {' | '.join((title, *cells))} |"


def _cell(found: dict[str, float]) -> str:
    return f"{found['median']:,.0f} ({found['low']:,.0f} to {found['high']:,.0f})"
