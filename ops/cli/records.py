"""Payouts and their stories as `--json` tells them. Receivers are masked here, always."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

from ops.cli.explain import Explanation
from ops.cli.words import hide_numbers
from payouts.domain.events import instant
from payouts.domain.payout import Payout, Reason, TimelineEntry
from payouts.domain.values import format_amount, mask_msisdn
from payouts.ports import AccountStatus, AuditEntry, Incident, Query

Record = dict[str, object]


def payout_record(payout: Payout) -> Record:
    """Return a payout's facts; absent values are null, never missing."""
    return {
        "payout_id": payout.payout_id,
        "run_id": payout.run_id,
        "account": payout.account,
        "state": payout.state.value,
        "amount": format_amount(payout.amount_minor),
        "currency": payout.currency,
        "msisdn": mask_msisdn(payout.msisdn),
        "command_id": payout.command_id,
        "reason": reason_record(payout.reason),
        "originator_conversation_id": payout.originator_conversation_id,
        "conversation_id": payout.conversation_id,
        "transaction_id": payout.transaction_id,
        "attempts": payout.attempts,
        "query_count": payout.queries,
        "not_found_count": payout.not_found_count,
        "queued": payout.queued,
        "created_at": instant(payout.created_at),
        "not_after": instant(payout.not_after),
        "submitted_at": instant(payout.submitted_at),
        "last_sent_at": instant(payout.last_sent_at),
        "doubt_since": instant(payout.doubt_since),
        "next_action_at": instant(payout.next_action_at),
        "completed_at": instant(payout.completed_at),
        "held": payout.held,
        "ask_now": payout.ask_now,
        "retry_of": payout.retry_of,
        "archived_at": instant(payout.archived_at),
        "metadata_keys": sorted(payout.metadata),
    }


def reason_record(reason: Reason | None) -> Record | None:
    """Return a reason as events carry it (contract.md §2)."""
    if reason is None:
        return None
    return {
        "source": reason.source.value,
        "code": reason.code,
        "class": reason.klass,
        "description": hide_numbers(reason.description),
    }


def explanation_record(explanation: Explanation) -> Record:
    """Return why, what next and when."""
    return {
        "meaning": explanation.meaning,
        "why": explanation.why,
        "next": explanation.next,
        "at": instant(explanation.at),
    }


def timeline_record(entry: TimelineEntry) -> Record:
    """Return one line of a payout's story."""
    return _plain(
        at=entry.at,
        actor=entry.actor,
        kind=entry.kind,
        from_state=entry.from_state,
        to_state=entry.to_state,
        attempt=entry.attempt,
        source=entry.source,
        code=entry.code,
        detail=entry.detail,
        originator_conversation_id=entry.originator_conversation_id,
        conversation_id=entry.conversation_id,
        transaction_id=entry.transaction_id,
    )


def query_record(query: Query) -> Record:
    """Return one question that was asked about a payout."""
    return _plain(query_id=query.query_id, asked_at=query.asked_at)


def incident_record(incident: Incident) -> Record:
    """Return an incident without its evidence, which holds personal data."""
    return _plain(
        kind=incident.kind,
        at=incident.at,
        payout_id=incident.payout_id,
        originator_conversation_id=incident.originator_conversation_id,
        conversation_id=incident.conversation_id,
        transaction_id=incident.transaction_id,
        code=incident.code,
        detail=incident.detail,
    )


def account_record(status: AccountStatus) -> Record:
    """Return how an account stands."""
    balance = status.utility_balance_minor
    return {
        "account": status.name,
        "paused": status.paused,
        "paused_reason": status.paused_reason,
        "refusals_in_a_row": status.refusals,
        "pace_tps": status.pace,
        "pace_lowered_at": None if status.pace is None else instant(status.lowered_at),
        "utility_balance": None if balance is None else format_amount(balance),
        "balance_at": instant(status.balance_at),
        "cut_off_workers": status.cut_off_workers,
    }


def audit_record(entry: AuditEntry) -> Record:
    """Return a line of the audit."""
    return {
        "number": entry.number,
        "at": instant(entry.at),
        "operator": entry.operator,
        "action": entry.action,
        "subject": entry.subject,
        "reason": hide_numbers(entry.reason),
        "details": dict(entry.details),
        "hash": entry.hash,
    }


def _plain(**values: object) -> Record:
    return {name: _value(value) for name, value in values.items()}


def _value(value: object) -> object:
    if isinstance(value, datetime):
        return instant(value)
    if isinstance(value, Enum):
        return value.value
    return hide_numbers(value) if isinstance(value, str) else value
