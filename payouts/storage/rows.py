"""Rows of the tables as values of the domain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from payouts.domain.events import Event, event_of
from payouts.domain.payout import Payout, Reason, ReasonSource, State, TimelineEntry

CONTENT_COLUMNS: Final = (
    "payout_id",
    "account",
    "run_id",
    "amount_minor",
    "currency",
    "msisdn",
    "command_id",
    "remark",
    "occasion",
    "not_after",
    "metadata",
    "originator_conversation_id",
    "created_at",
)
STANDING_COLUMNS: Final = (
    "state",
    "attempts",
    "owner",
    "claimed_at",
    "next_action_at",
    "queued",
    "conversation_id",
    "transaction_id",
    "reason_source",
    "reason_code",
    "reason_class",
    "reason_description",
    "submitted_at",
    "last_sent_at",
    "doubt_since",
    "queries",
    "not_found_count",
    "first_not_found_at",
    "last_not_found_at",
    "completed_at",
    "held",
    "ask_now",
    "retry_of",
)
PAYOUT_COLUMNS: Final = CONTENT_COLUMNS + STANDING_COLUMNS
WIDTH: Final = len(PAYOUT_COLUMNS)
TIMELINE_COLUMNS: Final = (
    "at",
    "actor",
    "kind",
    "from_state",
    "to_state",
    "attempt",
    "source",
    "code",
    "detail",
    "originator_conversation_id",
    "conversation_id",
    "transaction_id",
)


def columns(alias: str, names: Sequence[str] = PAYOUT_COLUMNS) -> str:
    """Return the columns of a select list, each from `alias`."""
    return ", ".join(f"{alias}.{name}" for name in names)


def is_open(alias: str) -> str:
    """Return the condition of `payouts_open_idx`: what has not ended.

    It is said in no other way, so that nothing else is searched for there: where nothing was open
    when the statistics were made, this index looks like the shortest way to any payout.
    """
    return f"coalesce({alias}.completed_at, 'infinity') = 'infinity'"


def payout_of(row: Sequence[Any]) -> Payout:
    """Return the payout whose PAYOUT_COLUMNS the row begins with."""
    reason_code = row[22]
    return Payout(
        payout_id=row[0],
        account=row[1],
        run_id=row[2],
        amount_minor=row[3],
        currency=row[4],
        msisdn=row[5],
        command_id=row[6],
        remark=row[7],
        occasion=row[8],
        not_after=row[9],
        metadata=row[10],
        originator_conversation_id=row[11],
        created_at=row[12],
        state=State(row[13]),
        attempts=row[14],
        owner=row[15],
        claimed_at=row[16],
        next_action_at=row[17],
        queued=row[18],
        conversation_id=row[19],
        transaction_id=row[20],
        reason=None
        if reason_code is None
        else Reason(
            source=ReasonSource(row[21]), code=reason_code, klass=row[23], description=row[24]
        ),
        submitted_at=row[25],
        last_sent_at=row[26],
        doubt_since=row[27],
        queries=row[28],
        not_found_count=row[29],
        first_not_found_at=row[30],
        last_not_found_at=row[31],
        completed_at=row[32],
        held=row[33],
        ask_now=row[34],
        retry_of=row[35],
    )


def completion_event_of(payout: Payout, *, show_msisdn: bool) -> Event | None:
    """Return the completion event of a payout that has ended, else None."""
    return event_of(payout, show_msisdn=show_msisdn) if payout.ended else None


def timeline_entry_of(row: Sequence[Any]) -> TimelineEntry:
    """Return the entry that a row of TIMELINE_COLUMNS tells."""
    return TimelineEntry(
        at=row[0],
        actor=row[1],
        kind=row[2],
        from_state=None if row[3] is None else State(row[3]),
        to_state=None if row[4] is None else State(row[4]),
        attempt=row[5],
        source=row[6],
        code=row[7],
        detail=row[8],
        originator_conversation_id=row[9],
        conversation_id=row[10],
        transaction_id=row[11],
    )
