"""Takes what M-PESA says later: Results, queue time-outs, and answers to questions."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from payouts.domain.answers import QueueTimeout, Result
from payouts.domain.code_types import Side
from payouts.domain.decisions import End, Note, Policies, decide_result
from payouts.domain.errors import StoreRefusedError, StoreUnavailableError
from payouts.domain.payout import Payout, Reason, ReasonSource
from payouts.domain.values import AccountName, is_query_id
from payouts.ports import (
    Clock,
    Completion,
    IncidentKind,
    PayoutStore,
    Query,
    Returned,
    Telemetry,
)
from payouts.services.endings import Endings
from payouts.services.incidents import Incidents, result_of
from payouts.services.pauses import Pauses
from payouts.services.query_answers import QueryAnswers
from payouts.services.relay import Relay

RETURNED = Reason(
    source=ReasonSource.LOCAL,
    code="returned",
    klass="ambiguous",
    description="Something had come for it before its command; it is asked about.",
)
REFUSED = "the database refused what it would change; report this"


@dataclass(slots=True, kw_only=True)
class Completions:
    """Ends payouts by proof, once; keeps as incidents what contradicts (design.md §2, 3 and 5).

    Every method returns when its effect is durable, so that the caller may acknowledge.

    Raises (every method):
        StoreUnavailableError: nothing is certain to have been written; the caller must not
            acknowledge. Doing it again has no second effect.
        StoreRefusedError: the database refused it, which only a defect of ours brings about. What
            was said is kept as an incident, if that can be written; the payout is as it was and
            will be asked about. The caller must not acknowledge.
    """

    store: PayoutStore
    relay: Relay
    clock: Clock
    telemetry: Telemetry
    policies: Policies
    actor: str
    balances: dict[AccountName, tuple[int, datetime]] = field(default_factory=dict)
    incidents: Incidents = field(init=False)
    pauses: Pauses = field(init=False)
    _endings: Endings = field(init=False)
    _answers: QueryAnswers = field(init=False)

    def __post_init__(self) -> None:
        """Put the parts together."""
        self.incidents = Incidents(self.store, self.clock, self.telemetry)
        self.pauses = Pauses(
            self.store, self.clock, self.telemetry, limit=self.policies.refusal_limit
        )
        self._endings = Endings(
            store=self.store,
            relay=self.relay,
            clock=self.clock,
            telemetry=self.telemetry,
            policies=self.policies,
            actor=self.actor,
            incidents=self.incidents,
            pauses=self.pauses,
            balances=self.balances,
        )
        self._answers = QueryAnswers(
            store=self.store,
            clock=self.clock,
            telemetry=self.telemetry,
            policies=self.policies,
            actor=self.actor,
            incidents=self.incidents,
            pauses=self.pauses,
            endings=self._endings,
        )

    async def write_balances(self) -> int:
        """Write down the last utility balance heard of each account; return how many.

        One that could not be written is kept for the next time, unless a later one is heard.
        """
        heard = list(self.balances.items())
        self.balances.clear()
        for number, (name, (minor, at)) in enumerate(heard):
            try:
                await self.store.record_balance(name, minor=minor, at=at)
            except StoreUnavailableError:
                for other, balance in heard[number:]:
                    self.balances.setdefault(other, balance)
                raise
        return len(heard)

    async def take_result(
        self, result: Result, *, source: ReasonSource = ReasonSource.RESULT
    ) -> None:
        """Apply a Result to the payout or the query that it names, whenever it comes."""
        try:
            await self._take(result, source)
        except StoreRefusedError:
            await self.incidents.record(IncidentKind.UNMATCHED, result, None, REFUSED)
            raise

    async def take_returned(self, returned: Returned) -> None:
        """Apply the Result that had come while its payout was gone from the books (a restore).

        One that settles nothing, or cannot be made again of its incident, shows all the same
        that the payout was sent: it is asked about.

        Raises:
            StoreRefusedError: the database refuses it; its incident stays.
        """
        result = result_of(returned.incident)
        if result is None or isinstance(decide_result(result), Note):
            await self._endings.doubt(returned.payout, RETURNED, kind="returned", result=result)
            return
        await self._take(result, ReasonSource.RESULT)

    async def take_queue_timeout(self, notice: QueueTimeout) -> None:
        """Note that the broker dropped a request that it had kept: ask before sending again."""
        payout = await self.store.find_by_conversation(notice.originator_conversation_id, None)
        if payout is None:
            await self.incidents.record_timeout(
                notice, "a queue time-out for an id that no payout has"
            )
            return
        if payout.ended:
            return
        try:
            await self.take_dropped(payout)
        except StoreRefusedError:
            await self.incidents.record_timeout(notice, REFUSED)
            raise

    async def take_dropped(self, payout: Payout) -> None:
        """Note that the broker keeps no request of this open payout any more, as far as it says."""
        reason = Reason(
            source=ReasonSource.RESPONSE,
            code="queue_timeout",
            klass="ambiguous",
            description="The broker dropped the request from its queue (notifyQueueTimeout).",
        )
        await self._endings.doubt(payout, reason, kind="queue time-out", queued=False)

    async def not_found(self, payout: Payout, *, asked_at: datetime, query: Query | None) -> None:
        """Count a *not found*; two that count let the same id be sent again."""
        await self._answers.not_found(payout, asked_at=asked_at, query=query)

    async def see(self, payout: Payout) -> None:
        """Forget *not found* of a payout in doubt: the gateway has shown that it knows it."""
        await self._endings.see(payout)

    async def _take(self, result: Result, source: ReasonSource) -> None:
        own = result.originator_conversation_id
        if own is not None and is_query_id(own):
            # Its code is about the question, whatever payment its ConversationID may name.
            await self._take_answer(result)
            return
        verdict = decide_result(result, source)
        if isinstance(verdict, End) and not result.amount_unreadable:
            outcome = await self.store.complete(self._completion(result, verdict))
            if outcome.applied:
                await self._endings.tell(result, verdict, outcome, side=Side.RESULT)
                return
            payout = outcome.payout
        else:
            payout = await self.store.find_by_conversation(
                result.originator_conversation_id, result.conversation_id
            )
        if payout is not None:
            await self._endings.take(result, verdict, payout)
            return
        await self._take_answer(result)

    async def _take_answer(self, result: Result) -> None:
        """Apply a Result that names no payout: of a query, or of nothing that is known."""
        query = await self.store.find_query(
            result.originator_conversation_id, result.conversation_id
        )
        if query is not None:
            await self._answers.take(query, result)
            return
        if await self._answers.take_lost(result):
            return
        await self.incidents.record(IncidentKind.UNMATCHED, result, None, "no payout has this id")

    def _completion(self, result: Result, verdict: End) -> Completion:
        return Completion(
            to=verdict.to,
            at=self.clock.now(),
            actor=self.actor,
            reason=verdict.reason,
            originator_conversation_id=result.originator_conversation_id,
            conversation_id=result.conversation_id,
            transaction_id=result.transaction_id,
            amount_minor=result.amount_minor,
            receiver=result.receiver,
        )
