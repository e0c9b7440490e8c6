"""What the storage tests share: a clock that stands, payouts, moves, and a look past the store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from payouts.domain.payout import Payout, Reason, ReasonSource, State
from payouts.domain.values import (
    AccountName,
    ConversationId,
    OriginatorConversationId,
    PayoutId,
    RunId,
    TransactionId,
    WorkerId,
)
from payouts.ports import Completion, CompletionOutcome, Intent, Move, Moved
from payouts.storage.store import PostgresStore

NOW = datetime(2026, 11, 30, 9, 0, tzinfo=UTC)
ACCOUNT = AccountName("default")
RUN = RunId("2026-11-salaries")
RECEIVER = "254712345678"
ACTOR = "worker 1"
DEADLINE_S = 30.0

REFUSED = Reason(
    source=ReasonSource.RESPONSE, code="17", klass="refused-final", description="No such receiver."
)
TAKEN = Reason(source=ReasonSource.RESPONSE, code="0", klass="accepted", description="Accepted.")
PAID = Reason(source=ReasonSource.RESULT, code="0", klass="completed", description="Completed.")
NOT_PAID = Reason(
    source=ReasonSource.RESULT, code="2040", klass="refused-final", description="Not registered."
)
UNKNOWN = Reason(source=ReasonSource.RESPONSE, code="timeout", klass="ambiguous", description="-")


class StandingClock:
    """Stands at `instant` until told otherwise; `monotonic` and `sleep` are real."""

    def __init__(self, instant: datetime = NOW) -> None:
        self.instant = instant

    def now(self) -> datetime:
        """Return where it stands."""
        return self.instant

    def monotonic(self) -> float:
        """Return the real one."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Rest for real."""
        await asyncio.sleep(seconds)


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def payout(name: str, **changes: Any) -> Payout:
    """Give a payout that worker 1 is about to send for the first time."""
    facts: dict[str, Any] = {
        "payout_id": PayoutId(name),
        "account": ACCOUNT,
        "amount_minor": 125_050,
        "currency": "KES",
        "msisdn": RECEIVER,
        "command_id": "SalaryPayment",
        "originator_conversation_id": own_id(name),
        "state": State.SUBMITTING,
        "created_at": NOW,
        "run_id": RUN,
        "attempts": 1,
        "owner": WorkerId(1),
        "claimed_at": NOW,
    }
    return Payout(**{**facts, **changes})


def received(name: str, **changes: Any) -> Payout:
    """Give a payout that is durable, with nothing sent, due now."""
    state = {"state": State.RECEIVED, "attempts": 0, "owner": None, "claimed_at": None}
    return payout(name, **{**state, "next_action_at": NOW, **changes})


def own_id(name: str) -> OriginatorConversationId:
    return OriginatorConversationId(f"600000_ORG_{name}")


def gateway_id(name: str) -> ConversationId:
    return ConversationId(f"AG_20261130_{name}")


def move(name: str, to: State, *sources: State, **changes: Any) -> Move:
    """Give a move out of `submitting`, unless sources are given."""
    needs_action = {State.ACCEPTED, State.WAITING, State.IN_DOUBT}
    facts: dict[str, Any] = {
        "payout_id": PayoutId(name),
        "to": to,
        "sources": frozenset(sources or {State.SUBMITTING}),
        "at": NOW + seconds(1),
        "actor": ACTOR,
        "kind": "answer",
        "reason": {State.ACCEPTED: TAKEN, State.FAILED: REFUSED}.get(to, UNKNOWN),
        "next_action_at": NOW + seconds(60) if to in needs_action else None,
        "sent_at": NOW,
    }
    return Move(**{**facts, **changes})


def completion(name: str, to: State = State.SUCCEEDED, **changes: Any) -> Completion:
    """Give the Result of a payout, agreeing with it."""
    facts: dict[str, Any] = {
        "to": to,
        "at": NOW + seconds(5),
        "actor": "callback server",
        "reason": PAID if to is State.SUCCEEDED else NOT_PAID,
        "originator_conversation_id": own_id(name),
        "conversation_id": gateway_id(name),
        "transaction_id": TransactionId(f"SKU{name}"),
        "amount_minor": 125_050,
        "receiver": RECEIVER,
    }
    return Completion(**{**facts, **changes})


