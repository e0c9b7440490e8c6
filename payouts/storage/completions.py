"""Ends payouts by what M-PESA says, and finds what a Result is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import TextClause, text

from payouts.domain.errors import StoreRefusedError
from payouts.domain.payout import ENDED, Payout, sources_of
from payouts.domain.values import (
    ConversationId,
    OriginatorConversationId,
    PayoutId,
    payout_named,
)
from payouts.ports import Completion, CompletionOutcome, Query
from payouts.storage.archive import match_archived, standing
from payouts.storage.batch import AWAITED, BatchWriter
from payouts.storage.engine import Sessions
from payouts.storage.parts import Context, Part
from payouts.storage.rows import payout_of
from payouts.storage.steps import (
    MAX_DESCRIPTION,
    NAMED,
    STEP_TYPES,
    arrays_of,
    end_event_id,
    entering,
    joined,
    reason_columns,
    storable,
    unnested,
)

# By its own id, else by the gateway's, if that names one payout only.
_MATCH: Final = text(f"""
SELECT g.ordinal, coalesce(own.payout_id, other.payout_id)
FROM {unnested({"own_id": "text", "conversation_id": "text", "ordinal": "integer"})}
LEFT JOIN payouts own ON own.originator_conversation_id = g.own_id
LEFT JOIN LATERAL (
    SELECT min(p.payout_id) AS payout_id FROM payouts p
    WHERE own.id IS NULL AND p.conversation_id = g.conversation_id
    HAVING count(*) = 1
) other ON true
WHERE coalesce(own.payout_id, other.payout_id) IS NOT NULL
""")  # noqa: S608

_TYPES: Final = {
    **STEP_TYPES,
    "sources": "text",
    "own_id": "text",
    "amount_minor": "bigint",
    "receiver": "text",
}
_NAMES: Final = tuple(_TYPES)
_STEPS: Final = f"m AS (SELECT * FROM {unnested(_TYPES)})"  # noqa: S608
_AGREES: Final = """p.state = ANY (string_to_array(m.sources, ','))
    AND (m.amount_minor IS NULL OR m.amount_minor = p.amount_minor)
    AND (m.receiver IS NULL OR m.receiver = p.msisdn)"""
_BY_OWN_ID: Final = f"p.originator_conversation_id = m.own_id AND {_AGREES}"
_BY_EITHER: Final = f"""(p.originator_conversation_id = m.own_id
    OR p.conversation_id = m.conversation_id) AND {_AGREES}"""
_QUERY: Final = text("""
SELECT query_id, payout_id, asked_at FROM queries
WHERE query_id = CAST(:own_id AS text) OR conversation_id = CAST(:conversation_id AS text)
ORDER BY (query_id = CAST(:own_id AS text)) DESC, asked_at DESC LIMIT 1
""")


class Finding(Part):
    """Finds payouts, queries and unmatched Results by the ids that the gateway says."""

    async def find(self, payout_id: PayoutId) -> Payout | None:
        """Return the payout as it stands, also from the archive."""
        return (await standing(self._database, [payout_id])).get(payout_id)

    async def find_by_conversation(
        self,
        originator_conversation_id: OriginatorConversationId | None,
        conversation_id: ConversationId | None,
    ) -> Payout | None:
        """Return the payout with this id of its own, else the only one with the gateway's id."""
        matched = await _match(self._database, {0: (originator_conversation_id, conversation_id)})
        return await self.find(PayoutId(matched[0])) if matched else None

    async def find_query(
        self,
        originator_conversation_id: OriginatorConversationId | None,
        conversation_id: ConversationId | None,
    ) -> Query | None:
        """Return the query with this id of its own, else the last with the gateway's id."""
        rows = await self._database.fetch(
            _QUERY,
            {
                "own_id": storable(originator_conversation_id),
                "conversation_id": storable(conversation_id),
            },
        )
        if not rows:
            return None
        query_id, payout_id, asked_at = rows[0]
        return Query(query_id=query_id, payout_id=payout_id, asked_at=asked_at)


