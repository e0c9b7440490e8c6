"""Calls of the product whose cost must not depend on how many payouts have ended.

Each round makes what its calls need, the same whether the books are empty or full.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from ops.bench.plans import Call, Plan, plan_of
from payouts.domain.commands import AccountRules, Command, payout_of
from payouts.domain.events import Event
from payouts.domain.payout import OPEN, Payout, Reason, ReasonSource, State
from payouts.domain.values import (
    AccountName,
    ConversationId,
    PayoutId,
    RunId,
    TransactionId,
    WorkerId,
)
from payouts.ports import Completion, Intent, Move
from payouts.storage.reading import Listing, PayoutsReader
from payouts.storage.store import PostgresStore

BATCH: Final = 100
RUN: Final = RunId("watched-run")
RUN_OF: Final = 1_000
OPEN_OF: Final = 3_000
RARE: Final = AccountName("seldom")
_RARE_OF: Final = 20
_RULES: Final = AccountRules(name=AccountName("default"), shortcode="600000", organisation="ORG")
_TAKEN: Final = Reason(
    source=ReasonSource.RESPONSE, code="0", klass="accepted", description="Accepted."
)
_PAID: Final = Reason(
    source=ReasonSource.RESULT, code="0", klass="completed", description="Processed."
)
_ACTOR: Final = "growth"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """How long a call took in each round, in milliseconds, and how its statements are answered."""

    name: str
    ms: Sequence[float]
    plan: Plan


@dataclass(slots=True, kw_only=True)
class Probes:
    """Makes the calls round by round, on books that are full or empty."""

    store: PostgresStore
    reader: PayoutsReader
    now: Callable[[], datetime]
    _owner: WorkerId = field(default=WorkerId(0), init=False)
    _made: int = field(default=0, init=False)
    _ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list), init=False)
    _plans: dict[str, Plan] = field(default_factory=dict, init=False)

    async def run(self, rounds: int) -> list[Timed]:
        """Return every call's times of so many rounds; one more before them is not counted."""
        self._owner = await self.store.enlist(_ACTOR)
        # No call may read them all, least of all where the statistics know of ended ones only.
        for _ in range(0, OPEN_OF, BATCH):
            await self._accepted(BATCH, due=self.now() + timedelta(days=1))
        await self._paid(RUN_OF, _RULES, RUN)
        await self._paid(_RARE_OF, replace(_RULES, name=RARE), None)
        for number in range(rounds + 1):
            if number == 1:
                self._ms.clear()
            await self._writes()
            await self._sweeps()
            await self._looks()
        return [Timed(name=name, ms=ms, plan=self._plans[name]) for name, ms in self._ms.items()]

    async def _writes(self) -> None:
        intents = _intents(self._received(BATCH))
        await self._call(f"{BATCH} intents", lambda: _all(self.store.record_intent, intents))
        await self._call(
            f"{BATCH} repeated commands", lambda: _all(self.store.record_intent, intents)
        )
        claimed: Sequence[Payout] = ()

        async def claim() -> None:
            nonlocal claimed
            claimed = await self.store.claim_due(
                self._owner, [_RULES.name], now=self.now(), limit=BATCH
            )

        await self._call("claim what is due", claim)
        moves = [_answer(one) for one in claimed]
        await self._call(f"{BATCH} answers", lambda: _all(self.store.move, moves))
        results = [_result(one) for one in claimed]
        await self._call(f"{BATCH} Results", lambda: _all(self.store.complete, results))
        events: Sequence[Event] = ()

        async def relay() -> None:
            nonlocal events
            later = self.now() + timedelta(seconds=60)
            events = await self.store.claim_unpublished(older_than=later, until=later, limit=BATCH)

        await self._call("claim what is not published", relay)
        ids = [one.event_id for one in events]
        await self._call(f"{BATCH} events published", lambda: _all(self.store.mark_published, ids))

    async def _sweeps(self) -> None:
        now, store, account = self.now(), self.store, _RULES.name
        before = now - timedelta(seconds=1)
        await self._accepted(BATCH, due=before)
        await self._call(
            "doubt what is overdue",
            lambda: store.mark_overdue(now=now, limit=BATCH, actor=_ACTOR),
        )
        await self._call(
            "claim doubts",
            lambda: store.claim_doubts(
                [account], now=now, until=now + timedelta(days=1), limit=BATCH
            ),
        )
        await self._submitting(BATCH, owner=self._owner, at=now - timedelta(seconds=60))
        await self._call(
            "doubt what a worker forgot",
            lambda: store.mark_orphaned(self._owner, [], before=before, now=now),
        )
        gone = await store.enlist(_ACTOR)
        await self._submitting(BATCH, owner=gone, at=now)
        await store.retire(gone)
        await self._call(
            "doubt what dead workers left",
            lambda: store.mark_abandoned(lease_s=3600, now=now, limit=BATCH, actor=_ACTOR),
        )
        late = [replace(one, not_after=before) for one in self._received(BATCH)]
        await _all(store.record_intent, _intents(late))
        await self._call(
            "end what expired", lambda: store.expire_unsent(now=now, limit=BATCH, actor=_ACTOR)
        )
        day = now - timedelta(days=1)
        await self._call("find what stands still", lambda: store.record_stuck(before=day, limit=9))
        await self._call("find what came back", lambda: store.find_returned(since=day, limit=BATCH))
        await self._call("figures for metrics", store.figures)
        await self._call("what is on its way", lambda: store.exposures([account]))

    async def _looks(self) -> None:
        hour = self.now() - timedelta(hours=1)
        listings = {
            "list": Listing(),
            "list what is open": Listing(states=OPEN),
            "list --state in_doubt": Listing(states=frozenset({State.IN_DOUBT})),
            "list --state failed": Listing(states=frozenset({State.FAILED})),
            "list --held": Listing(held=True),
            "list --older-than 1h": Listing(older_than=hour),
            "list --state failed --older-than 1h": Listing(
                states=frozenset({State.FAILED}), older_than=hour
            ),
            "list --run": Listing(run_id=RUN),
            "list --account, a rare one": Listing(account=RARE),
        }
        for name, listing in listings.items():
            await self._call(name, partial(self.reader.list_payouts, listing))
        await self._call("run show", lambda: self.reader.run_summary(RUN))
        known = PayoutId(f"{_ACTOR}-0")
        await self._call("show", lambda: self._story(known))

    async def _call(self, name: str, call: Call) -> None:
        if name not in self._plans:
            self._plans[name] = await plan_of(self.store.database.engine, call)
        began = time.perf_counter()
        await call()
        self._ms[name].append((time.perf_counter() - began) * 1000)

    async def _story(self, payout_id: PayoutId) -> None:
        await self.reader.payout(payout_id)
        await self.reader.timeline(payout_id)
        await self.reader.events(payout_id)

    async def _accepted(self, count: int, *, due: datetime) -> None:
        payouts = await self._submitting(count, owner=self._owner, at=self.now())
        await _all(self.store.move, [replace(_answer(one), next_action_at=due) for one in payouts])

    async def _submitting(self, count: int, *, owner: WorkerId, at: datetime) -> list[Payout]:
        payouts = [
            replace(
                one,
                state=State.SUBMITTING,
                owner=owner,
                claimed_at=at,
                attempts=1,
                next_action_at=None,
            )
            for one in self._received(count)
        ]
        await _all(self.store.record_intent, _intents(payouts))
        return payouts

    async def _paid(self, count: int, rules: AccountRules, run: RunId | None) -> None:
        """Make payouts that have ended as all others have."""
        for _ in range(0, count, BATCH):
            payouts = self._received(min(count, BATCH), rules=rules, run=run)
            await _all(self.store.record_intent, _intents(payouts))
            results = [_result(one) for one in payouts]
            await _all(self.store.complete, results)

    def _received(
        self, count: int, *, rules: AccountRules = _RULES, run: RunId | None = None
    ) -> list[Payout]:
        first, self._made = self._made, self._made + count
        return [
            _new(f"{_ACTOR}-{number}", rules, run, self.now())
            for number in range(first, first + count)
        ]


