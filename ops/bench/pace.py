"""Whether any number of workers together keep to `PAYOUTS_TPS`, as seen by the gateway.

`payouts bench pace`: private servers, a simulator, so many workers, more commands than they may
send, and the instant at which each request came. Every run has books of its own. Results would
come after the run, so there is no callback server.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import uvloop

from ops.bench import load
from ops.bench.errors import BenchError
from ops.bench.measures import Sample, foreign, percentile
from ops.bench.pace_report import MOVING, Document, Run, documented, markdown
from ops.bench.pacing import held
from ops.bench.site import Delays, Site, open_site, prepare
from ops.bench.stacks import OURS, STACKS, bench_environ, product_environ
from ops.demo.children import Children
from ops.local import LocalStack
from ops.local.ports import free_ports
from ops.local.processes import plain_environment

SERVERS: Final = "pace"
CONCURRENCY: Final = 100
PREFETCH: Final = 200  # The default: what each worker may have in hand.
_FIRST_WITHIN_S: Final = 30.0
_LOOK_EVERY_S: Final = 0.05
# So that what a killed worker leaves in doubt is not asked about within the run: questions are
# requests as well, and the simulator does not tell when they came.
_LEASE_S: Final = 120
# Longer than any run: what is measured is what leaves, and the cores are needed for that.
_NO_RESULT_S: Final = 3600.0
COMING_AND_GOING_TIMES: Final = 5.0
# When, as a part of the run, what happens to which worker.
_COMING_AND_GOING: Final = (
    (0.15, "start", 3),
    (0.30, "kill", 1),
    (0.45, "start", 4),
    (0.60, "end", 2),
    (0.70, "start", 5),
    (0.80, "kill", 3),
)
_SIGNALS: Final = {"kill": signal.SIGKILL, "end": signal.SIGTERM}

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Every number of workers at every limit, and workers that come and go.

    Args:
        workers: numbers of workers.
        limits: requests per second.
        seconds: the length of a run; where workers come and go, COMING_AND_GOING_TIMES as long.
        output: the folder of the results.
    """

    workers: Sequence[int]
    limits: Sequence[int]
    seconds: float
    output: Path


