"""The tables, as the newest migration leaves them; a test compares the two.

Each index names the query that it is for. Text is used for states, as a CHECK and a trigger keep
them right, and an added state then needs no new type.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID

from payouts.storage.archive_tables import ARCHIVE, ARCHIVE_SUMS
from payouts.storage.metadata import INSTANT as _INSTANT
from payouts.storage.metadata import METADATA

__all__ = [
    "ACCOUNTS",
    "ARCHIVE",
    "ARCHIVE_SUMS",
    "AUDIT",
    "EVENTS",
    "INCIDENTS",
    "METADATA",
    "PAUSED_RUNS",
    "PAYOUTS",
    "QUERIES",
    "SUSPECTS",
    "TIMELINE",
    "WORKERS",
]

_STATES = (
    "state IN ('received', 'submitting', 'waiting', 'accepted', 'in_doubt', 'succeeded', 'failed')"
)

PAYOUTS: Final = Table(
    "payouts",
    METADATA,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("payout_id", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("run_id", Text),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("msisdn", Text, nullable=False),
    Column("command_id", Text, nullable=False),
    Column("remark", Text),
    Column("occasion", Text),
    Column("not_after", _INSTANT),
    Column("metadata", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("originator_conversation_id", Text, nullable=False),
    Column("conversation_id", Text),
    Column("transaction_id", Text),
    Column("state", Text, nullable=False),
    # The state before the present one: RETURNING cannot tell it (PostgreSQL < 18).
    Column("came_from", Text),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("owner", BigInteger),
    Column("claimed_at", _INSTANT),
    Column("next_action_at", _INSTANT),
    Column("queued", Boolean, nullable=False, server_default=text("false")),
    Column("reason_source", Text),
    Column("reason_code", Text),
    Column("reason_class", Text),
    Column("reason_description", Text),
    Column("created_at", _INSTANT, nullable=False),
    Column("submitted_at", _INSTANT),
    Column("last_sent_at", _INSTANT),
    Column("doubt_since", _INSTANT),
    Column("queries", Integer, nullable=False, server_default=text("0")),
    Column("not_found_count", SmallInteger, nullable=False, server_default=text("0")),
    Column("first_not_found_at", _INSTANT),
    Column("last_not_found_at", _INSTANT),
    Column("completed_at", _INSTANT),
    # Why nothing is sent for it; asking and Results go on.
    Column("held", Text),
    # A person, or a restore, wants it asked about before anything else.
    Column("ask_now", Boolean, nullable=False, server_default=text("false")),
    # The submission before this one, if a person asked for another.
    Column("retry_of", Text),
    # Whether it was looked at for repeats, and is found by the next that looks.
    Column("repeat_watched", Boolean, nullable=False, server_default=text("false")),
    UniqueConstraint("payout_id", name="payouts_payout_id_key"),
    UniqueConstraint("originator_conversation_id", name="payouts_originator_conversation_id_key"),
    CheckConstraint("amount_minor > 0", name="payouts_amount_positive"),
    CheckConstraint(_STATES, name="payouts_state_known"),
    CheckConstraint(
        "(state IN ('succeeded', 'failed')) = (completed_at IS NOT NULL)",
        name="payouts_ended_is_dated",
    ),
    CheckConstraint(
        "state <> 'failed' OR reason_code IS NOT NULL", name="payouts_failed_has_reason"
    ),
    CheckConstraint(
        "num_nonnulls(reason_source, reason_code, reason_class, reason_description) IN (0, 4)",
        name="payouts_reason_whole",
    ),
    CheckConstraint(
        "came_from IS NOT NULL OR state IN ('received', 'submitting')"
        " OR (state = 'failed' AND attempts = 0)",
        name="payouts_begins_unsent",
    ),
    CheckConstraint(
        "(state = 'submitting') = (owner IS NOT NULL) AND (owner IS NULL) = (claimed_at IS NULL)",
        name="payouts_submitting_is_owned",
    ),
    CheckConstraint(
        "attempts >= 0 AND (state <> 'submitting' OR attempts > 0)"
        " AND (state <> 'received' OR (attempts = 0 AND submitted_at IS NULL))",
        name="payouts_attempts_counted",
    ),
    CheckConstraint(
        "CASE WHEN state IN ('received', 'waiting', 'accepted') THEN next_action_at IS NOT NULL"
        " ELSE state = 'in_doubt' OR next_action_at IS NULL END",
        name="payouts_next_action_planned",
    ),
    CheckConstraint(
        "state NOT IN ('accepted', 'in_doubt')"
        " OR (submitted_at IS NOT NULL AND last_sent_at IS NOT NULL)",
        name="payouts_sent_is_dated",
    ),
    CheckConstraint(
        "state <> 'in_doubt' OR doubt_since IS NOT NULL", name="payouts_doubt_is_dated"
    ),
    CheckConstraint(
        "queries >= 0 AND not_found_count >= 0"
        " AND (not_found_count > 0) = (first_not_found_at IS NOT NULL)"
        " AND (not_found_count > 0) = (last_not_found_at IS NOT NULL)",
        name="payouts_not_found_counted",
    ),
    CheckConstraint(
        "completed_at IS NULL OR (held IS NULL AND NOT ask_now)", name="payouts_ended_is_not_held"
    ),
    # A Result that names only a ConversationID (`complete`, `find_by_conversation`).
    Index(
        "payouts_conversation_id_idx",
        "conversation_id",
        postgresql_where=text("conversation_id IS NOT NULL"),
    ),
    # `claim_due`.
    Index(
        "payouts_due_idx",
        "account",
        "next_action_at",
        postgresql_where=text("state IN ('received', 'waiting') AND held IS NULL AND NOT ask_now"),
    ),
    # `mark_overdue`: what a restore wants asked about before it is sent.
    Index(
        "payouts_ask_first_idx",
        "next_action_at",
        postgresql_where=text("state IN ('received', 'waiting') AND ask_now"),
    ),
    # `find_returned`, `payouts list --held`, and releasing a run.
    Index("payouts_held_idx", "run_id", "id", postgresql_where=text("held IS NOT NULL")),
    # `retry`: a payout has one submission after another.
    Index(
        "payouts_retry_of_key",
        "retry_of",
        unique=True,
        postgresql_where=text("retry_of IS NOT NULL"),
    ),
    # `record_intent`, where repeats are watched for.
    Index(
        "payouts_repeat_idx",
        "msisdn",
        "amount_minor",
        "created_at",
        postgresql_where=text("repeat_watched"),
    ),
    # `expire_unsent`.
    Index(
        "payouts_expiring_idx",
        "not_after",
        postgresql_where=text(
            "state IN ('received', 'waiting') AND submitted_at IS NULL AND not_after IS NOT NULL"
        ),
    ),
    # `mark_overdue`.
    Index("payouts_overdue_idx", "next_action_at", postgresql_where=text("state = 'accepted'")),
    # `claim_doubts`.
    Index(
        "payouts_doubts_idx",
        "account",
        "next_action_at",
        postgresql_where=text("state = 'in_doubt' AND next_action_at IS NOT NULL"),
    ),
    # `mark_abandoned`, `mark_orphaned`.
    Index("payouts_owner_idx", "owner", postgresql_where=text("state = 'submitting'")),
    # `payouts run show`, `payouts verify --run`, and a run's list, newest first.
    Index("payouts_run_idx", "run_id", "created_at", postgresql_where=text("run_id IS NOT NULL")),
    # `payouts list`, figures: what is open, said so that nothing else is searched for here.
    Index(
        "payouts_open_idx",
        "created_at",
        postgresql_where=text("coalesce(completed_at, 'infinity') = 'infinity'"),
    ),
    # `payouts list`: what has failed.
    Index("payouts_failed_idx", "created_at", postgresql_where=text("state = 'failed'")),
    # `payouts list` by age, account by account; `Oversight.repeats`; a statement's window.
    Index("payouts_listed_idx", "account", "created_at"),
)

TIMELINE: Final = Table(
    "timeline",
    METADATA,
    Column("payout", BigInteger, nullable=False),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("at", _INSTANT, nullable=False),
    Column("actor", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("from_state", Text),
    Column("to_state", Text),
    Column("attempt", Integer, nullable=False),
    Column("source", Text),
    Column("code", Text),
    Column("detail", Text),
    Column("originator_conversation_id", Text),
    Column("conversation_id", Text),
    Column("transaction_id", Text),
    PrimaryKeyConstraint("payout", "id", name="timeline_pkey"),
)

EVENTS: Final = Table(
    "events",
    METADATA,
    Column("event_id", UUID(as_uuid=False), primary_key=True),
    Column("payout_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("created_at", _INSTANT, nullable=False),
    Column("published_at", _INSTANT),
    Column("hidden_until", _INSTANT),
    Column("data", JSONB),
    # Written once more for a payout of the archive, so that it is told again.
    Column("archived", Boolean, nullable=False, server_default=text("false")),
    CheckConstraint(
        "(type IN ('payout.succeeded', 'payout.failed')) = (data IS NULL)",
        name="events_completion_is_derived",
    ),
    # One completion event per payout; `PayoutsReader.events`, `books`.
    Index(
        "events_completion_key",
        "payout_id",
        unique=True,
        postgresql_where=text("type IN ('payout.succeeded', 'payout.failed')"),
    ),
    # `PayoutsReader.events`: the few others.
    Index("events_other_idx", "payout_id", postgresql_where=text("data IS NOT NULL")),
    # `claim_unpublished`: what nobody has tried, then what was tried longest ago.
    Index(
        "events_unpublished_idx",
        text("hidden_until NULLS FIRST"),
        "created_at",
        postgresql_where=text("published_at IS NULL"),
    ),
    # `Retention.forget`: what was told again of the archive.
    Index("events_archived_idx", "published_at", postgresql_where=text("archived")),
)

QUERIES: Final = Table(
    "queries",
    METADATA,
    Column("query_id", Text, primary_key=True),
    Column("payout_id", Text, nullable=False),
    Column("asked_at", _INSTANT, nullable=False),
    Column("conversation_id", Text),
    # `PayoutsReader.queries`.
    Index("queries_payout_idx", "payout_id", "asked_at"),
    # `find_query` for a Result that names only a ConversationID.
    Index(
        "queries_conversation_id_idx",
        "conversation_id",
        postgresql_where=text("conversation_id IS NOT NULL"),
    ),
)

INCIDENTS: Final = Table(
    "incidents",
    METADATA,
    Column("incident_id", UUID(as_uuid=False), primary_key=True),
    Column("kind", Text, nullable=False),
    Column("at", _INSTANT, nullable=False),
    Column("payout_id", Text),
    Column("originator_conversation_id", Text),
    Column("conversation_id", Text),
    Column("transaction_id", Text),
    Column("code", Text),
    Column("detail", Text, nullable=False),
    Column("evidence", JSONB, nullable=False),
    CheckConstraint(
        "kind IN ('contradiction', 'mismatch', 'unmatched', 'stuck')", name="incidents_kind_known"
    ),
    # `PayoutsReader.incidents`, newest first.
    Index("incidents_at_idx", "at"),
    # `PayoutsReader.incidents` of one payout.
    Index("incidents_payout_idx", "payout_id", postgresql_where=text("payout_id IS NOT NULL")),
    # `record_intent`, `find_returned`: a Result that came before its payout (a restore).
    Index(
        "incidents_unmatched_idx",
        "originator_conversation_id",
        postgresql_where=text("kind = 'unmatched' AND originator_conversation_id IS NOT NULL"),
    ),
)

WORKERS: Final = Table(
    "workers",
    METADATA,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("name", Text, nullable=False),
    Column("started_at", _INSTANT, nullable=False),
    Column("heartbeat_at", _INSTANT, nullable=False),
    Column("dead_at", _INSTANT),
    Column("retired_at", _INSTANT),
    Column("accounts", ARRAY(Text), nullable=False, server_default=text("'{}'::text[]")),
    Column("cut_off", ARRAY(Text), nullable=False, server_default=text("'{}'::text[]")),
    # `mark_abandoned`: who is still alive.
    Index(
        "workers_living_idx",
        "heartbeat_at",
        postgresql_where=text("dead_at IS NULL AND retired_at IS NULL"),
    ),
)

ACCOUNTS: Final = Table(
    "accounts",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("paused", Boolean, nullable=False, server_default=text("false")),
    Column("paused_reason", Text),
    Column("paused_at", _INSTANT),
    Column("refusals", Integer, nullable=False, server_default=text("0")),
    Column("refused_at", _INSTANT),
    Column("pace", Double),
    Column("next_slot_at", _INSTANT),
    Column("lowered_at", _INSTANT),
    Column("raised_at", _INSTANT),
    Column("utility_balance_minor", BigInteger),
    Column("balance_at", _INSTANT),
    Column("ask_first_until", _INSTANT),
    Column("slots_moved_s", Double, nullable=False, server_default=text("0")),
    Column("pace_ceiling", Double),
    CheckConstraint("refusals >= 0", name="accounts_refusals_counted"),
    CheckConstraint("pace > 0", name="accounts_pace_positive"),
    CheckConstraint("pace_ceiling > 0", name="accounts_ceiling_positive"),
    CheckConstraint("paused = (paused_at IS NOT NULL)", name="accounts_pause_is_dated"),
)

PAUSED_RUNS: Final = Table(
    "paused_runs",
    METADATA,
    Column("run_id", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("paused_at", _INSTANT, nullable=False),
)

SUSPECTS: Final = Table(
    "suspects",
    METADATA,
    Column("key", Text, primary_key=True),
    Column("begun", Integer, nullable=False),
    Column("begun_at", _INSTANT, nullable=False),
    CheckConstraint("begun > 0", name="suspects_begun_counted"),
)

AUDIT: Final = Table(
    "audit",
    METADATA,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at", _INSTANT, nullable=False),
    Column("operator", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("details", JSONB, nullable=False),
    Column("hash", Text, nullable=False),
    CheckConstraint("number > 0", name="audit_number_counted"),
    CheckConstraint("operator <> '' AND reason <> ''", name="audit_names_somebody"),
    # `payouts show`: who ordered what about a payout.
    Index("audit_subject_idx", "subject"),
    # An account that is new after a restore.
    Index("audit_restored_idx", "number", postgresql_where=text("action = 'restored'")),
)
