"""What the rounds have shown: for people, and for programs. Pure functions."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from ops.bench.sending.rounds import Round
from ops.bench.sending.tries import Used

QUIET: Final = 0.1  # The part of a machine that others may use while it counts as quiet.
REACH: Final = 10_000


def document(rounds: Sequence[Round], budget: Mapping[str, float], rows: int) -> dict[str, Any]:
    """Return everything, ready for JSON."""
    first = rounds[0]
    return {
        "rows": rows,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "rows_per_s": rows / first.last.wall,
        "others_cores": _others(first),
        "budget_cpu_us": dict(budget),
        "rounds": [_record(one) for one in rounds],
    }


def lines(rounds: Sequence[Round], budget: Mapping[str, float], rows: int) -> Iterator[str]:
    """Yield the report line by line."""
    first = rounds[0]
    yield f"{rows:,} rows in one go"
    yield from _parts(first, rows)
    yield f"  peak memory of the client  {first.last.peak_mib:>8,.0f} MiB"
    yield f"  rows in a second           {rows / first.last.wall:>8,.0f}   ({REACH:,} are wanted)"
    if _others(first) > QUIET * (os.cpu_count() or 1):
        yield f"  The machine was not quiet: others used {_others(first):.1f} cores meanwhile."
    yield ""
    yield "CPU of the client by step, µs a row"
    for step, cpu_us in budget.items():
        yield f"  {step:<48} {cpu_us:>6.1f}"
    yield ""
    yield f"{'round':<20} {'rows missing':>13} {'rows twice':>11} {'may be':>8}"
    for one in rounds:
        yield f"{one.name:<20} {one.missing:>13,} {one.repeated:>11,} {one.allowed:>8,}"


def _parts(one: Round, rows: int) -> Iterator[str]:
    names = ("wall s", "client", "RabbitMQ", "PostgreSQL")
    yield f"  {'CPU in µs a row':<14} {names[0]:>9} {names[1]:>9} {names[2]:>9} {names[3]:>11}"
    for name, used in (("check", one.last.checking), ("publish", one.last.publishing)):
        client, rabbitmq, postgresql = _each(used, rows)
        yield (
            f"  {name:<15} {used.wall:>9.1f} {client:>9.1f} {rabbitmq:>9.1f} {postgresql:>11.1f}"
        )


def _each(used: Used, rows: int) -> tuple[float, float, float]:
    scale = 1e6 / rows
    return used.client * scale, used.rabbitmq * scale, used.postgresql * scale


def _others(one: Round) -> float:
    """Return how many cores everybody else used meanwhile."""
    used = one.last.checking.others + one.last.publishing.others
    return used / one.last.wall


def _record(one: Round) -> dict[str, Any]:
    last = one.last
    return {
        "name": one.name,
        "stops": [asdict(stop) for stop in one.stops],
        "published_by_the_last_try": (last.told or {}).get("published"),
        "wall_s": last.wall,
        "peak_mib": last.peak_mib,
        "checking": asdict(last.checking),
        "publishing": asdict(last.publishing),
        "missing": one.missing,
        "repeated": one.repeated,
        "allowed": one.allowed,
        "fine": one.fine,
    }
