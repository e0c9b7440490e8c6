"""Time, telemetry, the gateway, the publisher and the pace, as the services need them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from payouts.domain.answers import Answer, BrokerAnswer
from payouts.domain.events import Event
from payouts.domain.payout import Payout
from payouts.domain.signals import Signal
from payouts.domain.values import AccountName, OriginatorConversationId


class Clock(Protocol):
    """Time, handed in. `now` is an aware UTC instant; `monotonic` counts seconds."""

    def now(self) -> datetime: ...

    def monotonic(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...


class Telemetry(Protocol):
    """Tells subscribers what happened; never raises, never blocks, carries no personal data."""

    def emit(self, signal: Signal, /, **fields: object) -> None: ...


class Gateway(Protocol):
    """The M-PESA gateway. No method raises for what the other side does; answers tell it."""

    async def submit(self, payout: Payout, *, may_send: Callable[[], bool]) -> Answer: ...

    async def ask_core(
        self, payout: Payout, query_id: OriginatorConversationId, *, may_send: Callable[[], bool]
    ) -> Answer: ...

    async def ask_broker(self, payout: Payout) -> BrokerAnswer: ...

    def can_ask_broker(self, account: AccountName) -> bool: ...

    async def probe(self, account: AccountName) -> bool: ...


class EventPublisher(Protocol):
    """Publishes events to downstream.

    Raises:
        UnroutableError: no queue takes it.
        BrokerUnavailableError: it is not certain that it was taken; publish it again.
    """

    async def publish(self, event: Event) -> None: ...


class Pace(Protocol):
    """Keeps requests to one account within its rate, over all workers together."""

    async def turn(self, account: AccountName) -> None:
        """Return when the next request of this account may be sent."""
        ...

    def slow_down(self, account: AccountName) -> None:
        """Tell that the gateway throttled or was overloaded."""
        ...
