"""The stage of a round: the product on an arena, with a proxy before each server that it talks to.

A round publishes its own commands, does its mischief, waits until all has ended, and has the
judge compare. What is published goes to the broker itself, and so does what the judge hears.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import asyncpg

from tests.faults.arena import PREFIXES, Arena
from tests.faults.collector import Collector
from tests.faults.evidence import PAID, May, Published, gather
from tests.faults.judge import Judgement, judge
from tests.faults.keeper import Keeper
from tests.faults.killing import Order, Outcome
from tests.faults.plans import CALM, Fate
from tests.faults.points import Process
from tests.faults.proxy import LOOPBACK, Proxy
from tests.faults.recovery import Recoveries
from tests.faults.rounds.upstream import Upstream
from tests.faults.stories import stories

SETTLE_S: Final = 180.0
SETTLE_SHORT_S: Final = 90.0
UNTIL_S: Final = 60.0
LOOK_S: Final = 0.05
RECEIVER: Final = "25471{:07}"
_AWAY: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError)
_STANDING: Final = """
SELECT count(*) AS known,
    count(*) FILTER (WHERE completed_at IS NULL AND NOT undecided) AS open,
    count(*) FILTER (WHERE completed_at IS NULL AND undecided) AS undecided,
    (SELECT count(*) FROM events WHERE published_at IS NULL) AS unpublished
