"""Asks the gateway about payouts in doubt; sends the same id again only where proof allows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from payouts.domain.answers import BrokerRecord, Response
from payouts.domain.code_types import CodeClass
from payouts.domain.commands import AccountRules
from payouts.domain.decisions import (
    Accept,
    Ambiguous,
    Found,
    Jitter,
    Policies,
    decide_record,
    growing_s,
)
from payouts.domain.payout import Payout, Reason, ReasonSource, State
from payouts.domain.signals import Signal
from payouts.domain.values import AccountName, query_id_for
from payouts.ports import (
    Clock,
    Gateway,
    Move,
    PayoutStore,
    Query,
    Telemetry,
)
from payouts.services.accounts import Accounts
from payouts.services.completion import Completions
from payouts.services.lease import Lease
from payouts.services.submission import move_of, name_of

NOT_FOUND_ENOUGH = 2
SENDS_A_QUESTION = 3
STUCK = "asking has not settled it; look it up in the M-PESA portal"
# What these say cannot become better by sending once more: an earlier send arrived, or this one
# is refused for good.
_ASK_AFTER = frozenset({CodeClass.DUPLICATE.value, CodeClass.REFUSED_FINAL.value})


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """Settles doubt by asking, never by guessing (design.md §3, "In-doubt work")."""

    store: PayoutStore
    gateway: Gateway
    completions: Completions
    accounts: Accounts
    rules: Callable[[AccountName], AccountRules]
    lease: Lease
    clock: Clock
    telemetry: Telemetry
    policies: Policies
    jitter: Jitter

    async def leave(self, payout: Payout) -> bool:
        """Leave to a person what nobody asks about any more, and tell whether it was left.

        What a person, or a restore, wants asked is never left.

        Raises:
            StoreUnavailableError: the step is taken again when the claim runs out.
        """
        if payout.ask_now:
            return False
        if self._is_stuck(payout):
            await self.completions.incidents.record_stuck(payout, STUCK)
        elif not self._is_left_alone(payout):
            return False
        await self.store.postpone(payout.payout_id, next_action_at=None)
        return True

    async def settle(self, payout: Payout) -> Payout | None:
        """Do the next step for a payout in doubt that was claimed and not left, in its turn.

        Returns the payout in state `submitting` if the same id is to be sent again, else None.

        Raises:
            StoreUnavailableError: the step is taken again when the claim runs out.
        """
        # A person's order, or a restore's, goes before everything else.
        again = None if payout.ask_now else await self._send_again(payout)
        if again is None:
            await self._ask(payout)
        return again

    def _is_left_alone(self, payout: Payout) -> bool:
        """Tell whether the policy leaves this doubt to a person.

        What these books have never sent is no doubt about a send: a restore wants it asked about
        before it is sent at all.
        """
        return self.policies.ambiguous is Ambiguous.HOLD and payout.attempts > 0

    def _is_stuck(self, payout: Payout) -> bool:
        since = payout.doubt_since
        limit = timedelta(seconds=self.policies.stuck_after_s)
        return since is not None and self.clock.now() - since >= limit

    async def _send_again(self, payout: Payout) -> Payout | None:
        """Claim the payout for another send under its own id; the store decides if it may."""
        resends = self.policies.ambiguous is Ambiguous.RESEND
        by_policy = resends and not _ask_first(payout) and not _sent_in_vain(payout)
        if not by_policy and payout.not_found_count < NOT_FOUND_ENOUGH:
            return None
        return await self.store.resend(
            payout.payout_id,
            self.lease.owner,
            now=self.clock.now(),
            grace_s=self.policies.not_found_grace_s,
            interval_s=self.policies.query_interval_s,
            by_policy=by_policy,
            actor=self.lease.actor,
        )

    async def _ask(self, payout: Payout) -> None:
        now = self.clock.now()
        rules = self.rules(payout.account)
        query = Query(
            query_id=query_id_for(rules.shortcode, rules.organisation, payout.payout_id, now),
            payout_id=payout.payout_id,
            asked_at=now,
        )
        wait_s = growing_s(
            self.policies.query_interval_s,
            self.policies.query_interval_cap_s,
            payout.queries,
            self.jitter,
        )
        wait_s = max(wait_s, self.policies.query_interval_s)
        await self.store.record_query(
            query, next_action_at=now + timedelta(seconds=wait_s), actor=self.lease.actor
        )
        # The broker's log is asked first, the core's ledger every second time. A person who
        # wants to know is told by both.
        found = Found.NO_ANSWER
        by_broker = self.gateway.can_ask_broker(payout.account) and payout.queries % 2 == 0
        if by_broker:
            found = await self._ask_broker(payout, query)
        wanted = payout.ask_now and payout.attempts > 0 and found is not Found.ENDED
        if wanted or not by_broker:
            await self._ask_core(payout, query)

    async def _ask_core(self, payout: Payout, query: Query) -> None:
        """Send a TransactionStatusQuery; what it finds comes to the callback server."""
        answer = await self.gateway.ask_core(payout, query.query_id, may_send=self.lease.holds)
        await self.accounts.heed(payout.account, answer)
        if isinstance(answer, Response) and answer.conversation_id is not None:
            await self.store.attach_conversation(query.query_id, answer.conversation_id)
        kind, code = name_of(answer)
        await self.store.note(
            Move(
                payout_id=payout.payout_id,
                to=payout.state,
                sources=frozenset(),
                at=self.clock.now(),
                actor=self.lease.actor,
                kind="query sent",
                reason=Reason(
                    source=ReasonSource.QUERY,
                    code=code,
                    klass=kind,
                    description=answer.description,
                ),
            )
        )

    async def _ask_broker(self, payout: Payout, query: Query) -> Found:
        """Look the payout up in the broker's log of messages (queryTransaction)."""
        record = await self.gateway.ask_broker(payout)
        found = Found.NO_ANSWER
        if isinstance(record, BrokerRecord):
            found = await self._heed_record(payout, query, record)
        else:
            await self.accounts.heed(payout.account, record)
        self.telemetry.emit(
            Signal.PAYOUT_QUERIED,
            payout_id=payout.payout_id,
            account=payout.account,
            by="broker",
            found=found.value,
        )
        return found

    async def _heed_record(self, payout: Payout, query: Query, record: BrokerRecord) -> Found:
        if record.results:
            for result in record.results:
                await self.completions.take_result(result, source=ReasonSource.QUERY)
            return Found.ENDED
        decision = decide_record(
            payout, record, at=query.asked_at, policies=self.policies, jitter=self.jitter
        )
        if isinstance(decision, Found):
            if decision is Found.NOT_FOUND:
                await self.completions.not_found(payout, asked_at=query.asked_at, query=query)
            elif decision is Found.UNDER_WAY:
                await self.completions.see(payout)
            elif payout.queued and record.queue_timeouts:
                # The log says that what it had cached was dropped: notifyQueueTimeout got lost,
                # or was overtaken by the Response. Until it is noted, no *not found* counts.
                await self.completions.take_dropped(payout)
            return decision
        if isinstance(decision, Accept) and payout.conversation_id is not None:
            await self.completions.see(payout)
            return Found.UNDER_WAY  # Known already; the core is asked next.
        move = move_of(
            payout,
            decision,
            at=self.clock.now(),
            actor=self.lease.actor,
            kind="query",
            detail="by queryTransaction",
        )
        if move.to is State.IN_DOUBT:
            return Found.UNDER_WAY
        moved = await self.store.move(move)
        self.completions.relay.offer(moved.event)
        return Found.UNDER_WAY if isinstance(decision, Accept) else Found.ENDED


def _sent_in_vain(payout: Payout) -> bool:
    """Tell whether so many sends have left it open that a question is due before the next.

    A gateway whose answers are lost each time never says that it has had the payout before.
    """
    return payout.attempts >= SENDS_A_QUESTION * (payout.queries + 1)


def _ask_first(payout: Payout) -> bool:
    """Tell whether what is known of a payout in doubt speaks against sending it by policy."""
    reason = payout.reason
    if reason is None:
        return False
    # A Result, whatever it says, proves that a send arrived.
    return reason.source is ReasonSource.RESULT or reason.klass in _ASK_AFTER