class Completing(Part):
    """Applies Results, many to a commit: the end, its entry and its event together."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._end_named = entering(_STEPS, join=NAMED, guard=_BY_OWN_ID, progress=False)
        self._end_matched = entering(_STEPS, join=NAMED, guard=_BY_EITHER, progress=False)
        self._completions: BatchWriter[Completion, CompletionOutcome] = BatchWriter(
            "completions",
            self._write_completions,
            key=lambda one: one.originator_conversation_id or one.conversation_id,
            gap=AWAITED,
        )
        self._writers.append(self._completions)

    async def complete(self, completion: Completion) -> CompletionOutcome:
        """End the payout that the Result names, if it agrees with it (see the port).

        Raises:
            StoreRefusedError: `to` is no end.
        """
        if completion.to not in ENDED:
            raise StoreRefusedError("(a Result ends a payout or is no completion)")
        return await self._completions.submit(completion)

    async def _write_completions(
        self, completions: Sequence[Completion]
    ) -> list[CompletionOutcome]:
        # An ordinary Result names its payout by the form of its id, and is done with that.
        applied = await self._end(self._end_named, completions, _named(completions))
        rest = [n for n in range(len(completions)) if n not in applied]
        matched: dict[int, str] = {}
        if rest:
            ids = {n: _ids_of(completions[n]) for n in rest}
            matched = await _match(self._batches, ids)
            for one_round in _rounds(matched):
                applied |= await self._end(self._end_matched, completions, one_round)
        others = {name for n, name in matched.items() if n not in applied}
        known = await standing(self._database, sorted(others)) if others else {}
        return [
            CompletionOutcome(
                applied=True, payout=applied[n], event=self._completion_event(applied[n])
            )
            if n in applied
            else CompletionOutcome(applied=False, payout=known.get(matched.get(n, "")))
            for n in range(len(completions))
        ]

    async def _end(
        self,
        statement: TextClause,
        completions: Sequence[Completion],
        payout_ids: Mapping[int, str],
    ) -> dict[int, Payout]:
        """End each payout once; return those that have ended, by position.

        Locks are taken in the order of payout ids, as everywhere.
        """
        if not payout_ids:
            return {}
        ordinals = sorted(payout_ids, key=payout_ids.__getitem__)
        rows = [_row_of(completions[n], payout_ids[n]) for n in ordinals]
        entered = await self._batches.fetch(statement, arrays_of(_NAMES, rows))
        ended = {row[0]: payout_of(row) for row in entered}
        return {n: ended[name] for n, name in payout_ids.items() if name in ended}


def _ids_of(completion: Completion) -> tuple[str | None, str | None]:
    return completion.originator_conversation_id, completion.conversation_id


def _named(completions: Sequence[Completion]) -> dict[int, str]:
    """Return by position which payouts the Results name by the form of their ids, each once."""
    found: dict[str, int] = {}
    for n, one in enumerate(completions):
        name = payout_named(one.originator_conversation_id or "")
        if name is not None:
            found.setdefault(name, n)
    return {n: name for name, n in found.items()}


async def _match(
    database: Sessions, ids: Mapping[int, tuple[str | None, str | None]]
) -> dict[int, str]:
    """Return the payout ids by position; what is for life may be looked up beforehand.

    A Result of what was archived long ago finds its payout too, and changes nothing.
    """
    said = [(storable(own), storable(other), n) for n, (own, other) in ids.items()]
    rows = await database.fetch(
        _MATCH,
        {
            "own_id": [one[0] for one in said],
            "conversation_id": [one[1] for one in said],
            "ordinal": [one[2] for one in said],
        },
    )
    matched = {row[0]: row[1] for row in rows}
    if len(matched) < len(said):
        rest = [one for one in said if one[2] not in matched]
        matched |= await match_archived(database, rest)
    return matched


def _rounds(matched: Mapping[int, str]) -> list[dict[int, str]]:
    """Return the positions in rounds of which each has every payout once.

    Several Results of one payout in one batch are applied as if they had come one by one.
    """
    rounds: list[dict[str, int]] = []
    for ordinal, payout_id in sorted(matched.items()):
        for one in rounds:
            if payout_id not in one:
                one[payout_id] = ordinal
                break
        else:
            rounds.append({payout_id: ordinal})
    return [{ordinal: payout_id for payout_id, ordinal in one.items()} for one in rounds]


def _row_of(completion: Completion, payout_id: str) -> dict[str, object]:
    return {
        "payout_id": payout_id,
        "to_state": completion.to.value,
        "at": completion.at,
        "actor": completion.actor,
        "kind": completion.reason.source.value,
        "conversation_id": storable(completion.conversation_id),
        "transaction_id": storable(completion.transaction_id),
        "detail": storable(completion.detail, MAX_DESCRIPTION),
        "event_id": end_event_id(payout_id, completion.to),
        "sources": joined(sources_of(completion.to)),
        "own_id": storable(completion.originator_conversation_id),
        "amount_minor": completion.amount_minor,
        "receiver": completion.receiver,
        **reason_columns(completion.reason),
    }
