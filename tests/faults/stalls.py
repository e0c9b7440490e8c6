"""Shows that memory stays flat while a neighbour stands still: `ops/memory.sh stalls`.

Worker and callback server pay from a full queue. Then PostgreSQL, RabbitMQ and the gateway stop
answering for a minute each, with every connection kept: what could pile up behind them must not.
"""

# ruff: noqa: T201 - It prints a table.

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from ops.bench import load
from ops.bench.measures import OWN_ROLES
from ops.bench.site import Site, open_site, prepare, running
from ops.bench.stacks import OURS, STACKS
from ops.local import LocalStack
from tests.faults.proxy import Proxy
from tests.faults.weather import Way

CONCURRENCY: Final = 100
TOLERANCE: Final = 0.10
LOOK_S: Final = 0.25
WARM_EVENTS: Final = 2000  # By then caches, pools and plans are there.
MORE_EVENTS: Final = 500
GOES_ON_WITHIN_S: Final = 120.0

Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Stall:
    """The most memory of each process, in MiB, before anything stood still and while this did."""

    who: str
    before: dict[str, float]
    during: dict[str, float]
    events: int

    @property
    def growth(self) -> float:
        """Return by which part of itself the memory has grown, of the process where it is most."""
        return max(self.during[role] / self.before[role] - 1 for role in OWN_ROLES)

    def __str__(self) -> str:
        """Return one line of the table."""
        sizes = "  ".join(
            f"{role} {self.before[role]:.1f} -> {self.during[role]:.1f} MiB" for role in OWN_ROLES
        )
        return f"{self.who:10}  {sizes}  ({self.growth:+.1%}), {self.events} events meanwhile"


class _Watch:
    """Looks at memory and at the events that come, past the proxies."""

    def __init__(self, site: Site, exits: AsyncExitStack) -> None:
        self._site = site
        self._exits = exits
        self.most: dict[str, float] = {}

    async def open(self) -> None:
        self._channel = await self._exits.enter_async_context(
            load.channel_to(self._site.place.amqp_url)
        )

    async def events(self) -> int:
        return await load.waiting(self._channel, load.EVENTS)

    async def over(self, ended: Callable[[int], bool], *, within_s: float) -> None:
        """Look again and again, until `ended` says so of the events there are."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within_s
        while not ended(await self.events()):
            if loop.time() > deadline:
                raise TimeoutError(f"{await self.events()} events, and no more come")
            for role in OWN_ROLES:
                size = _resident_mib(self._site.roots[role][0])
                self.most[role] = max(size, self.most.get(role, 0.0))
            await asyncio.sleep(LOOK_S)

    async def for_(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        await self.over(lambda _: loop.time() >= until, within_s=seconds + GOES_ON_WITHIN_S)


async def stalled(servers: LocalStack, *, payouts: int, seconds: float, tell: Tell) -> list[Stall]:
    """Return what each stall has shown.

    Raises:
        TimeoutError: paying did not begin, or did not go on after a stall.
    """
    found: list[Stall] = []
    async with AsyncExitStack() as exits:
        site = await exits.enter_async_context(
            open_site(servers, "stalls", concurrency=CONCURRENCY)
        )
        watch = _Watch(site, exits)
        await watch.open()
        async with load.channel_to(site.place.amqp_url) as channel:
            await load.publish_all(channel, payouts)
        await prepare(STACKS[OURS], site)
        proxies = {
            who: await exits.enter_async_context(_proxy_to(url))
            for who, url in (
                ("PostgreSQL", site.place.database_url),
                ("RabbitMQ", site.place.amqp_url),
                ("gateway", site.place.gateway_url),
            )
        }
        place = replace(
            site.place,
            database_url=proxies["PostgreSQL"].address(site.place.database_url),
            amqp_url=proxies["RabbitMQ"].address(site.place.amqp_url),
            gateway_url=proxies["gateway"].address(site.place.gateway_url),
        )
        behind = replace(site, place=place)
        await exits.enter_async_context(running(STACKS[OURS], behind))
        await watch.over(lambda events: events >= WARM_EVENTS, within_s=GOES_ON_WITHIN_S)
        before = dict(watch.most)
        for who, proxy in proxies.items():
            watch.most.clear()
            came = await watch.events()
            proxy.stall(*Way)
            await watch.for_(seconds)
            meanwhile = await watch.events() - came
            await proxy.restore()
            enough = await watch.events() + MORE_EVENTS
            await watch.over(_reaches(enough), within_s=GOES_ON_WITHIN_S)
            found.append(Stall(who=who, before=before, during=dict(watch.most), events=meanwhile))
            tell(str(found[-1]))
    return found


def _resident_mib(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text("utf-8"))
    return int(found[1]) / 1024 if found else 0.0


def _reaches(enough: int) -> Callable[[int], bool]:
    return lambda events: events >= enough


def _proxy_to(url: str) -> Proxy:
    parts = urlsplit(url)
    return Proxy(parts.hostname or "127.0.0.1", parts.port or 0)


async def main(payouts: int, seconds: float) -> int:
    """Measure and print; 1 where memory grew by more than a tenth."""
    async with LocalStack("stalls") as servers:
        found = await stalled(
            servers, payouts=payouts, seconds=seconds, tell=lambda line: print(line, flush=True)
        )
    worst = max(one.growth for one in found)
    print(f"grown by {worst:.1%} at most; {TOLERANCE:.0%} may be")
    return int(worst > TOLERANCE)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="ops/memory.sh stalls", description=__doc__)
    parser.add_argument("--payouts", type=int, default=60_000, help="how many wait (60000)")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each stall (60)")
    asked = parser.parse_args()
    sys.exit(asyncio.run(main(asked.payouts, asked.seconds)))
