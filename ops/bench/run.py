"""A whole run: a short look at each stack, then rounds in turn, so that all meet the same hour."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

import uvloop

from ops.bench.drain import drain
from ops.bench.findings import Drain, Findings, HalfLoad, Options
from ops.bench.half_load import half_load
from ops.bench.report import documented, markdown
from ops.bench.site import Site, open_site
from ops.bench.stacks import STACKS, Stack
from ops.local import LocalStack

CALIBRATION: Final = 300
LEAST: Final = 100

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What a run has shown, as it was written down."""

    document: Mapping[str, Any]
    markdown: str


def run(options: Options, tell: Tell) -> Results:
    """Measure, and write the results as JSON and Markdown.

    Raises:
        BenchError: a stack did not do its work.
        LocalServerError: something did not start.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            document = documented(runner.run(_interruptible(options, tell)))
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
    results = Results(document=document, markdown=markdown(document))
    options.output.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, indent=1) + "\n"
    (options.output / "bench.json").write_text(text, encoding="utf-8")
    (options.output / "bench.md").write_text(results.markdown, encoding="utf-8")
    return results


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
    async with LocalStack("bench") as servers:
        run = _Run(servers, options, tell)
        sizes = {name: await run.size(STACKS[name]) for name in options.stacks}
        drains = [
            await run.drain(STACKS[name], sizes[name], number)
            for number in range(1, options.rounds + 1)
            for name in options.stacks
        ]
        rates = {name: _rate(drains, name) / 2 for name in options.stacks}
        half_loads = [
            await run.half_load(STACKS[name], rates[name], number)
            for number in range(1, options.half_loads + 1)
            for name in options.stacks
        ]
    return Findings(options=options, drains=drains, half_loads=half_loads)


def _rate(drains: Sequence[Drain], name: str) -> float:
    return median(one.pace.rate for one in drains if one.stack == name)


class _Run:
    def __init__(self, servers: LocalStack, options: Options, tell: Tell) -> None:
        self._servers = servers
        self._options = options
        self._tell = tell

    async def size(self, stack: Stack) -> int:
        """Return how many payouts a stack pays in the time of one round, about."""
        few = min(CALIBRATION, self._options.payouts)
        found = await self._drain(stack, few, 0)
        size = self._fitting(found.pace.rate)
        self._tell(f"{stack.name}: about {found.pace.rate:,.0f}/s; {size:,} payouts in each round")
        return size

    async def drain(self, stack: Stack, payouts: int, number: int) -> Drain:
        found = await self._drain(stack, payouts, number)
        self._tell(
            f"round {number}, {stack.name}: {found.pace.rate:,.0f} payouts/s;"
            f" others used {found.pace.foreign:.1f} cores"
        )
        return found

    async def half_load(self, stack: Stack, rate: float, number: int) -> HalfLoad:
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

    async def _drain(self, stack: Stack, payouts: int, number: int) -> Drain:
        async with self._site(f"{stack.name}_{number}") as site:
            return await drain(stack, site, payouts)

    def _site(self, name: str) -> AbstractAsyncContextManager[Site]:
        return open_site(self._servers, name, concurrency=self._options.concurrency)

    def _fitting(self, rate: float) -> int:
        return min(self._options.payouts, max(LEAST, round(rate * self._options.seconds)))
