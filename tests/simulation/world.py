"""One seed's world: the product's parts in simulated processes, twins, troubles and the auditor."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from payouts.domain.answers import QueueTimeout, Result, TransactionStatus
from payouts.domain.values import AccountName
from tests.simulation.auditor import Auditor, Violation
from tests.simulation.clocks import ProcessClock, TrueClock, Wire, pass_time
from tests.simulation.configuration import callback_settings, worker_settings
from tests.simulation.loop import Process, SimulatedLoop, StuckError
from tests.simulation.operator import Operator
from tests.simulation.processes import CallbackProcess, Surroundings, WorkerProcess
from tests.simulation.scenario import Scenario, Size, scenario_of, stream
from tests.simulation.seams import BrokerFaults, GatewayFaults, StoreFaults
from tests.simulation.trace import Trace
from tests.simulation.troubles import Troubles
from tests.simulation.twins.broker import Broker
from tests.simulation.twins.gateway import Mpesa, TwinGateway, TwinPace
from tests.simulation.twins.sayings import NOT_FOUND
from tests.simulation.twins.store import Books, TwinStore
from tests.simulation.twins.store import Settings as StoreSettings
from tests.simulation.upstream import Wanted, plan

CALM_LOOK_S: Final = 3.0
CALM_WITHIN_S: Final = 1200.0
RESTART_S: Final = 3.0
UNSENT: Final = frozenset({"received", "waiting"})


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What became of a world.

    Args:
        seen: how often what happened: transitions, troubles, commits by method.
        lasted_s: its virtual seconds.
        states: how many payouts ended where.
    """

    seed: int
    violations: list[Violation]
    steps: int
    lasted_s: float
    seen: dict[str, int] = field(default_factory=dict)
    states: dict[str, int] = field(default_factory=dict)
    digest: str = ""


