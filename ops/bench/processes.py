"""Whether worker processes together pay as many times as much as one: with more and more of them.

`payouts bench processes`: private servers, and a gateway that takes its time for each answer. So
a process is bound by its requests in flight, as behind a real one, until the cores are used. All
share one queue, one database and one callback server.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import uvloop

from ops.bench.drain import drain
from ops.bench.findings import Drain
from ops.bench.site import Delays, open_site
from ops.bench.stacks import OURS, STACKS
from ops.local import LocalStack

SERVERS: Final = "processes"
CONCURRENCY: Final = 40  # Of each process: so few that some processes fit on two cores.
# A slot is taken for the gateway's time and for two commits: sizes are guessed from this.
_SLOT_OVERHEAD_S: Final = 0.05

Tell = Callable[[str], None]
Document = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a person asked for.

    Args:
        processes: how many workers there are, one number after the other, the least first.
        answer_s: what the gateway takes for each answer, in seconds.
        seconds: of each round, about, where cores do not bound it.
        rounds: of each number.
        output: the folder of the results.
    """

    processes: Sequence[int]
    answer_s: float
    seconds: float
    rounds: int
    output: Path

    def payouts(self, processes: int) -> int:
        """Return how many payouts a round with so many processes has."""
        each = CONCURRENCY / (self.answer_s + _SLOT_OVERHEAD_S)
        return max(100, round(processes * each * self.seconds))


def run(options: Options, tell: Tell) -> Document:
    """Measure, and write the results as JSON and as Markdown.

    Raises:
        BenchError: payouts were not paid once.
        LocalServerError: a server did not start.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(measure(options, tell))
    document = documented(options, found)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "processes.json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    (options.output / "processes.md").write_text(markdown(document), "utf-8")
    return document


async def measure(options: Options, tell: Tell) -> dict[int, list[Drain]]:
    """Return the rounds of each number of processes."""
    found: dict[int, list[Drain]] = {number: [] for number in options.processes}
    async with LocalStack(SERVERS) as servers:
        for turn in range(1, options.rounds + 1):
            for number, rounds in found.items():
                async with open_site(
                    servers,
                    f"processes_{number}_{turn}",
                    concurrency=CONCURRENCY,
                    delays=Delays(answer_s=options.answer_s),
                    workers=number,
                ) as site:
                    rounds.append(await drain(STACKS[OURS], site, options.payouts(number)))
                tell(f"round {turn}, {number}: {rounds[-1].pace.rate:,.0f} payouts/s")
    return found


def documented(options: Options, found: Mapping[int, Sequence[Drain]]) -> Document:
    """Return all figures, ready for JSON."""
    rates = {number: median(one.pace.rate for one in rounds) for number, rounds in found.items()}
    least = min(rates)
    return {
        "cores": os.cpu_count(),
        "concurrency": CONCURRENCY,
        "answer_s": options.answer_s,
        "runs": [
            {
                "processes": number,
                "payouts": options.payouts(number),
                "payouts_per_s": rates[number],
                "of_linear": rates[number] / (rates[least] / least * number),
                "worker_cpu_us": median(one.pace.cpu_us["worker"] for one in rounds),
                "cores_used": median(_cores(one) for one in rounds),
                "others_cores": max(one.pace.foreign for one in rounds),
            }
            for number, rounds in found.items()
        ],
    }


def _cores(drained: Drain) -> float:
    return sum(drained.pace.cpu_us.values()) * drained.pace.rate / 1e6


def markdown(document: Document) -> str:
    """Return the figures as a table."""
    head = (
        *("worker processes", "payouts/s", "of as many times the first"),
        *("CPU µs/payout, workers", "cores used by all"),
    )
    lines = [f"| {' | '.join(head)} |", f"|{' ---: |' * len(head)}"]
    lines += [
        f"| {one['processes']} | {one['payouts_per_s']:,.0f} | {one['of_linear']:.0%}"
        f" | {one['worker_cpu_us']:,.0f} | {one['cores_used']:.2f} |"
        for one in document["runs"]
    ]
    lines += ["", _circumstances(document)]
    return "\n".join(lines) + "\n"


def _circumstances(document: Document) -> str:
    others = max(one["others_cores"] for one in document["runs"])
    return (
        f"{document['concurrency']} requests in flight of each process, a gateway that takes"
        f" {document['answer_s']:g} s for each answer, one callback server; {document['cores']}"
        f" cores, of which others used up to {others:.1f}."
    )
