"""What goes wrong while the world is busy, each kind from a stream of its own."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from tests.simulation.clocks import pass_time
from tests.simulation.scenario import stream
from tests.simulation.twins.session import LATE_S
from tests.simulation.twins.store import Tables

if TYPE_CHECKING:
    from tests.simulation.world import World

FUSE: Final = 60  # Steps within which a process is struck, so that it can be between any two.
FREEZE_S: Final = (0.5, 15.0)
AWAY_S: Final = (0.5, 10.0)
HASTY: Final = 0.5


class Troubles:
    """Strikes the world in the kinds that its scenario chose."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._kinds: dict[str, Callable[[random.Random], Coroutine[Any, Any, None]]] = {
            "crash": self._crash,
            "freeze": self._freeze,
            "drain": self._drain,
            "skew": self._jump,
            "store-away": self._store_away,
            "broker-away": self._broker_away,
            "gateway-away": self._gateway_away,
            "orders": self._orders,
            "pauses": self._pauses,
            "restore": self._restore,
        }

    def begin(self) -> list[asyncio.Task[None]]:
        """Return the tasks that strike; they end by themselves."""
        world = self._world
        return [
            world.loop.create_task(strike(stream(world.scenario.seed, f"kind {kind} strikes")))
            for kind, strike in self._kinds.items()
            if kind in world.scenario.kinds
        ]

    def _tell(self, kind: str) -> None:
        self._world.auditor.seen[f"trouble {kind}"] += 1

    async def _now_and_then(self, draw: random.Random, most: int) -> list[float]:
        busy_s = self._world.scenario.busy_s
        at = sorted(draw.uniform(0.0, busy_s + 10.0) for _ in range(draw.randint(1, most)))
        return [later - earlier for earlier, later in zip([0.0, *at], at, strict=False)]

    def _someone(self, draw: random.Random) -> str | None:
        names = [*self._world.workers, *self._world.workers, *self._world.callbacks]
        return draw.choice(names) if names else None

    async def _crash(self, draw: random.Random) -> None:
        for pause_s in await self._now_and_then(draw, 5):
            await pass_time(pause_s)
            name = self._someone(draw)
            self._strike(name, draw, partial(self._world.kill, str(name)), "crash")

    def _strike(
        self, name: str | None, draw: random.Random, act: Callable[[], None], kind: str
    ) -> None:
        """Act after a few more steps of a process: between any two, also of one instant."""
        one = self._world.workers.get(name or "") or self._world.callbacks.get(name or "")
        if one is not None and one.around.process.fuse is None:
            self._tell(kind)
            one.around.process.fuse = (draw.randrange(FUSE), act)

    async def _freeze(self, draw: random.Random) -> None:
        loop = self._world.loop
        for pause_s in await self._now_and_then(draw, 3):
            await pass_time(pause_s)
            name = self._someone(draw)
            one = self._world.workers.get(name or "") or self._world.callbacks.get(name or "")
            if one is None or one.around.process.frozen:
                continue
            process, seconds = one.around.process, draw.uniform(*FREEZE_S)

            def freeze(process: Any = process, seconds: float = seconds) -> None:
                loop.freeze(process)
                self._world.wire.after(seconds, lambda: loop.thaw(process))

            self._strike(name, draw, freeze, "freeze")

    async def _drain(self, draw: random.Random) -> None:
        for pause_s in await self._now_and_then(draw, 2):
            await pass_time(pause_s)
            name = self._someone(draw)
            one = self._world.workers.get(name or "") or self._world.callbacks.get(name or "")
            if one is not None:
                self._tell("drain")
                process = one.around.process
                self._world.loop.call_soon(one.stopping.set, context=process.context.copy())

    async def _jump(self, draw: random.Random) -> None:
        for pause_s in await self._now_and_then(draw, 4):
            await pass_time(pause_s)
            name = self._someone(draw)
            one = self._world.workers.get(name or "") or self._world.callbacks.get(name or "")
            if one is not None:
                self._tell("jump")
                one.around.clock.wrong_s = draw.choice(self._world.scenario.skews_s)

    async def _store_away(self, draw: random.Random) -> None:
        for pause_s in await self._now_and_then(draw, 2):
            await pass_time(pause_s)
            self._tell("store away")
            self._world.scenario.store.away = True
            await pass_time(draw.uniform(*AWAY_S))
            self._world.scenario.store.away = False

    async def _broker_away(self, draw: random.Random) -> None:
        faults = self._world.scenario.broker
        for pause_s in await self._now_and_then(draw, 2):
            await pass_time(pause_s)
            self._tell("broker away")
            name = draw.choice(["away", "away", "unroutable"])
            setattr(faults, name, True)
            await pass_time(draw.uniform(*AWAY_S))
            setattr(faults, name, False)

    async def _gateway_away(self, draw: random.Random) -> None:
        for pause_s in await self._now_and_then(draw, 2):
            await pass_time(pause_s)
            self._tell("gateway away")
            self._world.scenario.gateway.away = True
            await pass_time(draw.uniform(*AWAY_S))
            self._world.scenario.gateway.away = False

    async def _orders(self, draw: random.Random) -> None:
        busy_s = self._world.scenario.busy_s
        for _ in range(draw.randint(5, 40)):
            await pass_time(draw.expovariate(20 / busy_s))
            await self._world.operator.order_something()

    async def _pauses(self, draw: random.Random) -> None:
        for pause_s in await self._now_and_then(draw, 2):
            await pass_time(pause_s)
            self._tell("pause")
            await self._world.operator.pause_something(draw.uniform(1.0, 8.0))

    async def _restore(self, draw: random.Random) -> None:
        """Go through the drill: a dump, later its restoration, and everything published anew."""
        world = self._world
        await pass_time(draw.choice([0.0, draw.uniform(0.0, world.scenario.busy_s)]))
        dump = world.books.snapshot()
        await pass_time(draw.uniform(0.5, 15.0))
        if self._loses_second_submissions(dump):
            return
        self._tell("restore")
        workers, callbacks = len(world.workers), len(world.callbacks)
        world.shut = True
        for name in [*world.workers, *world.callbacks]:
            world.kill(name, restart=False)
        await pass_time(LATE_S + 1.0)  # Whatever was under way has ended with its session.
        world.books.restore(dump)
        world.auditor.restored()
        await world.operator.tell_restored()
        if draw.random() < HASTY:  # Before anything was asked: no order is relied on.
            await world.operator.resume_accounts()
        world.shut = False
        for _ in range(max(workers, 1)):
            world.start_worker()
        for _ in range(max(callbacks, 1)):
            world.start_callback()
        await pass_time(draw.uniform(0.0, 10.0))
        for account, wanted in world.auditor.messages():
            if wanted.valid:
                again = replace(wanted, message_id=f"{wanted.message_id}+")
                world.publish(account, again)

    def _loses_second_submissions(self, dump: Tables) -> bool:
        """Tell whether a dump knows nothing of a retry, and not even that its first has failed.

        Nobody can tell then that the first must not be sent: see how-we-test.md.
        """
        for row in self._world.books.payouts.values():
            if row.retry_of is None or row.payout_id in dump.payouts:
                continue
            first = dump.payouts.get(row.retry_of)
            if first is None or first.state.value != "failed":
                return True
        return False
