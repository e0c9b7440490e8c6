"""Where the world, the twins and the auditor meet: what twins are handed, and what they tell.

A twin has two sides. Its near side runs inside the process that calls it, and dies or freezes
with it. Its far side (the database, RabbitMQ, M-PESA) acts through `Far.after`, which happens
whatever becomes of the caller. So a call is: near, `after(delay, act)`, then `act` does its work
at once and without an await, tells its watchers, and resolves a future after another delay. Only
the near side waits for that future.

A process that crashes is not cancelled: its tasks simply never go on (finally blocks may be run,
and what they send is dropped). So a twin must not lean on clean-up at the near side; the broker is
told of it by `Broker.lost`.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from payouts.domain.answers import QueueTimeout, Result
from payouts.domain.events import Event
from payouts.domain.payout import Payout
from payouts.domain.values import PayoutId
from payouts.ports import Incident


class Far(Protocol):
    """The other end of a wire: true time, and actions that no process can take back."""

    random: random.Random

    def now(self) -> datetime:
        """Return the true instant, which no process's clock need agree with."""
        ...

    def after(self, delay_s: float, act: Callable[[], None]) -> None:
        """Run `act` at the far side; dropped only if the calling process is dead by now."""
        ...


@dataclass(slots=True, kw_only=True)
class StoreFaults:
    """How badly the database is reached; the world changes these while it runs.

    Args:
        latency_s: the longest way there, and the longest way back (each drawn anew).
        lost_before: the share of calls that never arrive: StoreUnavailableError, no effect.
        lost_after: the share whose answer is lost: StoreUnavailableError, but committed.
        late: the share of calls that are reported lost at once and commit all the same later.
        away: nothing arrives at all, for any process.
    """

    latency_s: float = 0.01
    lost_before: float = 0.0
    lost_after: float = 0.0
    late: float = 0.0
    away: bool = False


@dataclass(slots=True, kw_only=True)
class BrokerFaults:
    """How badly RabbitMQ is reached.

    Args:
        latency_s: the longest way of a delivery, an acknowledgement, a publication, a confirm.
        lost_publish: the share of publications that never arrive: BrokerUnavailableError.
        lost_confirm: the share whose confirm is lost: BrokerUnavailableError, but taken.
        lost_ack: the share of acknowledgements that are lost with their channel: redelivered.
        duplicate: the share of deliveries that are given to another consumer as well.
        unroutable: no queue takes events: UnroutableError.
        away: nothing is delivered or taken.
    """

    latency_s: float = 0.01
    lost_publish: float = 0.0
    lost_confirm: float = 0.0
    lost_ack: float = 0.0
    duplicate: float = 0.0
    unroutable: bool = False
    away: bool = False


@dataclass(slots=True, kw_only=True)
class GatewayFaults:
    """What the gateway does wrong, each a share of the requests unless said otherwise.

    Args:
        latency_s: the longest way of a request, and of its answer.
        unconnected: NotSent(CONNECT).
        lost_request: bytes left, nothing arrives: OutcomeUnknown.
        lost_answer: arrives and is done, the answer is lost: OutcomeUnknown.
        slow: arrives late, at most `slow_s` after the client gave up at `timeout_s`.
        slow_s: see `slow`; stays below the not-found grace, or nothing could ever be proved.
        lag_s: the longest time that the core takes to begin what it has accepted.
        lag_unseen: the share of questions to the core that do not find what it has not begun.
        timeout_s: when the client gives up: OutcomeUnknown(TIMEOUT).
        refuse_final: a conclusive refusal that ends the payout (such as 100000005, 25).
        refuse_retry: a conclusive refusal that passes (100000002, 26).
        refuse_configuration: 100000007 and the like.
        error_before: OutcomeUnknown(HTTP_STATUS), nothing done.
        error_after: OutcomeUnknown(HTTP_STATUS), but taken.
        ambiguous: code 17 or 100000004, taken or not.
        queued: 100000000; delivered later, or dropped with a notifyQueueTimeout.
        queue_timeout: the share of queued ones that are dropped so.
        result_early: the Result leaves before the Response.
        result_twice: the same Result again, some time later.
        result_never: it pays (or declines) and never tells; only queries know.
        result_late_s: the longest delay of a Result.
        result_failed: the core declines: a failed Result, no money moves.
        result_ambiguous: a Result of code 17 (money moved or not), then another or none.
        result_mismatch: the Result carries another amount; the payment itself is right.
        result_contradicts: after a true Result was acknowledged, another that says the contrary
            (a lie); the truth always comes first, or no end could be judged.
        forgets: ids are not remembered: a second request with the same id pays again.
        asks_fail: the share of queries that find no answer.
        not_found_wrongly: the share of queries for a payment under way that say not found.
        away: nobody can connect.
        can_ask_broker: whether queryTransaction is there.
    """

    latency_s: float = 0.05
    unconnected: float = 0.0
    lost_request: float = 0.0
    lost_answer: float = 0.0
    slow: float = 0.0
    slow_s: float = 5.0
    lag_s: float = 0.0
    lag_unseen: float = 0.0
    timeout_s: float = 10.0
    refuse_final: float = 0.0
    refuse_retry: float = 0.0
    refuse_configuration: float = 0.0
    error_before: float = 0.0
    error_after: float = 0.0
    ambiguous: float = 0.0
    queued: float = 0.0
    queue_timeout: float = 0.0
    result_early: float = 0.0
    result_twice: float = 0.0
    result_never: float = 0.0
    result_late_s: float = 2.0
    result_failed: float = 0.0
    result_ambiguous: float = 0.0
    result_mismatch: float = 0.0
    result_contradicts: float = 0.0
    forgets: bool = False
    asks_fail: float = 0.0
    not_found_wrongly: float = 0.0
    away: bool = False
    can_ask_broker: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """What one commit changed, told before anybody hears of it.

    Args:
        by: the port's method, such as `move`.
        before: the changed payouts as they stood; None: it is new.
        after: the same payouts as they stand now.
        events: the rows of the outbox that were added.
        unpublished: ids of events that are to be published again.
        published: ids of events that were taken down as published.
        incidents: those that were kept.
    """

    by: str
    before: Mapping[PayoutId, Payout | None] = field(default_factory=dict)
    after: Mapping[PayoutId, Payout] = field(default_factory=dict)
    events: Sequence[Event] = ()
    unpublished: Sequence[str] = ()
    published: Sequence[str] = ()
    incidents: Sequence[Incident] = ()


