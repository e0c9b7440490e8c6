"""Rounds in which processes die: at each point of the table in turn, or at random instants."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from math import inf
from typing import Any, Final

import aiohttp
import asyncpg

from payouts.domain.values import AccountName
from payouts.messaging.connection import BrokerConnection
from payouts.messaging.topology import Topology
from tests.faults.arena import ACCOUNTS, PREFIXES, Arena
from tests.faults.collector import Collector
from tests.faults.evidence import gather
from tests.faults.feeding import Feeder
from tests.faults.judge import Judgement, judge
from tests.faults.keeper import DRAINED, Death, Keeper
from tests.faults.load import (
    LEFT,
    PLAIN,
    SCRIPT,
    SUSPECTED,
    TRAITS,
    Command,
    commands,
    with_more_of,
)
from tests.faults.plans import Plan, PointPlan, RandomPlan
from tests.faults.points import POINTS, Load
from tests.faults.recovery import Recoveries, instant, recoveries
from tests.faults.stories import stories

WORKERS: Final = 3
CALLBACK_SERVERS: Final = 2
OPEN_AT_MOST: Final = 40
# A second. More would cost the machine deaths, and show nothing else.
RATE: Final = 25.0
SETTLE_S: Final = 90.0
SLOW_S: Final = 30.0
REAL_FROM: Final = 500
RESUMED_AFTER_S: Final = 2.5  # So long that what expires unsent does so meanwhile.
RANDOM: Final = "random"
SETTINGS: Final[Mapping[str, Mapping[str, str]]] = {
    Load.STUCK: {"PAYOUTS_STUCK_AFTER_S": "3", "PAYOUTS_CIRCUIT_FAILURES": "10000"},
    Load.SUSPECTED: {"PAYOUTS_POISON_AFTER": "1"},
}
LOOK_S: Final = 0.1

_OPEN: Final = """
SELECT count(*) FILTER (WHERE state NOT IN ('succeeded', 'failed')
        AND NOT (state = 'in_doubt' AND next_action_at IS NULL)) AS open,
    count(*) AS known,
    (SELECT count(*) FROM events WHERE published_at IS NULL) AS unpublished
FROM payouts
"""
_STILL_OPEN: Final = """
SELECT payout_id FROM payouts WHERE state NOT IN ('succeeded', 'failed')
    AND NOT (state = 'in_doubt' AND next_action_at IS NULL)
"""
_RESUME: Final = """
UPDATE accounts SET paused = false, refusals = 0, paused_reason = NULL, paused_at = NULL
WHERE paused AND paused_at < clock_timestamp() - make_interval(secs => $1) RETURNING name
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One round: what a replay has to name."""

    kind: str
    seed: int
    payouts: int
    times: int = 4
    killing_s: float = 150.0
    before: Mapping[str, int] = field(default_factory=dict)  # Kills by point in earlier rounds,
    enough: float = inf  # and how many are wanted in all.
    more: tuple[str, ...] = ()  # Traits that half of the commands have, in mixed rounds.


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What a round showed. `problems` are what the judge does not look at."""

    order: Order
    judgement: Judgement
    deaths: list[Death]
    births: int
    problems: list[str]
    owed: list[str]
    resumed: int
    killing_s: float
    settling_s: float
    recoveries: dict[str, Recoveries]
    stories: dict[str, list[str]]
    faults: Counter[str] = field(default_factory=Counter)

    @property
    def kills(self) -> Counter[str]:
        """Count the violent deaths by their cause."""
        return Counter(death.cause for death in self.deaths if death.cause != DRAINED)