async def _all(call: Callable[[Any], Awaitable[object]], items: Sequence[object]) -> None:
    """Make all calls at once, so that the store writes them as one batch."""
    await asyncio.gather(*(call(one) for one in items))


def _new(payout_id: str, rules: AccountRules, run: RunId | None, now: datetime) -> Payout:
    command = Command(
        payout_id=PayoutId(payout_id),
        amount_minor=125_050,
        msisdn="254712345678",
        account=rules.name,
        run_id=run,
    )
    return replace(payout_of(command, rules, state=State.RECEIVED, now=now), next_action_at=now)


def _intents(payouts: Iterable[Payout]) -> list[Intent]:
    return [Intent(payout=one, actor=_ACTOR) for one in payouts]


def _answer(payout: Payout) -> Move:
    at = payout.claimed_at or payout.created_at
    return Move(
        payout_id=payout.payout_id,
        to=State.ACCEPTED,
        sources=frozenset({State.SUBMITTING}),
        at=at,
        actor=_ACTOR,
        kind="answer",
        attempt=payout.attempts,
        reason=_TAKEN,
        next_action_at=at + timedelta(hours=1),
        sent_at=at,
        conversation_id=ConversationId(f"AG_{payout.payout_id}"),
    )


def _result(payout: Payout) -> Completion:
    return Completion(
        to=State.SUCCEEDED,
        at=payout.claimed_at or payout.created_at,
        actor=_ACTOR,
        reason=_PAID,
        originator_conversation_id=payout.originator_conversation_id,
        conversation_id=ConversationId(f"AG_{payout.payout_id}"),
        transaction_id=TransactionId(f"R-{payout.payout_id}"),
        amount_minor=payout.amount_minor,
        receiver=payout.msisdn,
    )