FROM payouts, LATERAL (SELECT state = 'in_doubt' AND payout_id = ANY ($1::text[])) d(undecided)
"""
_RESUME: Final = """
UPDATE accounts SET paused = false, refusals = 0, paused_reason = NULL, paused_at = NULL
WHERE paused
"""


class Lane(StrEnum):
    """What a proxy stands in front of."""

    AMQP = "amqp"
    SQL = "sql"
    GATEWAY = "gateway"
    CALLBACKS = "callbacks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """In which form a round is held.

    Args:
        short: for the gate: faults last shorter, and some things are not waited for.
        names: the steps that are taken; all of the round's where not given.
    """

    short: bool = False
    names: tuple[str, ...] | None = None


LONG: Final = Form()


def require_good(outcome: Outcome) -> None:
    """Raise AssertionError naming what is wrong with a round, if anything is."""
    outcome.judgement.require_none()
    if outcome.problems:
        raise AssertionError("\n".join(outcome.problems))


@dataclass(kw_only=True)
class Stage:
    """A round under way."""

    arena: Arena
    order: Order
    form: Form
    environ: dict[str, str]
    direct: dict[str, str]
    folder: Path
    lanes: dict[Lane, Proxy]
    keeper: Keeper
    collector: Collector
    upstream: Upstream
    draws: random.Random
    began: float = field(default_factory=time.monotonic)
    resumed: int = 0
    published: list[Published] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    recoveries: defaultdict[str, Recoveries] = field(
        default_factory=lambda: defaultdict(Recoveries)
    )

    def commands(
        self,
        count: int,
        may: frozenset[May] = PAID,
        *,
        receiver: str = RECEIVER,
        run_id: str | None = None,
    ) -> list[Published]:
        """Make so many commands, other ones each time; `receiver` takes a number."""
        first = len(self.published)
        made = [
            Published(
                payout_id=f"{self.order.kind}-{self.order.seed}-{number}",
                amount=f"{100 + number // 100}.{number % 100:02}",
                msisdn=receiver.format(number),
                may=may,
                run_id=run_id,
            )
            for number in range(first, first + count)
        ]
        self.published += made
        return made

    async def feed(self, commands: Sequence[Published], *, over_s: float = 0.0) -> None:
        """Publish commands evenly over a time; later where the broker does not take them."""
        await self.upstream.publish(commands, over_s=over_s)

    @asynccontextmanager
    async def under_load(self, count: int, *, over_s: float) -> AsyncIterator[asyncio.Task[None]]:
        """Publish so many commands while the block does its mischief; it ends when all are out."""
        feeding = asyncio.create_task(self.feed(self.commands(count), over_s=over_s))
        try:
            yield feeding
            await feeding
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)

    async def last(self, seconds: float) -> None:
        """Let a fault last, whatever happens meanwhile."""
        ends_at = time.monotonic() + seconds
        while (left_s := ends_at - time.monotonic()) > 0:
            await self.collector.changed(left_s)

    async def under_way(self) -> None:
        """Return once some of what was published last has ended, and the rest is on its way."""
        ended, deadline = self.collector.ended, time.monotonic() + SETTLE_S
        while self.collector.ended == ended:
            if time.monotonic() > deadline:
                raise AssertionError("nothing ends")
            await self.collector.changed(LOOK_S)

    async def recovered(self, fault: str) -> float:
        """Return how long it takes, from now, until all has ended; kept as a recovery."""
        seconds = await self.settled(after=fault)
        self.recoveries[fault].seconds.append(seconds)
        return seconds

    async def settled(self, *, after: str = "the end") -> float:
        """Return once nothing is open any more; what takes too long is a problem of the round."""
        within_s = SETTLE_SHORT_S if self.form.short else SETTLE_S
        began = time.monotonic()
        left = await self.left()
        while left:
            if time.monotonic() - began > within_s:
                self.problems.append(f"not settled in {within_s:g} s after {after}: {left}")
                break
            await self.collector.changed(LOOK_S)
            left = await self.left()
        return time.monotonic() - began

    async def left(self) -> dict[str, Any]:
        """Return what is still to come, in figures; nothing if all has ended."""
        self.keeper.check()
        must_end = {one.payout_id for one in self.published if not one.may & _NEED_NOT_END}
        missing = sum(not self.collector.has_ended(one) for one in must_end)
        if missing > len(must_end) // 50:
            return {"without an event": missing}  # Looking closer would only cost.
        undecided = [one.payout_id for one in self.published if May.STAY_IN_DOUBT in one.may]
        row = await self.ask(_STANDING, undecided)
        pending = (await self.arena.gateway.statistics())["pending"]
        aside = len({letter.payout_id for letter in self.collector.put_aside})
        left = {
            "without an event": missing,
            "unknown": len(self.published) - aside - row["known"],
            "open": row["open"],
            "unpublished": row["unpublished"],
            # What nobody decides is asked about for ever.
            "pending at the gateway": 0 if row["undecided"] else pending,
        }
        return {what: count for what, count in left.items() if count}

    async def ask(self, statement: str, *values: object) -> Any:
        """Return a row of the database, asked past all proxies."""
        connection = await asyncpg.connect(self.direct["PAYOUTS_DATABASE_URL"])
        try:
            return await connection.fetchrow(statement, *values)
        finally:
            await connection.close()

    async def do(self, statement: str, *values: object) -> None:
        """Change something in the database, past all proxies."""
        await self.ask(statement, *values)

    async def until(self, statement: str, what: str, *values: object) -> None:
        """Return once the statement's one value is true."""
        deadline = time.monotonic() + UNTIL_S
        while not (await self.ask(statement, *values))[0]:
            if time.monotonic() > deadline:
                raise AssertionError(f"not in {UNTIL_S:g} s: {what}")
            await asyncio.sleep(LOOK_S)

    async def judged(self) -> Outcome:
        """End the processes and have the judge compare."""
        await self.keeper.stop()
        self.problems += self.keeper.unexpected
        connection = await asyncpg.connect(self.direct["PAYOUTS_DATABASE_URL"])
        try:
            evidence = await gather(
                published=self.published,
                session=self.arena.gateway.session,
                admin_url=self.arena.gateway.admin_url,
                connection=connection,
                heard=self.collector.heard,
                put_aside=self.collector.put_aside,
                prefixes=PREFIXES,
            )
        finally:
            await connection.close()
        for lane, proxy in self.lanes.items():
            for done in ("reset", "cut", "unreachable"):
                self.faults[f"{lane} connections {done}"] += proxy.counts[done]
        judgement = judge(evidence)
        settling_s = sum(sum(times.seconds) for times in self.recoveries.values())
        return Outcome(
            order=self.order,
            judgement=judgement,
            stories=await self._stories(judgement),
            deaths=self.keeper.deaths,
            births=self.keeper.births,
            problems=self.problems,
            owed=[],
            resumed=self.resumed,
            killing_s=time.monotonic() - self.began - settling_s,
            settling_s=settling_s,
            recoveries=dict(self.recoveries),
            faults=+self.faults,
        )

    async def _stories(self, judgement: Judgement) -> dict[str, list[str]]:
        connection = await asyncpg.connect(self.direct["PAYOUTS_DATABASE_URL"])
        try:
            return await stories(connection, [one.payout_id for one in judgement.violations])
        finally:
            await connection.close()


