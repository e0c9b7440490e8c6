"""Events that downstream hears: one completion event per payout, always with the same id.

The body is a CloudEvents 1.0 object (contract.md §2). A payout that has ended never changes, so
its completion event can be derived from it at any time and is the same each time.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from payouts.domain.payout import Payout, State
from payouts.domain.values import format_amount, mask_msisdn

SOURCE: Final = "/mpesa-payouts"
_NAMESPACE: Final = uuid.UUID("5d3a1c1e-4c60-5f0e-9d84-6a1de7f0c0de")

SUCCEEDED: Final = "payout.succeeded"
FAILED: Final = "payout.failed"
REJECTED: Final = "payout.rejected"
ACCEPTED: Final = "payout.accepted"
IN_DOUBT: Final = "payout.in_doubt"
TYPE_OF_STATE: Final[Mapping[State, str]] = {
    State.SUCCEEDED: SUCCEEDED,
    State.FAILED: FAILED,
    State.ACCEPTED: ACCEPTED,
    State.IN_DOUBT: IN_DOUBT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event; `data` holds JSON-ready values and every key of contract.md §2.

    `retry_of` is set for a second submission: the payout id of the one that it follows.
    """

    event_id: str
    type: str
    subject: str
    time: datetime
    data: Mapping[str, object]
    retry_of: str | None = None

    def __repr__(self) -> str:
        """Name the event without its data."""
        return f"Event({self.type!r}, {self.subject!r}, {self.event_id!r})"


def event_id_for(payout_id: str, event_type: str, occurrence: str = "") -> str:
    """Return the one id of a payout's event of this type: derived, so it never changes."""
    return str(uuid.uuid5(_NAMESPACE, f"{payout_id}|{event_type}|{occurrence}"))


def instant(value: datetime | None) -> str | None:
    """Return an RFC 3339 text in UTC, or None."""
    if value is None:
        return None
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def event_of(payout: Payout, *, show_msisdn: bool = False, occurrence: str = "") -> Event:
    """Return the event that a payout's present state calls for.

    Raises:
        KeyError: no event is defined for this state.
    """
    event_type = TYPE_OF_STATE[payout.state]
    reason = payout.reason
    return Event(
        event_id=event_id_for(payout.payout_id, event_type, occurrence),
        type=event_type,
        subject=payout.payout_id,
        time=payout.completed_at or payout.doubt_since or payout.submitted_at or payout.created_at,
        retry_of=payout.retry_of,
        data={
            "payout_id": payout.payout_id,
            "run_id": payout.run_id,
            "account": payout.account,
            "state": payout.state.value,
            "amount": format_amount(payout.amount_minor),
            "currency": payout.currency,
            "command_id": payout.command_id,
            "msisdn": payout.msisdn if show_msisdn else mask_msisdn(payout.msisdn),
            "originator_conversation_id": payout.originator_conversation_id,
            "conversation_id": payout.conversation_id,
            "transaction_id": payout.transaction_id,
            "reason": None
            if reason is None
            else {
                "source": reason.source.value,
                "code": reason.code,
                "class": reason.klass,
                "description": reason.description,
            },
            "submitted_at": instant(payout.submitted_at),
            "completed_at": instant(payout.completed_at),
            "metadata": dict(payout.metadata),
        },
    )


def rejection_of(
    payout_id: str, problems: tuple[str, ...], *, message_key: str, account: str, at: datetime
) -> Event:
    """Return the `payout.rejected` event of one invalid command with a readable payout id.

    `message_key` tells this message from another (its message id, or its body's digest): a
    redelivery of the same message yields the same event id.
    """
    return Event(
        event_id=event_id_for(payout_id, REJECTED, message_key),
        type=REJECTED,
        subject=payout_id,
        time=at,
        data={
            "payout_id": payout_id,
            "run_id": None,
            "account": account,
            "state": "rejected",
            "amount": None,
            "currency": None,
            "command_id": None,
            "msisdn": None,
            "originator_conversation_id": None,
            "conversation_id": None,
            "transaction_id": None,
            "reason": {
                "source": "local",
                "code": "invalid",
                "class": "invalid",
                "description": "; ".join(problems),
            },
            "submitted_at": None,
            "completed_at": instant(at),
            "metadata": {},
        },
    )
