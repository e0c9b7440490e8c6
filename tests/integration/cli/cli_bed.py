"""What these tests share: a worker of the test's own, and looks past the product."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import aio_pika
import asyncpg

from payouts.domain.commands import AccountRules, payout_of, validate
from payouts.domain.payout import Payout, Reason, ReasonSource, State
from payouts.domain.values import AccountName, TransactionId, WorkerId
from payouts.ports import Completion, Intent, Move
from payouts.runtime import SystemClock
from payouts.storage.store import PostgresStore
from tests.command_line import payouts

RULES = AccountRules(name=AccountName("default"), shortcode="600000", organisation="ORG")
RECEIVER = "254712345678"
PAID = Reason(source=ReasonSource.RESULT, code="0", klass="completed", description="Completed.")
NOT_PAID = Reason(
    source=ReasonSource.RESULT,
    code="2040",
    klass="refused-final",
    description=f"Receiver {RECEIVER} is not registered.",
)
LOST = Reason(source=ReasonSource.LOCAL, code="timeout", klass="ambiguous", description="Late.")


# How jane signs an order; and how she does where count and sum would be asked.
WHY = ("--reason", "asked by payroll", "--operator", "jane")
YES = (*WHY, "--yes")


class Worker:
    """Writes payouts into the books as a worker and a callback server would."""

    def __init__(self, store: PostgresStore, owner: WorkerId) -> None:
        self._store = store
        self._owner = owner

    async def submitting(self, payout_id: str, **fields: object) -> Payout:
        """Makes a payout of 12.50 that is being sent."""
        wanted = {"payout_id": payout_id, "msisdn": RECEIVER, "amount": "12.50", **fields}
        return await self.take(wanted)

    async def take(self, fields: Mapping[str, object]) -> Payout:
        """Makes the payout of a command that is being sent."""
        now = datetime.now(UTC)
        made = payout_of(validate(fields, RULES), RULES, state=State.SUBMITTING, now=now)
        intent = replace(made, owner=self._owner, claimed_at=now, attempts=1)
        outcome = await self._store.record_intent(Intent(payout=intent, actor="worker 1"))
        return outcome.payout

    async def answered(self, payout: Payout, to: State, reason: Reason) -> None:
        """Writes down an answer that leads to a state with something left to do."""
        now = datetime.now(UTC)
        moved = await self._store.move(
            Move(
                payout_id=payout.payout_id,
                to=to,
                sources=frozenset({State.SUBMITTING}),
                at=now,
                actor="worker 1",
                kind="answer",
                reason=reason,
                sent_at=now,
                next_action_at=now + timedelta(minutes=5),
                attempt=payout.attempts,
            )
        )
        assert moved.payout is not None

    async def waiting(self, payout_id: str, **fields: object) -> Payout:
        """Makes a payout that waits to be sent again: nothing of it is on its way."""
        payout = await self.submitting(payout_id, **fields)
        await self.answered(payout, State.WAITING, LOST)
        return payout

    async def ended(self, payout: Payout, *, fails: bool = False) -> None:
        """Ends a payout by its Result."""
        outcome = await self._store.complete(
            Completion(
                to=State.FAILED if fails else State.SUCCEEDED,
                at=datetime.now(UTC),
                actor="callback server",
                reason=NOT_PAID if fails else PAID,
                originator_conversation_id=payout.originator_conversation_id,
                conversation_id=None,
                transaction_id=None if fails else TransactionId(f"R{payout.payout_id}"),
            )
        )
        assert outcome.applied


async def audit_of(environ: Mapping[str, str]) -> list[dict[str, Any]]:
    """Gives the audit, newest first."""
    lines: list[dict[str, Any]] = (await payouts("audit", "list", "--json", environ=environ)).json
    return lines


@asynccontextmanager
async def connected(environ: Mapping[str, str]) -> AsyncIterator[asyncpg.Connection]:
    """Gives a connection past all guards of the product's own programs."""
    connection = await asyncpg.connect(environ["PAYOUTS_DATABASE_URL"])
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def working(url: str) -> AsyncIterator[Worker]:
    """Gives a worker on these books."""
    async with PostgresStore(url, SystemClock()) as store:
        yield Worker(store, await store.enlist("test"))


async def commands_in_queue(amqp_url: str, count: int) -> Sequence[dict[str, Any]]:
    """Takes so many commands out of the default account's queue."""
    connection = await aio_pika.connect(amqp_url)
    async with connection:
        channel = await connection.channel()
        queue = await channel.get_queue("payouts.commands.default", ensure=False)
        found: list[dict[str, Any]] = []
        async with asyncio.timeout(30), queue.iterator() as messages:
            async for message in messages:
                assert message.content_type == "application/json"
                assert message.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
                found.append(json.loads(message.body))
                await message.ack()
                if len(found) == count:
                    break
        return found


async def left_in_queue(amqp_url: str) -> int:
    """Counts what is in the queue."""
    connection = await aio_pika.connect(amqp_url)
    async with connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("payouts.commands.default", passive=True)
        return int(queue.declaration_result.message_count or 0)
