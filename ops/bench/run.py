"""A whole run: a short look at each stack, then rounds in turn, so that all meet the same hour."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

import uvloop

from ops.bench.drain import drain, rough_rate
from ops.bench.findings import Drain, Findings, HalfLoad, Options
from ops.bench.half_load import half_load
from ops.bench.report import documented, markdown
from ops.bench.site import Site, open_site
from ops.bench.stacks import PEER_PYTHON, STACKS, Stack
from ops.demo.children import ROOT
from ops.local import LocalStack
from ops.local.processes import plain_environment
from payouts.runtime import collecting_seldom

SERVERS: Final = "bench-servers"
LEAST: Final = 100
_CHART: Final = ROOT / "ops" / "bench" / "chart.py"
_CHART_WITHIN_S: Final = 120

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What a run has shown, as it was written down."""

    document: Mapping[str, Any]
    markdown: str


def run(options: Options, tell: Tell) -> Results:
    """Measure, and write the results as JSON, as Markdown and as a picture.

    Raises:
        BenchError: a stack did not do its work.
        LocalServerError: something did not start.
    """
    # It tells when events come: looking through all that it has heard would make it late.
    with collecting_seldom(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            document = documented(runner.run(_interruptible(options, tell)))
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
    results = Results(document=document, markdown=markdown(document))
    options.output.mkdir(parents=True, exist_ok=True)
    figures = options.output / "bench.json"
    figures.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    (options.output / "bench.md").write_text(results.markdown, encoding="utf-8")
    draw(figures, tell)
    return results


def draw(figures: Path, tell: Tell) -> None:
    """Make a picture of what stands in `figures`, beside it; say why where that cannot be done."""
    if not PEER_PYTHON.exists():
        tell("No picture: .venv-bench is not there; ops/bench.sh makes it.")
        return
    with TemporaryDirectory(prefix="payouts-bench-") as settings:
        drawn = subprocess.run(
            [PEER_PYTHON, _CHART, figures, figures.parent],
            check=False,
            capture_output=True,
            text=True,
            timeout=_CHART_WITHIN_S,
            env={**plain_environment(), "MPLCONFIGDIR": settings},
        )
    if drawn.returncode:
        tell(f"No picture:\n{drawn.stderr}")


async def _interruptible(options: Options, tell: Tell) -> Findings:
    """SIGTERM and a closed terminal are as Ctrl-C: everything is stopped."""
    task = asyncio.current_task()
    if task is not None:
        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await measure(options, tell)


async def measure(options: Options, tell: Tell) -> Findings:
    """Return what all rounds showed; private servers are started and stopped.

    Raises:
        BenchError: a stack did not do its work.
        LocalServerError: something did not start.
    """
    stacks = [STACKS[name] for name in options.stacks]
    async with LocalStack(SERVERS) as servers:
        rounds = _Rounds(servers, options, tell)
        sizes = [await rounds.size(stack) for stack in stacks]
        drains = [
            await rounds.drain(stack, payouts, number)
            for number in range(1, options.rounds + 1)
            for stack, payouts in zip(stacks, sizes, strict=True)
        ]
        half_loads = [
            await rounds.half_load(stack, _rate(drains, stack) / 2, number)
            for number in range(1, options.half_loads + 1)
            for stack in stacks
        ]
    return Findings(options=options, drains=drains, half_loads=half_loads)


def _rate(drains: Sequence[Drain], stack: Stack) -> float:
    return median(one.pace.rate for one in drains if one.stack == stack.name)


class _Rounds:
    """Has stacks work, one at a time, each time in a fresh place."""

    def __init__(self, servers: LocalStack, options: Options, tell: Tell) -> None:
        self._servers = servers
        self._options = options
        self._tell = tell

    async def size(self, stack: Stack) -> int:
        """Return how many payouts a stack pays in the time of one round, about."""
        async with self._site(f"{stack.name}_look") as site:
            rate = await rough_rate(stack, site, self._options.payouts)
        payouts = self._fitting(rate)
        self._tell(f"{stack.name}: about {rate:,.0f} payouts/s, so {payouts:,} in each round")
        return payouts

    async def drain(self, stack: Stack, payouts: int, number: int) -> Drain:
        """Return the throughput round of that number."""
        async with self._site(f"{stack.name}_{number}") as site:
            found = await drain(stack, site, payouts)
        self._tell(
            f"round {number}, {stack.name}: {found.pace.rate:,.0f} payouts/s;"
            f" others used {found.pace.foreign:.1f} cores"
        )
        return found

    async def half_load(self, stack: Stack, rate: float, number: int) -> HalfLoad:
        """Return the latency round of that number."""
        payouts = self._fitting(rate)
        async with self._site(f"{stack.name}_half_{number}") as site:
            found = await half_load(stack, site, payouts, rate)
        self._tell(
            f"half load {number}, {stack.name}: {payouts:,} at {rate:,.0f}/s;"
            f" p99 {found.latency.request_p99_ms:,.0f} ms to the request,"
            f" {found.latency.event_p99_ms:,.0f} ms from Result to event;"
            f" others used {found.foreign:.1f} cores"
        )
        return found

    def _site(self, name: str) -> AbstractAsyncContextManager[Site]:
        return open_site(self._servers, name, concurrency=self._options.concurrency)

    def _fitting(self, rate: float) -> int:
        return min(self._options.payouts, max(LEAST, round(rate * self._options.seconds)))
