"""What a seed decides before its world begins: its size, its patience, and what goes wrong."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final

from payouts.domain.decisions import Ambiguous
from tests.simulation.seams import BrokerFaults, GatewayFaults, StoreFaults

# Each kind has a stream of its own, so that leaving one out leaves the others as they were.
KINDS: Final = (
    "crash",
    "freeze",
    "drain",
    "skew",
    "store",
    "store-away",
    "broker",
    "broker-away",
    "commands",
    "pace",
    "orders",
    "pauses",
    "restore",
    "gateway-lost",
    "gateway-slow",
    "gateway-refuses",
    "gateway-configuration",
    "gateway-errors",
    "gateway-queues",
    "gateway-away",
    "gateway-lags",
    "results-odd",
    "results-never",
    "results-fail",
    "results-mismatch",
    "results-contradict",
    "asks-fail",
    "forgets",
)
_SHARE: Final = 0.3
_RARE: Final = {"restore": 0.06, "results-contradict": 0.15, "gateway-configuration": 0.15}


def stream(seed: int, name: str) -> random.Random:
    """Return the source of randomness of one purpose of one seed."""
    return random.Random(f"{seed}/{name}")  # noqa: S311 - repeatable on purpose


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much there is of everything.

    Args:
        payouts: how many payouts upstream wants.
        processes: how many workers; callback servers are one or two.
        without: kinds of faults that are left out, whatever the seed says.
        only: if given, the only kinds of faults.
    """

    payouts: int = 20
    processes: int = 2
    without: frozenset[str] = frozenset()
    only: frozenset[str] | None = None


@dataclass(slots=True, kw_only=True)
class Scenario:
    """One seed's world.

    Args:
        busy_s: until when upstream publishes and faults begin; then things calm down.
        stretch: by how much sweeps rest longer than they would, to save their turns.
        settings: what is set by environment in production, by field.
        skews_s: by how much each process's clock is ahead.
        repeat_window_s: for how long a payout is held that looks like another one; 0: never.
        progress: whether progress events are written, too.
        spacing_s: how far apart the requests of one account are, over all workers.
    """

    seed: int
    size: Size
    kinds: frozenset[str]
    callback_servers: int
    busy_s: float
    stretch: float
    settings: dict[str, object]
    two_accounts: bool
    skews_s: list[float]
    repeat_window_s: float
    progress: bool
    spacing_s: float
    store: StoreFaults = field(default_factory=StoreFaults)
    broker: BrokerFaults = field(default_factory=BrokerFaults)
    gateway: GatewayFaults = field(default_factory=GatewayFaults)

    @property
    def resends(self) -> bool:
        """Tell whether doubt is settled by sending again."""
        return self.settings["ambiguous"] is Ambiguous.RESEND


def scenario_of(seed: int, size: Size) -> Scenario:
    """Return what this seed decides; the same each time."""
    draw = stream(seed, "scenario")
    kinds = _kinds(seed, size)
    ambiguous = draw.choices(
        [Ambiguous.QUERY, Ambiguous.RESEND, Ambiguous.HOLD], weights=[85, 10, 5]
    )[0]
    if "forgets" in kinds:  # Then sending again is safe after proof only.
        ambiguous = Ambiguous.QUERY
    if ambiguous is not Ambiguous.QUERY:
        kinds -= {"forgets"}
    widest = 0.5 if "skew" in kinds else 0.0
    scenario = Scenario(
        seed=seed,
        size=size,
        kinds=kinds,
        callback_servers=draw.choice([1, 1, 2]),
        busy_s=draw.uniform(5.0, 12.0),
        stretch=draw.uniform(2.0, 8.0),
        settings=_settings(draw, ambiguous),
        two_accounts=draw.random() < 0.25,
        skews_s=[draw.uniform(-widest, widest) for _ in range(16)],
        repeat_window_s=draw.choice([0.0, 0.0, 30.0]),
        progress=draw.random() < 0.2,
        spacing_s=draw.uniform(0.1, 1.0) if "pace" in kinds else 0.0,
    )
    if scenario.spacing_s:  # Questions wait for their turns, too; a day has very many of them.
        scenario.settings["stuck_after_s"] = 300.0
    _store(scenario)
    _broker(scenario)
    _gateway(scenario)
    _results(scenario)
    return scenario


def _kinds(seed: int, size: Size) -> frozenset[str]:
    if size.only is not None:
        return size.only - size.without
    chosen = set()
    busy = stream(seed, "swarm").choice([0.4, 1.0, 1.0, 1.6])
    for kind in KINDS:
        if stream(seed, f"kind {kind}").random() < _RARE.get(kind, _SHARE) * busy:
            chosen.add(kind)
    if "restore" in chosen:  # What lost books had sent or heard, only the gateway can tell.
        chosen -= {"forgets", "results-contradict"}
    if "forgets" in chosen:  # What is cached, the core does not know: only its memory helps.
        chosen -= {"gateway-queues", "gateway-lags"}
    return frozenset(chosen) - size.without