class World:
    """Everything of one seed. `run` plays it once.

    Args:
        seed: decides everything.
        size: how much there is of everything.
        without: guards of the twin store that are taken out, to see whether it is noticed.
        trace: told of every step.
    """

    def __init__(
        self,
        seed: int,
        size: Size | None = None,
        *,
        without: frozenset[str] = frozenset(),
        trace: Trace | None = None,
    ) -> None:
        self.scenario: Scenario = scenario_of(seed, size or Size())
        self.loop = SimulatedLoop(stream(seed, "order"))
        self.clock = TrueClock(self.loop)
        self.wire = Wire(self.loop, self.clock, stream(seed, "wire"))
        self.auditor = Auditor(self.scenario, self.loop.time, self._stop)
        self.books = Books(self.auditor)
        self.books.without |= without
        self.auditor.books = self.books
        self.broker = Broker(self.wire, self.scenario.broker, self.auditor)
        self.mpesa = Mpesa(
            self.wire, self.scenario.gateway, self.auditor, self.tell_result, self.tell_timeout
        )
        self.pace = TwinPace(self.mpesa, self.scenario.spacing_s)
        self.auditor.is_alive = self.mpesa.is_alive
        self.workers: dict[str, WorkerProcess] = {}
        self.callbacks: dict[str, CallbackProcess] = {}
        self.operator = Operator(self, stream(seed, "operator"))
        self.stretch = self.scenario.stretch
        self.shut = False
        self._store = StoreSettings(
            show_progress=self.scenario.progress, repeat_window_s=self.scenario.repeat_window_s
        )
        self._draw = stream(seed, "world")
        self._asked: dict[asyncio.Future[bool], str] = {}
        self._started = 0
        self._over: asyncio.Future[None] | None = None
        self._trace = trace

    def run(self) -> Outcome:
        """Play the world to its end, or to the first violation."""
        state = random.getstate()
        random.seed(self.scenario.seed)  # The product's jitter and back-off draw from here.
        if self._trace is not None:
            self._trace.watch(self)
        try:
            self.loop.run_until_complete(self._live())
        except StuckError as error:
            self.auditor.violations.append(Violation(9, self.loop.time(), str(error)))
        finally:
            self._end()
            random.setstate(state)
        return self._outcome()

    async def _live(self) -> None:
        self._over = self.loop.create_future()
        for _ in range(self.scenario.size.processes):
            self.start_worker()
        for _ in range(self.scenario.callback_servers):
            self.start_callback()
        life = self.loop.create_task(self._unfold())
        await asyncio.wait([life, self._over], return_when=asyncio.FIRST_COMPLETED)
        if life.done():
            life.result()
        else:
            life.cancel()

    async def _unfold(self) -> None:
        """Publish, strike, calm down, judge."""
        troubles = Troubles(self)
        tasks = [self.loop.create_task(self._publish()), *troubles.begin()]
        await asyncio.gather(*tasks)
        self._calm_down()
        began_s = self.loop.time()
        while True:
            await pass_time(CALM_LOOK_S)
            if self._at_rest() or self.loop.time() - began_s > CALM_WITHIN_S:
                break
            self.stretch = min(20.0, self.stretch * 1.5)
            await self.operator.tidy_up()
        for problem in self.loop.problems:
            self.auditor.violations.append(Violation(9, self.loop.time(), problem))
        self.auditor.judge_all()

    async def _publish(self) -> None:
        for at_s, account, wanted in plan(self.scenario):
            await pass_time(max(0.0, at_s - self.loop.time()))
            self.publish(account, wanted)

    def publish(self, account: str, wanted: Wanted) -> None:
        """Have upstream publish a message, and the auditor know of it."""
        self.auditor.published(account, wanted)
        self.broker.publish_command(AccountName(account), wanted.body, wanted.message_id)

    # Processes.

    def start_worker(self) -> None:
        """Start another worker, unless all is shut for a restoration."""
        if self.shut:
            return
        around = self._surroundings("worker")
        gateway = TwinGateway(self.mpesa)
        worker = WorkerProcess(around, worker_settings(self.scenario), gateway)
        self.workers[around.process.name] = worker
        self.loop.start(around.process, worker.run())

    def start_callback(self) -> None:
        """Start another callback server, likewise."""
        if self.shut:
            return
        around = self._surroundings("callback")
        callback = CallbackProcess(around, callback_settings(self.scenario))
        self.callbacks[around.process.name] = callback
        self.loop.start(around.process, callback.run())

    def kill(self, name: str, *, restart: bool = True) -> None:
        """Kill a process; another one takes its place a little later."""
        is_worker = name in self.workers
        ended = self.workers.pop(name, None) or self.callbacks.pop(name, None)
        if ended is None:
            return
        self.loop.kill(ended.around.process)
        self.broker.lost(name)
        for asked, by in list(self._asked.items()):
            if by == name and not asked.done():
                asked.set_result(False)
        if restart:
            again = self.start_worker if is_worker else self.start_callback
            self.wire.after(self._draw.uniform(0.1, RESTART_S), again)

    def _surroundings(self, kind: str) -> Surroundings:
        self._started += 1
        process = Process(f"{kind} {self._started}")
        skews = self.scenario.skews_s
        clock = ProcessClock(
            self.loop,
            wrong_s=skews[self._started % len(skews)],
            booted_s=self._draw.uniform(0.0, 1000.0),
        )
        return Surroundings(
            process=process,
            clock=clock,
            store=TwinStore(self.books, self.wire, self.scenario.store, clock, self._store),
            broker=self.broker,
            pace=self.pace,
            auditor=self.auditor,
            jitter=self._draw.random,
            stretch=lambda: self.stretch,
            ended=lambda: self.wire.after(0.0, lambda: self.kill(process.name)),
        )

    # What M-PESA says to callback servers.

    def may_be_called_unpaid(self, own_id: str) -> bool:
        """Tell whether it is true, and stays so, that nothing is paid under this id."""
        return not self.auditor.truth.paid(own_id) and not self.mpesa.is_alive(own_id)

    def is_in_no_book(self, own_id: str) -> bool:
        """Tell whether a portal shows nothing of an id at this moment; it may be on its way."""
        return self.mpesa.known(own_id) is None and not self.auditor.truth.paid(own_id)

    async def tell_result(self, result: Result) -> bool:
        """Post a Result to a living callback server; tell whether it was acknowledged."""
        own_id, told_s = result.originator_conversation_id, self.loop.time()
        if own_id is not None:
            self.auditor.told_result(str(own_id), result.code, result.amount_minor)
        if result.code == NOT_FOUND and own_id is not None:
            self.auditor.not_found_said(str(own_id))
        taken = await self._tell(lambda server: server.take_result(result))
        if taken and own_id is not None:
            self.auditor.result_acknowledged(str(own_id), result.code)
            if result.status is TransactionStatus.UNDER_WAY:
                self.auditor.seen_under_way(str(own_id), told_s)
        return taken

    async def tell_timeout(self, notice: QueueTimeout) -> bool:
        """Post a queue time-out likewise."""
        return await self._tell(lambda server: server.take_timeout(notice))

    async def _tell(self, take: Callable[[CallbackProcess], Awaitable[bool]]) -> bool:
        if not self.callbacks:
            return False
        name = self._draw.choice(list(self.callbacks))
        server = self.callbacks[name]
        answer: asyncio.Future[bool] = self.loop.create_future()
        self._asked[answer] = name

        async def handle() -> None:
            taken = False
            try:
                taken = await take(server)
            except Exception as error:  # noqa: BLE001 - a defect; M-PESA sees a 500
                self.loop.problems.append(f"a callback failed: {error!r}")
            if not answer.done():
                answer.set_result(taken)

        self.loop.start(server.around.process, handle())
        try:
            return await answer
        finally:
            del self._asked[answer]

    # The end.

    def _calm_down(self) -> None:
        """Take all troubles away; what was begun goes on."""
        scenario = self.scenario
        latencies = (scenario.store.latency_s, scenario.broker.latency_s)
        for mine, calm in (
            (scenario.store, StoreFaults(latency_s=latencies[0])),
            (scenario.broker, BrokerFaults(latency_s=latencies[1])),
            (
                scenario.gateway,
                GatewayFaults(
                    latency_s=scenario.gateway.latency_s,
                    timeout_s=scenario.gateway.timeout_s,
                    can_ask_broker=scenario.gateway.can_ask_broker,
                    result_late_s=scenario.gateway.result_late_s,
                    forgets=scenario.gateway.forgets,
                    lag_unseen=scenario.gateway.lag_unseen,
                ),
            ),
        ):
            for name in mine.__dataclass_fields__:
                setattr(mine, name, getattr(calm, name))

    def _at_rest(self) -> bool:
        if self.broker.waiting() or self.mpesa.busy():
            return False
        for row in self.books.payouts.values():
            if row.ended or (row.held is not None and row.state.value in UNSENT):
                continue  # What is held is not sent; what was sent is asked about all the same.
            if row.state.value != "in_doubt" or row.next_action_at is not None:
                return False
        return all(event.published_at is not None for event in self.books.events.values())

    def _stop(self) -> None:
        if self._over is not None and not self._over.done():
            self._over.set_result(None)

    def _end(self) -> None:
        everybody: list[WorkerProcess | CallbackProcess] = [*self.workers.values()]
        for one in [*everybody, *self.callbacks.values()]:
            self.loop.kill(one.around.process)
        self.loop.abandon()
        self.loop.close()

    def _outcome(self) -> Outcome:
        states: dict[str, int] = {}
        for row in self.books.payouts.values():
            states[row.state.value] = states.get(row.state.value, 0) + 1
        return Outcome(
            seed=self.scenario.seed,
            violations=self.auditor.violations,
            steps=self.loop.steps,
            lasted_s=self.loop.time(),
            seen=dict(self.auditor.seen),
            states=states,
            digest="" if self._trace is None else self._trace.digest(),
        )


def play(seed: int, size: Size | None = None, *, without: frozenset[str] = frozenset()) -> Outcome:
    """Play one seed; garbage is collected between worlds only, as it has no say in them."""
    gc.disable()
    try:
        return World(seed, size, without=without).run()
    except Exception as error:
        error.add_note(f"in seed {seed}")
        raise
    finally:
        gc.enable()
