"""What the pace has shown: one document for programs, and from it a table for people."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from ops.bench.pacing import OVER, USED, Held

MOVING: Final = 0  # In place of a number of workers.
COMING_AND_GOING: Final = "coming and going"
QUIET_CORES: Final = 0.15

Document = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of workers with one limit.

    Args:
        limit: PAYOUTS_TPS.
        workers: how many; MOVING: they came and went.
        held: what came at the gateway.
        foreign: CPU that others on this machine used meanwhile, in cores.
        slowest_look_ms: the longest that the simulator took to answer a look.
        look_p99_ms: what 99 % of the looks did not exceed.
    """

    limit: int
    workers: int
    held: Held
    foreign: float
    slowest_look_ms: float
    look_p99_ms: float

    @property
    def who(self) -> str:
        """The workers in words."""
        if not self.workers:
            return f"workers {COMING_AND_GOING}"
        return f"{self.workers} worker{'s' if self.workers > 1 else ''}"


def documented(found: Sequence[Run], *, seconds: float) -> Document:
    """Return all figures, ready for JSON."""
    return {
        "machine": {
            "cores": os.cpu_count(),
            "system": platform.platform(terse=True),
            "python": platform.python_version(),
        },
        "seconds": seconds,
        "runs": [
            {
                "limit": one.limit,
                "workers": one.workers or COMING_AND_GOING,
                **asdict(one.held),
                "kept": one.held.kept,
                "enough": one.held.enough,
                "others_cores": one.foreign,
                "slowest_look_ms": one.slowest_look_ms,
                "look_p99_ms": one.look_p99_ms,
            }
            for one in found
        ],
    }


def broken(document: Document) -> list[str]:
    """Return in words which runs had more requests in a second than they may."""
    return [
        f"{one['limit']}/s, workers {one['workers']}: {one['busiest']} requests in a second,"
        f" {one['allowed']} allowed."
        for one in document["runs"]
        if not one["kept"]
    ]


def markdown(document: Document) -> str:
    """Return the runs as a table, and what the machine was like."""
    head = (
        "limit, /s",
        "workers",
        "most in a second",
        f"allowed (+{OVER:.0%})",
        f"limit used (≥ {USED:.0%})",
        "look p99, ms",
        "slowest look, ms",
        "cores used by others",
    )
    lines = [_line(head), _line(["---:", "---", *["---:"] * (len(head) - 2)])]
    lines += [
        _line(
            (
                f"{one['limit']}",
                f"{one['workers']}",
                _marked(f"{one['busiest']}", kept=one["kept"]),
                f"{one['allowed']}",
                _marked(f"{one['used']:.1%}", kept=one["enough"]),
                f"{one['look_p99_ms']:.0f}",
                f"{one['slowest_look_ms']:.0f}",
                f"{one['others_cores']:.1f}",
            )
        )
        for one in document["runs"]
    ]
    return "\n".join([*lines, "", *_notes(document)]) + "\n"


def _notes(document: Document) -> list[str]:
    machine = document["machine"]
    told = (
        f"{document['seconds']:g} s each; {machine['cores']} cores, Python {machine['python']},"
        f" {machine['system']}. **Bold**: missed. A look is a question to the simulator: as late"
        " as it answers one, it may have seen requests."
    )
    notes = [told]
    most = max(one["others_cores"] for one in document["runs"])
    if most >= QUIET_CORES:
        notes += ["", f"The machine was not quiet: others used up to {most:.1f} cores meanwhile."]
    return notes


def _marked(text: str, *, kept: bool) -> str:
    return text if kept else f"**{text}**"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