def _settings(draw: random.Random, ambiguous: Ambiguous) -> dict[str, object]:
    """Return patience on the scale of the world: seconds where production has minutes."""
    return {
        "ambiguous": ambiguous,
        "worker_lease_s": 6.0,
        "drain_s": 6.0,
        "result_deadline_s": draw.uniform(2.0, 5.0),
        "query_interval_s": 2.0,
        "query_interval_cap_s": 10.0,
        "not_found_grace_s": 5.0,
        "stuck_after_s": 100.0,
        "retry_first_s": 0.5,
        "retry_cap_s": 8.0,
        "tries_at_once": draw.choice([1, 2, 3]),
        "concurrency": draw.choice([1, 2, 4, 100]),
        "prefetch": draw.choice([1, 3, 10, 50]),
        "poison_after": draw.choice([20, 20, 3]),
    }


def _store(scenario: Scenario) -> None:
    draw = stream(scenario.seed, "kind store rates")
    scenario.store.latency_s = draw.choice([0.001, 0.01, 0.1])
    if "store" in scenario.kinds:
        scenario.store.lost_before = draw.uniform(0.0, 0.1)
        scenario.store.lost_after = draw.uniform(0.0, 0.1)
        scenario.store.late = draw.uniform(0.0, 0.05)


def _broker(scenario: Scenario) -> None:
    draw = stream(scenario.seed, "kind broker rates")
    scenario.broker.latency_s = draw.choice([0.001, 0.01, 0.1])
    if "broker" in scenario.kinds:
        scenario.broker.lost_publish = draw.uniform(0.0, 0.2)
        scenario.broker.lost_confirm = draw.uniform(0.0, 0.2)
        scenario.broker.lost_ack = draw.uniform(0.0, 0.2)
        scenario.broker.duplicate = draw.uniform(0.0, 0.2)


def _gateway(scenario: Scenario) -> None:
    kinds, rates = scenario.kinds, scenario.gateway
    draw = stream(scenario.seed, "kind gateway rates")
    rates.latency_s = draw.choice([0.01, 0.1, 0.5])
    rates.timeout_s = 2.0
    rates.slow_s = 1.5
    rates.can_ask_broker = draw.random() < 0.7
    lost, refused, errors, queued, slow = (draw.uniform(0.05, 0.4) for _ in range(5))
    if "gateway-lost" in kinds:
        rates.unconnected = lost / 4
        rates.lost_request = lost / 2
        rates.lost_answer = lost / 2
    if "gateway-slow" in kinds:
        rates.slow = slow
        rates.slow_s = stream(scenario.seed, "kind gateway-slow rates").choice([1.5, 4.0])
    if "gateway-lags" in kinds:
        rates.lag_s = stream(scenario.seed, "kind gateway-lags rates").uniform(20.0, 60.0)
        rates.lag_unseen = 0.8
    if "gateway-refuses" in kinds:
        rates.refuse_final = refused / 2
        rates.refuse_retry = refused / 2
    if "gateway-configuration" in kinds:
        rates.refuse_configuration = refused / 3
    if "gateway-errors" in kinds:
        rates.error_before = errors / 3
        rates.error_after = errors / 3
        rates.ambiguous = errors / 3
    if "gateway-queues" in kinds:
        rates.queued = queued
        rates.queue_timeout = draw.choice([0.0, 0.5, 1.0])


def _results(scenario: Scenario) -> None:
    kinds, rates = scenario.kinds, scenario.gateway
    draw = stream(scenario.seed, "kind results rates")
    rates.result_late_s = draw.choice([0.2, 1.0, 6.0])
    odd, never, failed, asks = (draw.uniform(0.05, 0.4) for _ in range(4))
    if "results-odd" in kinds:
        rates.result_early = odd
        rates.result_twice = odd
        rates.result_ambiguous = odd / 3
    if "results-never" in kinds:
        rates.result_never = never
    if "results-fail" in kinds:
        rates.result_failed = failed
    if "results-mismatch" in kinds:
        rates.result_mismatch = odd / 2
    if "results-contradict" in kinds:
        rates.result_contradicts = odd / 2
    if "asks-fail" in kinds:
        rates.asks_fail = asks
    if "forgets" in kinds:
        rates.forgets = True
    elif "asks-fail" in kinds:
        rates.not_found_wrongly = asks / 4