class StoreWatch(Protocol):
    """Hears of every commit that changed payouts, events or incidents."""

    def committed(self, commit: Commit) -> None:
        """Hear of one commit, before anybody else does."""
        ...


class GatewayWatch(Protocol):
    """Hears what truly happens at M-PESA."""

    def arrived(self, own_id: str, *, amount_minor: int, receiver: str) -> None:
        """Hear of a payment request that has just arrived, before anything is done with it."""
        ...

    def paid(self, own_id: str, *, amount_minor: int, receiver: str, receipt: str) -> None:
        """Hear that money moved, in the instant in which it does."""
        ...

    def declined(self, own_id: str) -> None:
        """Hear that the gateway has taken a request and will never pay it."""
        ...


class BrokerWatch(Protocol):
    """Hears what RabbitMQ takes for good."""

    def acknowledged(self, body: bytes, message_id: str | None) -> None:
        """Hear that a command is forgotten for good."""
        ...

    def dead_lettered(self, body: bytes, message_id: str | None, reason: str) -> None:
        """Hear that a dead letter is durable."""
        ...

    def took_event(self, event: Event) -> None:
        """Hear that downstream has an event."""
        ...


# The gateway calls back: the world picks a living callback server, which runs it as one of its
# own tasks. The answer is whether it was acknowledged (200); a gateway may send it again if not.
TellResult = Callable[[Result], Awaitable[bool]]
TellTimeout = Callable[[QueueTimeout], Awaitable[bool]]

# What the world builds its twins by (tests/simulation/twins):
#
#   store.Books(watch: StoreWatch)               the durable rows; .payouts: dict[PayoutId, Payout]
#       .events: dict[event_id, row]             with .snapshot() and .restore(snapshot)
#       .accounts, .runs_paused, .incidents      plain data for the auditor to read
#   store.TwinStore(books, far, faults, clock)   one per process; PayoutStore, Outbox, Orders
#   broker.Broker(far, faults, watch)            queues; .publish_command(account, body, message_id)
#       .consumer(process, account, prefetch, handler, on_failure)  a CommandConsumer's face
#       .publisher(process), .dead_letters(process)
#       .lost(process)                           the process has died: give back, redeliver
#       .waiting() -> int                        commands not yet acknowledged
#       .pending dead letters and events         lists, for the auditor
#   gateway.Mpesa(far, faults, watch, tell_result, tell_timeout)    the far side, its true ledger
#       .is_alive(own_id) -> bool                a request of this id is on its way there, is being
#                                                worked on, or was paid: sending again is a risk
#       .busy() -> bool                          requests on their way, or Results to be told yet
#   gateway.TwinGateway(mpesa)                   one per process; a Gateway
#       may_send() is asked in the instant in which the bytes leave: in the same step as `after`.
#
# Tasks and futures are kept in dicts or lists, never in sets: their order must be that of the seed.
# Everything is driven by `asyncio.get_running_loop()`; nothing reads the wall clock or `random`.