class Bed:
    """A store on a database of its own, with the ways into it that a test needs."""

    def __init__(self, store: PostgresStore, clock: StandingClock, url: str) -> None:
        self.store = store
        self.clock = clock
        self.url = url

    async def intend(self, wanted: Payout) -> Payout:
        """Make a payout durable."""
        return (await self.store.record_intent(Intent(payout=wanted, actor=ACTOR))).payout

    async def accepted(self, name: str, **changes: Any) -> Payout:
        """Make a payout that the gateway has taken."""
        await self.intend(payout(name))
        return self.of(
            await self.store.move(
                move(name, State.ACCEPTED, conversation_id=gateway_id(name), **changes)
            )
        )

    async def in_doubt(self, name: str, **changes: Any) -> Payout:
        """Make a payout whose sending had no answer."""
        await self.intend(payout(name))
        return self.of(await self.store.move(move(name, State.IN_DOUBT, **changes)))

    async def waiting(self, name: str, **changes: Any) -> Payout:
        """Make a payout that was refused for a passing reason."""
        await self.intend(payout(name))
        return self.of(await self.store.move(move(name, State.WAITING, **changes)))

    async def succeeded(self, name: str) -> CompletionOutcome:
        """Make a payout and end it by its Result."""
        await self.accepted(name)
        return await self.store.complete(completion(name))

    async def bring_to(self, state: State, name: str = "a") -> None:
        """Bring a payout to a state as the workers would."""
        match state:
            case State.RECEIVED:
                await self.intend(received(name))
            case State.SUBMITTING:
                await self.intend(payout(name))
            case State.WAITING:
                await self.waiting(name)
            case State.ACCEPTED:
                await self.accepted(name)
            case State.IN_DOUBT:
                await self.in_doubt(name)
            case State.SUCCEEDED:
                await self.succeeded(name)
            case State.FAILED:
                await self.intend(payout(name))
                await self.store.move(move(name, State.FAILED))

    async def standing(self, name: str) -> Payout:
        """Give a payout as it stands."""
        found = await self.store.find(PayoutId(name))
        assert found is not None
        return found

    async def fetch(self, statement: str, *values: object) -> list[asyncpg.Record]:
        """Run a statement past the store."""
        return await fetch(self.url, statement, *values)

    async def count(self, table_and_condition: str) -> int:
        """Count rows."""
        rows = await self.fetch(f"SELECT count(*) FROM {table_and_condition}")  # noqa: S608
        return int(rows[0][0])

    async def kinds(self, name: str) -> list[str]:
        """Give the timeline's words for what happened to a payout, in order."""
        rows = await self.fetch(
            "SELECT t.kind FROM timeline t JOIN payouts p ON p.id = t.payout"
            " WHERE p.payout_id = $1 ORDER BY t.id",
            name,
        )
        return [row[0] for row in rows]

    @staticmethod
    def of(moved: Moved) -> Payout:
        """Give the payout of a move that must have won."""
        assert moved.payout is not None
        return moved.payout


async def fetch(url: str, statement: str, *values: object) -> list[asyncpg.Record]:
    """Run a statement past the store, as an operator with psql would."""
    connection = await asyncpg.connect(url)
    try:
        return list(await connection.fetch(statement, *values))
    finally:
        await connection.close()


@asynccontextmanager
async def open_bed(url: str, **settings: Any) -> AsyncIterator[Bed]:
    clock = StandingClock()
    async with PostgresStore(url, clock, **settings) as store:
        yield Bed(store, clock, url)


async def proves_itself(
    connection: asyncpg.Connection, statement: str, guard: str, *, without: str = ""
) -> None:
    """Fail unless the statement is refused by the guard, and by nothing else.

    `without` names triggers of the same table that would refuse it as well: they are off.
    """
    table, name = guard.split(".")
    is_constraint = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM pg_constraint WHERE conname = $1)", name
    )
    is_index = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM pg_indexes WHERE indexname = $1)", name
    )
    drop = f"DROP TRIGGER {name} ON {table}"
    if is_constraint:
        drop = f"ALTER TABLE {table} DROP CONSTRAINT {name}"
    elif is_index:
        drop = f"DROP INDEX {name}"
    transaction = connection.transaction()
    await transaction.start()
    try:
        for other in without.split():
            await connection.execute(f"DROP TRIGGER {other} ON {table}")
        with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refused:
            async with connection.transaction():
                await connection.execute(statement)
        assert refused.value.constraint_name == name
        await connection.execute(drop)
        await connection.execute(statement)
    finally:
        await transaction.rollback()


def names(prefix: str, count: int) -> list[str]:
    return [f"{prefix}-{number:04d}" for number in range(count)]


async def until(holds: Callable[[], bool]) -> None:
    """Return when a condition holds; the test fails if it does not in time."""
    async with asyncio.timeout(DEADLINE_S):
        while not holds():  # noqa: ASYNC110 - what holds is seen from outside, by looking
            await asyncio.sleep(0.005)


def variants(wanted: Payout) -> list[tuple[str, Payout]]:
    """Give the payout with each field of its content changed, and the field's name."""
    changes: dict[str, object] = {
        "amount": 125_051,
        "msisdn": "254700000000",
        "command_id": "BusinessPayment",
        "account": AccountName("other"),
        "currency": "TZS",
        "run_id": None,
        "remark": "another",
        "occasion": "another",
        "not_after": NOW + seconds(1),
        "metadata": {"another": "one"},
    }
    return [
        (name, replace(wanted, **{"amount_minor" if name == "amount" else name: value}))  # type: ignore[arg-type]
        for name, value in changes.items()
    ]