def run(options: Options, tell: Tell) -> Document:
    """Measure, and write the results as JSON and as Markdown.

    Raises:
        BenchError: not all that came can be told.
        LocalServerError: something did not start.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(measure(options, tell))
    document = documented(found, seconds=options.seconds)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "pace.json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    (options.output / "pace.md").write_text(markdown(document), "utf-8")
    return document


async def measure(options: Options, tell: Tell) -> list[Run]:
    """Return what every run has shown; private servers are started and stopped."""
    found = []
    async with LocalStack(SERVERS) as servers:
        for limit in options.limits:
            for workers in (*options.workers, MOVING):
                seconds = options.seconds * (1 if workers else COMING_AND_GOING_TIMES)
                async with open_site(
                    servers,
                    f"pace_{limit}_{workers}",
                    concurrency=CONCURRENCY,
                    delays=Delays(result_s=_NO_RESULT_S),
                ) as site:
                    found.append(await _Paced(site, limit, workers, seconds).measure())
                tell(_line(found[-1]))
    return found


def _line(one: Run) -> str:
    return (
        f"{one.limit}/s, {one.who}: at most {one.held.busiest} in a second"
        f" ({one.held.allowed} allowed), {one.held.used:.1%} of the limit used; others used"
        f" {one.foreign:.1f} cores"
    )


class _Paced:
    """One run: more commands than may be sent, workers, and what came at the gateway."""

    def __init__(self, site: Site, limit: int, workers: int, seconds: float) -> None:
        self._site = site
        self._limit = limit
        self._told = workers
        self._workers = workers or 2
        self._seconds = seconds
        self._children = Children(site.folder, keep=False)

    async def measure(self) -> Run:
        site = self._site
        async with load.channel_to(site.place.amqp_url) as channel:
            # Work waits until the end, whatever each of them has in hand.
            in_hand = (len(_COMING_AND_GOING) + self._workers) * PREFETCH
            await load.publish_all(channel, round(self._limit * self._seconds * 1.2) + in_hand)
        await prepare(STACKS[OURS], site)
        _put_first(site.roots["simulator"])
        try:
            async with _looks(site) as looks:
                await asyncio.gather(*(self._worker(n + 1) for n in range(self._workers)))
                await self._first()
                before = self._sample()
                await self._go_on()
                after = self._sample()
                until = time.time()
            arrived = await self._arrived()
        finally:
            self._kill_workers()
            await self._children.stop()
        return Run(
            limit=self._limit,
            workers=self._told,
            held=held(arrived, self._limit, until=until),
            foreign=foreign(before, after),
            slowest_look_ms=max(looks) * 1000,
            look_p99_ms=percentile(looks, 0.99) * 1000,
        )

    def _kill_workers(self) -> None:
        """What they have in hand would be paid first, at their pace; nobody waits for it."""
        for pid in self._children.pids.values():
            os.kill(pid, signal.SIGKILL)

    async def _worker(self, number: int) -> None:
        site = self._site
        environ = {
            **plain_environment(),
            **site.servers.mark,
            **product_environ(bench_environ(site.place)),
            "PAYOUTS_TPS": str(self._limit),
            "PAYOUTS_WORKER_LEASE_S": str(_LEASE_S),
        }
        await self._children.deployable(_name(number), "worker", free_ports(1)[0], environ)

    async def _first(self) -> None:
        """Return once the first request has come."""
        async with asyncio.timeout(_FIRST_WITHIN_S):
            while True:
                if (await _statistics(self._site))["requests"]:
                    return
                await asyncio.sleep(_LOOK_EVERY_S)

    async def _go_on(self) -> None:
        """Return at the end of the run; meanwhile workers come and go, if they are to."""
        began = asyncio.get_running_loop().time()
        coming: dict[int, asyncio.Task[None]] = {}
        for part, what, number in () if self._told else _COMING_AND_GOING:
            await _until(began + part * self._seconds)
            if what == "start":
                coming[number] = asyncio.create_task(self._worker(number))
                continue
            if number in coming:
                await coming[number]
            # No other process can have its number: we have not asked yet how it ended.
            os.kill(self._children.pids[_name(number)], _SIGNALS[what])
        await asyncio.gather(*coming.values())
        await _until(began + self._seconds)

    def _sample(self) -> Sample:
        pids = self._children.pids
        roots = self._site.roots
        roots["worker"] = tuple(pid for name, pid in pids.items() if name.startswith("worker"))
        return self._site.sample(time.monotonic(), 0)

    async def _arrived(self) -> list[float]:
        """Return when each request came.

        Raises:
            BenchError: others came than payments that were taken; when, nobody can tell.
        """
        times = await self._site.told("times")
        told = await _statistics(self._site)
        others = [told["refused"], told["duplicates"], told["malformed"], told["queries"]]
        if any(others) or len(times) > told["requests"]:
            raise BenchError(f"The gateway was asked for more than payments: {others}.")
        return [one["accepted_at"] for one in times]


def _put_first(pids: Sequence[int]) -> None:
    """Have the simulator run before all others, where that is allowed: it is what measures."""
    for pid in pids:
        with suppress(OSError):
            os.sched_setscheduler(pid, os.SCHED_RR, os.sched_param(1))


def _name(number: int) -> str:
    return f"worker {number}"


async def _until(instant: float) -> None:
    await asyncio.sleep(max(0.0, instant - asyncio.get_running_loop().time()))


async def _statistics(site: Site) -> Mapping[str, Any]:
    return (await site.told("statistics"))[0]


@asynccontextmanager
async def _looks(site: Site) -> AsyncIterator[list[float]]:
    """Give how long the simulator took to answer a look, again and again.

    As late as it answers one, it may tell that a request came: that much of what is seen is the
    measuring's.
    """
    taken: list[float] = []
    url = f"{site.simulator_url.removesuffix('/simulator')}/health"

    async def look() -> None:
        clock = asyncio.get_running_loop().time
        async with aiohttp.ClientSession() as session:
            while True:
                asked = clock()
                async with session.get(url) as answer:
                    await answer.read()
                taken.append(clock() - asked)
                await asyncio.sleep(_LOOK_EVERY_S)

    looking = asyncio.create_task(look())
    try:
        yield taken
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
