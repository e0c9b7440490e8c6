"""The twin's ends by Results, and what it finds, as payouts/storage/completions.py has them."""

from __future__ import annotations

from typing import Final

from payouts.domain.errors import StoreRefusedError
from payouts.domain.payout import ENDED, Payout, State, sources_of
from payouts.domain.values import ConversationId, OriginatorConversationId, PayoutId
from payouts.ports import Completion, CompletionOutcome, Query
from payouts.storage.steps import MAX_DESCRIPTION, storable
from tests.simulation.twins.books import Statement
from tests.simulation.twins.entering import Step, storable_reason
from tests.simulation.twins.rows import QueryRow
from tests.simulation.twins.session import Session
from tests.simulation.twins.tables import Tables

_SOURCES: Final = {state: sources_of(state) for state in State}


class Completing(Session):
    """Applies Results; finds payouts and queries by the ids that the gateway says."""

    async def complete(self, completion: Completion) -> CompletionOutcome:
        """End the payout that the Result names, if it agrees with it (see the port)."""
        if completion.to not in ENDED:
            raise StoreRefusedError("(a Result ends a payout or is no completion)")
        return await self._call("complete", lambda st: self._complete(st, completion))

    async def find(self, payout_id: PayoutId) -> Payout | None:
        """Return the payout as it stands."""
        return await self._call("find", lambda st: st.tables.payouts.get(payout_id))

    async def find_by_conversation(
        self,
        originator_conversation_id: OriginatorConversationId | None,
        conversation_id: ConversationId | None,
    ) -> Payout | None:
        """Return the payout with this id of its own, else the only one with the gateway's id."""
        own, other = storable(originator_conversation_id), storable(conversation_id)
        return await self._call("find_by_conversation", lambda st: _matched(st.tables, own, other))

    async def find_query(
        self,
        originator_conversation_id: OriginatorConversationId | None,
        conversation_id: ConversationId | None,
    ) -> Query | None:
        """Return the query with this id of its own, else the last with the gateway's id."""
        own, other = storable(originator_conversation_id), storable(conversation_id)

        def work(st: Statement) -> Query | None:
            found = st.tables.queries.get(own) if own is not None else None
            if found is None and other is not None:
                found = max(
                    (row for row in st.tables.queries.values() if row.conversation_id == other),
                    key=lambda row: row.asked_at,
                    default=None,
                )
            return None if found is None else _query_of(found)

        return await self._call("find_query", work)

    def _complete(self, st: Statement, completion: Completion) -> CompletionOutcome:
        own = storable(completion.originator_conversation_id)
        other = storable(completion.conversation_id)
        payout = _matched(st.tables, own, other)
        if payout is None or not _agrees(st, payout, completion):
            return CompletionOutcome(applied=False, payout=payout)
        step = Step(
            completion.to,
            completion.at,
            completion.actor,
            completion.reason.source.value,
            None,
            storable_reason(completion.reason),
            None,
            None,
            other,
            storable(completion.transaction_id),
            None,
            storable(completion.detail, MAX_DESCRIPTION),
        )
        ended, event = self._enter(st, payout, step)
        return CompletionOutcome(applied=True, payout=ended, event=event)


def _agrees(st: Statement, payout: Payout, completion: Completion) -> bool:
    stands = payout.state in _SOURCES[completion.to] or "completion sources" in st.without
    if not stands or "completion amount" in st.without:
        return stands
    return completion.amount_minor in {None, payout.amount_minor} and completion.receiver in {
        None,
        payout.msisdn,
    }


def _matched(tables: Tables, own: str | None, other: str | None) -> Payout | None:
    if own is not None:
        payout_id = tables.by_own_id.get(own)
        if payout_id is not None:
            return tables.payouts[payout_id]
    if other is None:
        return None
    named = tables.by_conversation.get(other, {})
    return tables.payouts[next(iter(named))] if len(named) == 1 else None


def _query_of(row: QueryRow) -> Query:
    return Query(
        query_id=OriginatorConversationId(row.query_id),
        payout_id=row.payout_id,
        asked_at=row.asked_at,
    )
