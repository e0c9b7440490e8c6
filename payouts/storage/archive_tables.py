"""The tables of payouts that ended long ago, and of the orders that archived them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID

from payouts.storage.metadata import INSTANT, METADATA

# Numbers stand first: no gaps are left between them, and there are many of these rows.
ARCHIVE: Final = Table(
    "archive",
    METADATA,
    Column("id", BigInteger, nullable=False),
    # A line of the audit: a trigger sees to it once for each batch, not for each row.
    Column("order_number", BigInteger, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("created_at", INSTANT, nullable=False),
    Column("completed_at", INSTANT, nullable=False),
    Column("submitted_at", INSTANT),
    Column("not_after", INSTANT),
    Column("attempts", Integer, nullable=False),
    Column("queries", Integer, nullable=False),
    Column("event_id", UUID(as_uuid=False), nullable=False),
    Column("payout_id", Text, primary_key=True),
    Column("account", Text, nullable=False),
    Column("run_id", Text),
    Column("currency", Text, nullable=False),
    Column("msisdn", Text, nullable=False),
    Column("command_id", Text, nullable=False),
    Column("remark", Text),
    Column("occasion", Text),
    Column("metadata", JSONB, nullable=False),
    Column("originator_conversation_id", Text, nullable=False),
    Column("conversation_id", Text),
    Column("transaction_id", Text),
    Column("state", Text, nullable=False),
    Column("reason_source", Text),
    Column("reason_code", Text),
    Column("reason_class", Text),
    Column("reason_description", Text),
    Column("retry_of", Text),
    UniqueConstraint("originator_conversation_id", name="archive_originator_conversation_id_key"),
    CheckConstraint("amount_minor > 0", name="archive_amount_positive"),
    CheckConstraint("state IN ('succeeded', 'failed')", name="archive_has_ended"),
    CheckConstraint(
        "state <> 'failed' OR reason_code IS NOT NULL", name="archive_failed_has_reason"
    ),
    # A Result that names only a ConversationID, long after.
    Index(
        "archive_conversation_id_idx",
        "conversation_id",
        postgresql_using="hash",
        postgresql_where=text("conversation_id IS NOT NULL"),
    ),
    # `payouts run show`, `payouts verify --run`.
    Index("archive_run_idx", "run_id", postgresql_where=text("run_id IS NOT NULL")),
    # `payouts show`: one submission after another.
    Index(
        "archive_retry_of_key",
        "retry_of",
        unique=True,
        postgresql_where=text("retry_of IS NOT NULL"),
    ),
)

ARCHIVE_SUMS: Final = Table(
    "archive_sums",
    METADATA,
    Column(
        "order_number",
        BigInteger,
        ForeignKey("audit.number", name="archive_sums_order_number_fkey"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("state", Text, primary_key=True),
    Column("currency", Text, primary_key=True),
    Column("payouts", BigInteger, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    CheckConstraint("payouts > 0 AND amount_minor > 0", name="archive_sums_counted"),
)
