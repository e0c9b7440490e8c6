"""The picture of a run: `.venv-bench/bin/python ops/bench/chart.py bench.json FOLDER`.

Writes `bench.png` and `bench.svg`. It is a program of its own since matplotlib is no dependency of
this project; it reads what `payouts bench` has written and imports nothing of it.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

ROLES: Final = {
    "worker": "#1b6ca8",
    "callback server": "#5aa9e6",
    "RabbitMQ": "#f28f3b",
    "PostgreSQL": "#6a994e",
    "simulator": "#c9c9c9",
}
_SIZE_IN: Final = (11.0, 7.5)
_DPI: Final = 150
_WIDTH: Final = 0.6
_LATENCIES: Final = {
    "command to request, p99": "request_p99_ms",
    "Result to event, p99": "event_p99_ms",
}
_GOAL_MS: Final = 50

Figures = Mapping[str, Mapping[str, Any]]


def draw(told: Mapping[str, Any]) -> Figure:
    """Return the picture of what a run has told."""
    stacks: Figures = told["stacks"]
    half_load = all("half_load" in one for one in stacks.values())
    figure = Figure(figsize=_SIZE_IN, layout="constrained")
    places = figure.subplots(2, 2)
    _spread_bars(places[0][0], stacks, "payouts_per_s", "payouts/s (more is better)")
    _stacked_cpu(places[0][1], stacks)
    _memory(places[1][0], stacks)
    if half_load:
        _latencies(places[1][1], stacks)
    else:
        places[1][1].set_axis_off()
    options, machine = told["options"], told["machine"]
    figure.suptitle(
        f"Medians; rounds in turn: {options['rounds']}; {machine['cores']} cores, shared by all"
        f" processes; {options['concurrency']} requests in flight",
        fontsize=10,
    )
    return figure


def _spread_bars(axes: Axes, stacks: Figures, figure: str, title: str) -> None:
    found = [one[figure] for one in stacks.values()]
    medians = [one["median"] for one in found]
    below = [one["median"] - one["low"] for one in found]
    above = [one["high"] - one["median"] for one in found]
    axes.bar(list(stacks), medians, _WIDTH, yerr=(below, above), capsize=4, color="#1b6ca8")
    for place, one in enumerate(medians):
        # At the foot of the bar, where the range does not cross it.
        axes.annotate(
            f"{one:,.0f}",
            (place, 0),
            xytext=(0, 4),
            textcoords="offset points",
            ha="center",
            color="white",
        )
    axes.set_title(title)


def _stacked_cpu(axes: Axes, stacks: Figures) -> None:
    bottoms = [0.0] * len(stacks)
    for role, colour in ROLES.items():
        values = [one["cpu_us_per_payout"][role]["median"] for one in stacks.values()]
        axes.bar(list(stacks), values, _WIDTH, bottom=bottoms, label=role, color=colour)
        bottoms = [bottom + value for bottom, value in zip(bottoms, values, strict=True)]
    for place, total in enumerate(bottoms):
        axes.annotate(f"{total:,.0f}", (place, total), ha="center", va="bottom")
    axes.margins(y=0.12)
    axes.set_title("CPU µs for each payout, by process (less is better)")
    axes.legend(fontsize=8)


def _memory(axes: Axes, stacks: Figures) -> None:
    names = ("worker", "callback server")
    values = [[one["peak_mib"][name]["median"] for one in stacks.values()] for name in names]
    _grouped(axes, list(stacks), values, names)
    axes.set_title("peak memory, MiB (less is better)")


def _latencies(axes: Axes, stacks: Figures) -> None:
    halves = [one["half_load"] for one in stacks.values()]
    values = [[one[figure]["median"] for one in halves] for figure in _LATENCIES.values()]
    _grouped(axes, list(stacks), values, list(_LATENCIES))
    axes.set_yscale("log")
    axes.axhline(_GOAL_MS, color="black", linewidth=0.8, linestyle="--")
    axes.set_title(f"ms at half of its own throughput (less is better; line: {_GOAL_MS})")


def _grouped(
    axes: Axes, stacks: Sequence[str], values: Sequence[Sequence[float]], names: Sequence[str]
) -> None:
    width = _WIDTH / len(names)
    for index, (name, row) in enumerate(zip(names, values, strict=True)):
        places = [at + (index - (len(names) - 1) / 2) * width for at in range(len(stacks))]
        bars = axes.bar(places, row, width, label=name, color=list(ROLES.values())[index])
        axes.bar_label(bars, [f"{one:,.0f}" for one in row], fontsize=8)
    axes.set_xticks(range(len(stacks)), stacks)
    axes.legend(fontsize=8)


def main(arguments: Sequence[str]) -> int:
    """Draw what the first argument tells into the folder of the second."""
    source, folder = Path(arguments[0]), Path(arguments[1])
    # The same figures make the same file, so that a change of it means something.
    mpl.rcParams["svg.hashsalt"] = "payouts"
    mpl.rcParams["svg.fonttype"] = "none"
    figure = draw(json.loads(source.read_text(encoding="utf-8")))
    figure.savefig(folder / "bench.png", dpi=_DPI)
    figure.savefig(folder / "bench.svg", metadata={"Date": None})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
