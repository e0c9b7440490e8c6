"""What the tests of services share: a clock, signals, a payout, and ports that remember calls."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from payouts.domain.answers import Result
from payouts.domain.decisions import Policies
from payouts.domain.payout import Payout, State
from payouts.domain.signals import SIGNALS, Signal
from payouts.domain.values import (
    AccountName,
    ConversationId,
    OriginatorConversationId,
    PayoutId,
    TransactionId,
    WorkerId,
)
from payouts.ports import EventPublisher, Outbox, PayoutStore
from payouts.services.completion import Completions
from payouts.services.relay import Relay

NOW = datetime(2026, 11, 30, 9, 0, tzinfo=UTC)
NAME = AccountName("default")
OWNER = WorkerId(7)


class Clock:
    """Stands still; sleeping moves it on."""

    def __init__(self) -> None:
        self.instant = NOW
        self.seconds = 0.0

    def now(self) -> datetime:
        """Give where it stands."""
        return self.instant

    def monotonic(self) -> float:
        """Give the seconds that it was moved on."""
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        """Move on, and let others run."""
        self.go(seconds)
        await asyncio.sleep(0)

    def go(self, seconds: float) -> None:
        """Move on."""
        self.instant += timedelta(seconds=seconds)
        self.seconds += seconds


class Signals:
    """Keeps what was told, and holds every field against the documented list."""

    def __init__(self) -> None:
        self.told: list[tuple[Signal, dict[str, object]]] = []

    def emit(self, signal: Signal, /, **fields: object) -> None:
        """Take a signal, with documented fields only."""
        assert set(fields) <= set(SIGNALS[signal].fields)
        self.told.append((signal, fields))

    def of(self, signal: Signal) -> list[dict[str, object]]:
        """Give the fields of each time that a signal was told."""
        return [fields for told, fields in self.told if told is signal]


@dataclass
class Port:
    """A port that remembers what it was asked, and answers what it was taught."""

    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def ask(*args: Any, **kwargs: Any) -> Any:
            self.asked.append((name, args, kwargs))
            answer = self.answers.get(name)
            if isinstance(answer, Exception):
                raise answer
            answer = answer(*args, **kwargs) if callable(answer) else answer
            return await answer if inspect.isawaitable(answer) else answer

        return ask

    def calls(self, name: str) -> list[dict[str, Any]]:
        """Give the calls of one method: its arguments by name, those without by position."""
        return [
            {**dict(zip("abcdef", args, strict=False)), **kwargs}
            for asked, args, kwargs in self.asked
            if asked == name
        ]

    @property
    def names(self) -> list[str]:
        """Give what was asked, in order."""
        return [name for name, _, _ in self.asked]


def payout(name: str = "one", **changes: Any) -> Payout:
    """Give a payout that worker 7 is sending for the first time."""
    facts: dict[str, Any] = {
        "payout_id": PayoutId(name),
        "account": NAME,
        "amount_minor": 10_000,
        "currency": "KES",
        "msisdn": "254712345678",
        "command_id": "BusinessPayment",
        "originator_conversation_id": OriginatorConversationId(f"600000_ORG_{name}"),
        "state": State.SUBMITTING,
        "created_at": NOW,
        "attempts": 1,
        "owner": OWNER,
        "claimed_at": NOW,
    }
    return Payout(**{**facts, **changes})


def in_doubt(name: str = "one", **changes: Any) -> Payout:
    """Give a payout in doubt since a minute, sent once."""
    since = NOW - timedelta(seconds=60)
    facts: dict[str, Any] = {
        "state": State.IN_DOUBT,
        "owner": None,
        "submitted_at": since,
        "last_sent_at": since,
        "doubt_since": since,
        "next_action_at": NOW,
    }
    return payout(name, **{**facts, **changes})


def result(code: str = "0", name: str = "one", **changes: Any) -> Result:
    """Give the Result of a payout, agreeing with it."""
    facts: dict[str, Any] = {
        "code": code,
        "description": "words",
        "originator_conversation_id": OriginatorConversationId(f"600000_ORG_{name}"),
        "conversation_id": ConversationId(f"AG_{name}"),
        "transaction_id": TransactionId("SKU1"),
        "amount_minor": 10_000,
        "receiver": "254712345678",
    }
    return Result(**{**facts, **changes})


def relay(store: Port, clock: Clock, signals: Signals) -> Relay:
    return Relay(cast("Outbox", store), cast("EventPublisher", Port()), clock, signals)


def completions(store: Port, clock: Clock, signals: Signals) -> Completions:
    return Completions(
        store=cast("PayoutStore", store),
        relay=relay(store, clock, signals),
        clock=clock,
        telemetry=signals,
        policies=Policies(),
        actor="callback server",
    )