def plan_of(order: Order) -> Plan:
    """Return the plan of a round, made of its seed alone."""
    if order.kind == RANDOM:
        # What they leave in the outbox is hidden for half a minute: too long for a short round.
        real = order.payouts >= REAL_FROM
        return RandomPlan(order.seed, kills=max(10, order.payouts // 8), real=real)
    names = [name for name, point in POINTS.items() if point.place.load == order.kind]
    return PointPlan(
        order.seed,
        order.times,
        names,
        restless=order.kind != Load.MIXED,
        before=order.before,
        enough=order.enough,
    )


def load_of(order: Order) -> Iterator[Command]:
    """Return the commands of a round, made of its seed alone."""
    if order.kind == RANDOM:
        return commands(order.seed, order.payouts, [PLAIN, *TRAITS])
    traits = {Load.STUCK: [LEFT], Load.SUSPECTED: [SUSPECTED]}
    mixed = with_more_of(order.more, [PLAIN, *TRAITS])
    return commands(order.seed, order.payouts, traits.get(Load(order.kind), mixed))


async def kill(arena: Arena, order: Order) -> Outcome:
    """Hold a round: publish and kill, let it settle, and have the judge compare."""
    async with AsyncExitStack() as exits:
        name = f"{order.kind}-{order.seed}"
        environ = await exits.enter_async_context(arena.space(name))
        folder = arena.folder / name
        folder.mkdir()
        environ |= SETTINGS.get(order.kind, {})
        await arena.gateway.reset(SCRIPT)
        await _declare(environ["PAYOUTS_AMQP_URL"])
        plan = plan_of(order)
        connection = await asyncpg.connect(environ["PAYOUTS_DATABASE_URL"])
        exits.push_async_callback(connection.close)
        collector = await exits.enter_async_context(Collector(environ["PAYOUTS_AMQP_URL"]))
        feeder = await exits.enter_async_context(
            Feeder(environ["PAYOUTS_AMQP_URL"], collector, open_at_most=OPEN_AT_MOST, rate=RATE)
        )
        keeper = Keeper(arena.nursery, environ, folder, plan, crowded=lambda: feeder.crowded)
        operator = await exits.enter_async_context(_operator(environ["PAYOUTS_DATABASE_URL"]))
        ground = _Field(
            arena=arena,
            keeper=keeper,
            feeder=feeder,
            collector=collector,
            connection=connection,
            plan=plan,
        )
        exits.push_async_callback(keeper.abandon)
        keeper.start(worker=WORKERS, callback_server=CALLBACK_SERVERS)
        killing_s = await ground.kill(order)
        settling_s, problems = await ground.settle()
        await keeper.stop()
        problems += keeper.unexpected
        evidence = await gather(
            published=feeder.published,
            session=arena.gateway.session,
            admin_url=arena.gateway.admin_url,
            connection=connection,
            heard=collector.heard,
            put_aside=collector.put_aside,
            prefixes=PREFIXES,
        )
        violent = [death for death in keeper.deaths if death.cause != DRAINED]
        paid_at = await _paid_at(arena.gateway.session, arena.gateway.admin_url)
        judgement = judge(evidence)
        wrong = [one.payout_id for one in judgement.violations]
        return Outcome(
            order=order,
            judgement=judgement,
            stories=await stories(connection, [*wrong, *ground.slow]),
            deaths=keeper.deaths,
            births=keeper.births,
            problems=problems,
            owed=plan.owed if isinstance(plan, PointPlan) else [],
            resumed=len(operator),
            killing_s=killing_s,
            settling_s=settling_s,
            recoveries=await recoveries(connection, paid_at, violent),
        )


@dataclass(kw_only=True)
class _Field:
    """A round under way."""

    arena: Arena
    keeper: Keeper
    feeder: Feeder
    collector: Collector
    connection: asyncpg.Connection
    plan: Plan
    slow: list[str] = field(default_factory=list)

    async def kill(self, order: Order) -> float:
        """Publish and kill until the plan is carried out, or nothing is left to be killed for."""
        began = time.monotonic()

        def wanted() -> bool:
            self.keeper.check()
            return not self.plan.done and time.monotonic() - began < order.killing_s

        await self.feeder.feed(load_of(order), wanted=wanted)
        while wanted() and await self._left():
            await self.collector.changed(LOOK_S)
        self.keeper.calm()
        return time.monotonic() - began

    async def settle(self) -> tuple[float, list[str]]:
        """Wait until all has ended; return how long it took and what had not."""
        began = time.monotonic()
        while left := await self._left():
            self.keeper.check()
            if time.monotonic() - began > SETTLE_S:
                return SETTLE_S, [f"not settled: {left}"]
            if not self.slow and time.monotonic() - began > SLOW_S:
                rows = await self.connection.fetch(_STILL_OPEN)
                self.slow = [row["payout_id"] for row in rows]
            await self.collector.changed(LOOK_S)
        return time.monotonic() - began, []

    async def _left(self) -> dict[str, Any]:
        """Return what is still to come, in figures; nothing if all has ended."""
        again = await self.feeder.follow_up()
        row = await self.connection.fetchrow(_OPEN)
        left = {
            "repeats": again,
            "open": row["open"],
            "unfinished": self.feeder.unfinished(),
            "unknown": self.feeder.unknown(row["known"]),
            "unpublished": row["unpublished"],
            "pending at the gateway": (await self.arena.gateway.statistics())["pending"],
        }
        return {what: count for what, count in left.items() if count}


@asynccontextmanager
async def _operator(database_url: str) -> AsyncIterator[list[str]]:
    """Resume each account that is paused, soon; give the names as they are resumed."""
    connection = await asyncpg.connect(database_url)
    resumed: list[str] = []

    async def watch() -> None:
        while True:
            rows = await connection.fetch(_RESUME, RESUMED_AFTER_S)
            resumed.extend(row["name"] for row in rows)
            await asyncio.sleep(LOOK_S)

    task = asyncio.create_task(watch(), name="operator")
    try:
        yield resumed
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await connection.close()


async def _declare(amqp_url: str) -> None:
    """Declare what the feeder publishes to, as any worker that lives long enough would."""
    connection = BrokerConnection(amqp_url, name="chaos")
    await connection.open(within_s=10)
    try:
        await Topology().declare(connection, [AccountName(name) for name in ACCOUNTS])
    finally:
        await connection.close()


async def _paid_at(session: aiohttp.ClientSession, admin_url: str) -> dict[str, float]:
    async with session.get(f"{admin_url}/ledger") as answer:
        lines = [line async for line in answer.content]
    payments = map(json.loads, lines)
    return {one["originator_conversation_id"]: instant(one["paid_at"]) for one in payments}
