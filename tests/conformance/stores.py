"""What the store's tests share: a store and a second one, on one twin or on one real database."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from payouts.domain.payout import Payout, Reason, ReasonSource, State
from payouts.domain.values import (
    AccountName,
    ConversationId,
    OriginatorConversationId,
    PayoutId,
    TransactionId,
    WorkerId,
    conversation_id_for,
)
from payouts.ports import Completion, Intent, IntentOutcome, Move, Order
from payouts.storage.orders import PostgresOrders
from payouts.storage.parts import Context
from payouts.storage.store import PostgresStore
from tests.simulation.seams import StoreFaults
from tests.simulation.twins.store import Books, Settings, TwinStore

NOON = datetime(2026, 12, 24, 12, 0, tzinfo=UTC)
DEFAULT = AccountName("default")
LIMIT = 1000

TAKEN = Reason(source=ReasonSource.RESPONSE, code="0", klass="accepted", description="Taken.")
UNCLEAR = Reason(source=ReasonSource.LOCAL, code="timeout", klass="ambiguous", description="None.")
BUSY = Reason(source=ReasonSource.RESPONSE, code="26", klass="refused-retry", description="Busy.")
GONE = Reason(source=ReasonSource.RESPONSE, code="25", klass="refused-final", description="No.")
DONE = Reason(source=ReasonSource.RESULT, code="0", klass="completed", description="Done.")
REPEATED = Reason(source=ReasonSource.RESPONSE, code="15", klass="duplicate", description="Twice.")
UNSURE = Reason(source=ReasonSource.RESULT, code="17", klass="ambiguous", description="Error.")
WHY = {
    State.ACCEPTED: TAKEN,
    State.IN_DOUBT: UNCLEAR,
    State.WAITING: BUSY,
    State.FAILED: GONE,
    State.SUCCEEDED: DONE,
}
AnyStore = PostgresStore | TwinStore
AnyOrders = PostgresOrders | TwinStore


def later(seconds: float) -> datetime:
    """Return an instant after noon."""
    return NOON + timedelta(seconds=seconds)


class Near:
    """The far side at once: what is sent is there in the next turn of the loop."""

    def __init__(self) -> None:
        self.random = random.Random(1)  # noqa: S311 - a test's

    def now(self) -> datetime:
        """Return the real time, as a database does."""
        return datetime.now(UTC)

    def after(self, delay_s: float, act: Callable[[], None]) -> None:
        """Act soon."""
        asyncio.get_running_loop().call_later(min(delay_s, 0.001), act)


class Noon:
    """A clock that stands at noon, or wherever it is put."""

    def __init__(self) -> None:
        self.instant = NOON

    def now(self) -> datetime:
        """Return where it stands."""
        return self.instant

    def monotonic(self) -> float:
        """Return real seconds."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Yield."""
        await asyncio.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Bed:
    """Two sessions with the same books, as two processes have them."""

    store: AnyStore
    other: AnyStore
    orders: AnyOrders
    clock: Noon

    async def intend(self, wanted: Payout) -> IntentOutcome:
        """Record an intent."""
        return await self.store.record_intent(Intent(payout=wanted, actor="worker 1"))

    async def stand(self, name: str, state: State, **changes: Any) -> Payout:
        """Make a payout that has come to a state by an answer; its id on the wire is its own."""
        if state is State.RECEIVED:
            return (await self.intend(received(name, **changes))).payout
        await self.intend(sending(name, **changes))
        if state is State.SUBMITTING:
            return await self.now(name)
        made = await self.store.move(move(name, state))
        assert made.payout is not None
        return made.payout

    async def now(self, name: str) -> Payout:
        """Return a payout as it stands."""
        found = await self.store.find(PayoutId(name))
        assert found is not None
        return found


@asynccontextmanager
async def open_bed(url: str | None, **settings: Any) -> AsyncIterator[Bed]:
    """Give two sessions with a database, or with a twin of one where there is no address."""
    clock = Noon()
    async with AsyncExitStack() as stack:
        if url is None:
            books, far = Books(), Near()
            one, other = (
                TwinStore(books, far, StoreFaults(), clock, Settings(**settings)) for _ in "ab"
            )
            yield Bed(one, other, one, clock)
            return
        first = await stack.enter_async_context(PostgresStore(url, clock, **settings))
        second = await stack.enter_async_context(PostgresStore(url, clock, **settings))
        context = Context(database=first.database, clock=clock, **settings)
        yield Bed(first, second, PostgresOrders(context), clock)


def own_id(name: str) -> OriginatorConversationId:
    """Return the payout's one id on the wire."""
    return conversation_id_for("600000", "ORG", PayoutId(name))


def received(name: str, **changes: Any) -> Payout:
    """Give a payout that rests, due at noon."""
    facts: dict[str, Any] = {
        "payout_id": PayoutId(name),
        "account": DEFAULT,
        "amount_minor": 1999,
        "currency": "KES",
        "msisdn": "254711222333",
        "command_id": "BusinessPayment",
        "originator_conversation_id": own_id(name),
        "state": State.RECEIVED,
        "created_at": NOON,
        "next_action_at": NOON,
    }
    return Payout(**{**facts, **changes})


def sending(name: str, owner: int = 1, **changes: Any) -> Payout:
    """Give a payout that a worker is about to send."""
    facts: dict[str, Any] = {
        "state": State.SUBMITTING,
        "owner": WorkerId(owner),
        "claimed_at": NOON,
        "attempts": 1,
        "next_action_at": None,
    }
    return received(name, **{**facts, **changes})


def move(name: str, to: State, *sources: State, **changes: Any) -> Move:
    """Give a move out of `submitting` unless sources are given, a second after noon."""
    ended = to in {State.SUCCEEDED, State.FAILED}
    facts: dict[str, Any] = {
        "payout_id": PayoutId(name),
        "to": to,
        "sources": frozenset(sources or {State.SUBMITTING}),
        "at": later(1),
        "actor": "worker 1",
        "kind": "answer",
        "reason": WHY.get(to),
        "next_action_at": None if ended else later(30),
        "sent_at": NOON,
    }
    return Move(**{**facts, **changes})


def result(name: str, to: State = State.SUCCEEDED, **changes: Any) -> Completion:
    """Give a Result that agrees with its payout, five seconds after noon."""
    facts: dict[str, Any] = {
        "to": to,
        "at": later(5),
        "actor": "callback server",
        "reason": DONE if to is State.SUCCEEDED else GONE,
        "originator_conversation_id": own_id(name),
        "conversation_id": ConversationId(f"AG_{name}"),
        "transaction_id": TransactionId(f"R{name}"),
        "amount_minor": 1999,
        "receiver": "254711222333",
    }
    return Completion(**{**facts, **changes})


def order(operator: str = "jane", *, seconds: float = 3600, reason: str = "they called") -> Order:
    """Give an order of a person, an hour after noon."""
    return Order(operator=operator, reason=reason, at=later(seconds))