_NEED_NOT_END: Final = frozenset({May.STAY_IN_DOUBT, May.BE_PUT_ASIDE})


class Calm:
    """A plan by which nobody dies by itself."""

    done = True

    def fate(self, process: Process, slot: int, life: int) -> Fate:
        """Let it live."""
        del process, slot, life
        return CALM

    def killed(self, point: str) -> None:
        """Nobody was meant to."""
        raise AssertionError(f"{point} was not planned")


@asynccontextmanager
async def staged(
    arena: Arena,
    order: Order,
    form: Form = LONG,
    *,
    script: str = "",
    workers: int = 2,
    callback_servers: int = 2,
    settings: dict[str, str] | None = None,
) -> AsyncIterator[Stage]:
    """Give a running product in a space of its own; nothing of it is left afterwards.

    Args:
        arena: where it is.
        order: the round.
        form: in which form it is held.
        script: the simulator's fault script.
        workers: how many are kept alive.
        callback_servers: how many are kept alive, on one port.
        settings: of the product, on top of the arena's.
    """
    async with AsyncExitStack() as exits:
        name = f"{order.kind}-{order.seed}"
        direct = await exits.enter_async_context(arena.space(name))
        folder = arena.folder / name
        folder.mkdir()
        await arena.gateway.reset(script or "rule = []")
        lanes = {
            lane: await exits.enter_async_context(Proxy(LOOPBACK, port))
            for lane, port in _ports(arena).items()
        }
        environ = {**_through(lanes, direct), **(settings or {})}
        keeper = Keeper(arena.nursery, environ, folder, Calm())
        exits.push_async_callback(keeper.abandon)
        keeper.start(worker=workers, callback_server=callback_servers)
        collector = await exits.enter_async_context(Collector(direct["PAYOUTS_AMQP_URL"]))
        upstream = Upstream(direct["PAYOUTS_AMQP_URL"])
        exits.push_async_callback(upstream.close)
        yield Stage(
            arena=arena,
            order=order,
            form=form,
            environ=environ,
            direct=direct,
            folder=folder,
            lanes=lanes,
            keeper=keeper,
            collector=collector,
            upstream=upstream,
            draws=random.Random(f"{order.kind} {order.seed}"),  # noqa: S311 - a reproducible round
        )


def _ports(arena: Arena) -> dict[Lane, int]:
    return {
        Lane.AMQP: arena.stack.rabbitmq.port,
        Lane.SQL: arena.stack.postgresql.port,
        Lane.GATEWAY: int(arena.gateway.url.split(":")[2].partition("/")[0]),
        Lane.CALLBACKS: arena.callback_port,
    }


def _through(lanes: dict[Lane, Proxy], direct: dict[str, str]) -> dict[str, str]:
    """Let each address of the settings lead through its proxy."""
    ways = {
        "PAYOUTS_AMQP_URL": Lane.AMQP,
        "PAYOUTS_DATABASE_URL": Lane.SQL,
        "PAYOUTS_GATEWAY_URL": Lane.GATEWAY,
        "PAYOUTS_QUERY_URL": Lane.GATEWAY,
        "PAYOUTS_RESULT_URL": Lane.CALLBACKS,
        "PAYOUTS_QUEUE_TIMEOUT_URL": Lane.CALLBACKS,
    }
    return {**direct, **{name: lanes[lane].address(direct[name]) for name, lane in ways.items()}}


@asynccontextmanager
async def operator(stage: Stage) -> AsyncIterator[None]:
    """Resume each account that is paused, soon, as a person would who knows that it is right."""

    async def watch() -> None:
        connection = await asyncpg.connect(stage.direct["PAYOUTS_DATABASE_URL"])
        try:
            while True:
                stage.resumed += _count(await connection.execute(_RESUME))
                await asyncio.sleep(LOOK_S * 4)
        finally:
            await connection.close()

    task = asyncio.create_task(watch(), name="operator")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _count(status: str) -> int:
    return int(status.rpartition(" ")[2])


def chosen(stage: Stage, names: Iterable[str]) -> list[str]:
    """Give the round's steps in the order that its seed draws."""
    wanted = stage.form.names
    steps = [name for name in names if wanted is None or name in wanted]
    stage.draws.shuffle(steps)
    return steps
