"""The archive: payouts that ended long ago, kept for life in one narrow table of their own.

A payout leaves the live books only whole, into the archive, and what is there stays: its ids are
never free again. Going down puts everything back, as a forgotten id could be paid twice.

And lists that take no longer the more payouts have ended: an account with few payouts, and what
has failed, were searched for among all others. What is open is told in a way that nothing else
is: where statistics knew of no open payout, sweeps and steps took that index for the shortest way
to their rows, and read all that is open.
"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_KEPT = (
    "id, payout_id, account, run_id, amount_minor, currency, msisdn, command_id, remark, occasion,"
    " not_after, metadata, originator_conversation_id, conversation_id, transaction_id, state,"
    " attempts, queries, reason_source, reason_code, reason_class, reason_description, created_at,"
    " submitted_at, completed_at, retry_of"
)


def _of(alias: str) -> str:
    return ", ".join(f"{alias}.{name}" for name in _KEPT.split(", "))


_UP = (
    "DROP INDEX payouts_open_idx",
    """
    CREATE INDEX payouts_open_idx ON payouts (created_at)
        WHERE coalesce(completed_at, 'infinity') = 'infinity'
    """,
    "DROP INDEX payouts_created_idx",
    "CREATE INDEX payouts_listed_idx ON payouts (account, created_at)",
    "CREATE INDEX payouts_failed_idx ON payouts (created_at) WHERE state = 'failed'",
    """
    CREATE TABLE archive (
        id bigint NOT NULL,
        order_number bigint NOT NULL,
        amount_minor bigint NOT NULL,
        created_at timestamptz NOT NULL,
        completed_at timestamptz NOT NULL,
        submitted_at timestamptz,
        not_after timestamptz,
        attempts integer NOT NULL,
        queries integer NOT NULL,
        event_id uuid NOT NULL,
        payout_id text NOT NULL,
        account text NOT NULL,
        run_id text,
        currency text NOT NULL,
        msisdn text NOT NULL,
        command_id text NOT NULL,
        remark text,
        occasion text,
        metadata jsonb NOT NULL,
        originator_conversation_id text NOT NULL,
        conversation_id text,
        transaction_id text,
        state text NOT NULL,
        reason_source text,
        reason_code text,
        reason_class text,
        reason_description text,
        retry_of text,
        PRIMARY KEY (payout_id),
        CONSTRAINT archive_originator_conversation_id_key UNIQUE (originator_conversation_id),
        CONSTRAINT archive_amount_positive CHECK (amount_minor > 0),
        CONSTRAINT archive_has_ended CHECK (state IN ('succeeded', 'failed')),
        CONSTRAINT archive_failed_has_reason CHECK (state <> 'failed' OR reason_code IS NOT NULL)
    )
    """,
    """
    CREATE INDEX archive_conversation_id_idx ON archive USING hash (conversation_id)
        WHERE conversation_id IS NOT NULL
    """,
    "CREATE INDEX archive_run_idx ON archive (run_id) WHERE run_id IS NOT NULL",
    """
    CREATE UNIQUE INDEX archive_retry_of_key ON archive (retry_of) WHERE retry_of IS NOT NULL
    """,
    """
    CREATE TABLE archive_sums (
        order_number bigint NOT NULL,
        state text NOT NULL,
        currency text NOT NULL,
        payouts bigint NOT NULL,
        amount_minor bigint NOT NULL,
        PRIMARY KEY (order_number, state, currency),
        CONSTRAINT archive_sums_order_number_fkey FOREIGN KEY (order_number)
            REFERENCES audit (number),
        CONSTRAINT archive_sums_counted CHECK (payouts > 0 AND amount_minor > 0)
    )
    """,
    "ALTER TABLE events ADD COLUMN archived boolean DEFAULT false NOT NULL",
    "CREATE INDEX events_archived_idx ON events (published_at) WHERE archived",
    """
    CREATE FUNCTION payouts_id_for_life() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF EXISTS (SELECT FROM added n JOIN archive a ON a.payout_id = n.payout_id)
            OR EXISTS (SELECT FROM added n JOIN archive a
                ON a.originator_conversation_id = n.originator_conversation_id)
        THEN
            RAISE EXCEPTION 'the ids of a payout are for life; it was archived'
                USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = TG_NAME;
        END IF;
        RETURN NULL;
    END $$
    """,
    # After the insert, as only then it is certain: a move that was under way while the unique
    # index was asked has been waited for, and what it has archived is seen here.
    """
    CREATE TRIGGER payouts_id_for_life AFTER INSERT ON payouts
        REFERENCING NEW TABLE AS added FOR EACH STATEMENT
        EXECUTE FUNCTION payouts_id_for_life()
    """,
    f"""
    CREATE FUNCTION payouts_leave_whole() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF EXISTS (
            SELECT FROM gone g LEFT JOIN archive a ON a.payout_id = g.payout_id
            WHERE ROW({_of("a")}) IS DISTINCT FROM ROW({_of("g")})
        ) OR EXISTS (
            SELECT FROM gone g JOIN payouts p ON p.retry_of = g.payout_id
        ) OR EXISTS (
            SELECT FROM gone g JOIN payouts p ON p.payout_id = g.retry_of
            WHERE g.retry_of IS NOT NULL
        ) THEN
            RAISE EXCEPTION 'payouts leave only into the archive, with all their submissions'
                USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = TG_NAME;
        END IF;
        RETURN NULL;
    END $$
    """,  # noqa: S608 - made of the constants above.
    """
    CREATE TRIGGER payouts_leave_whole AFTER DELETE ON payouts
        REFERENCING OLD TABLE AS gone FOR EACH STATEMENT
        EXECUTE FUNCTION payouts_leave_whole()
    """,
    """
    CREATE TRIGGER payouts_never_emptied BEFORE TRUNCATE ON payouts FOR EACH STATEMENT
        EXECUTE FUNCTION payouts_refuse('payouts leave only into the archive')
    """,
    """
    CREATE FUNCTION payouts_archived_once() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF EXISTS (SELECT FROM moved m JOIN payouts p ON p.payout_id = m.payout_id) THEN
            RAISE EXCEPTION 'a payout is in the live books or in the archive, not in both'
                USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = TG_NAME;
        END IF;
        IF EXISTS (
            SELECT FROM moved m LEFT JOIN audit o
                ON o.number = m.order_number AND o.action = 'archive'
            WHERE o.number IS NULL
        ) THEN
            RAISE EXCEPTION 'nothing is archived without an order'
                USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = TG_NAME;
        END IF;
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER archive_once AFTER INSERT ON archive
        REFERENCING NEW TABLE AS moved FOR EACH STATEMENT
        EXECUTE FUNCTION payouts_archived_once()
    """,
    """
    CREATE TRIGGER archive_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON archive FOR EACH STATEMENT
        EXECUTE FUNCTION payouts_refuse('the archive is only added to')
    """,
    """
    CREATE TRIGGER archive_kept BEFORE INSERT ON archive FOR EACH STATEMENT
        EXECUTE FUNCTION payouts_refuse_unless_retention()
    """,
    """
    CREATE TRIGGER archive_sums_stay BEFORE DELETE OR TRUNCATE ON archive_sums FOR EACH STATEMENT
        EXECUTE FUNCTION payouts_refuse('what orders have archived stays counted')
    """,
    """
    CREATE TRIGGER archive_sums_kept BEFORE INSERT OR UPDATE ON archive_sums FOR EACH STATEMENT
        EXECUTE FUNCTION payouts_refuse_unless_retention()
    """,
)
_DOWN = (
    "DROP INDEX payouts_open_idx",
    """
    CREATE INDEX payouts_open_idx ON payouts (created_at)
        WHERE state NOT IN ('succeeded', 'failed')
    """,
    "DROP INDEX payouts_failed_idx",
    "DROP INDEX payouts_listed_idx",
    "CREATE INDEX payouts_created_idx ON payouts (created_at)",
    "DROP TRIGGER payouts_never_emptied ON payouts",
    "DROP TRIGGER payouts_leave_whole ON payouts",
    "DROP FUNCTION payouts_leave_whole()",
    "DROP TRIGGER payouts_id_for_life ON payouts",
    "DROP FUNCTION payouts_id_for_life()",
    "ALTER TABLE payouts DISABLE TRIGGER payouts_retry_of_failed",
    f"""
    INSERT INTO payouts ({_KEPT}, came_from) OVERRIDING SYSTEM VALUE
    SELECT {_KEPT}, CASE WHEN attempts = 0 THEN 'received' ELSE 'submitting' END FROM archive
    """,  # noqa: S608 - made of the constants above.
    "ALTER TABLE payouts ENABLE TRIGGER payouts_retry_of_failed",
    """
    INSERT INTO events (event_id, payout_id, type, created_at, published_at)
    SELECT event_id, payout_id, 'payout.' || state, completed_at, now() FROM archive
    ON CONFLICT (event_id) DO NOTHING
    """,
    # Of its story it is known only that it began and how it ended.
    """
    INSERT INTO timeline (payout, at, actor, kind, from_state, to_state, attempt)
    SELECT a.id, t.at, 'archive', t.kind, t.from_state, t.to_state, a.attempts
    FROM archive a, LATERAL (VALUES
        (1, a.created_at, 'intent', NULL, 'received'),
        (2, a.completed_at, 'archived', 'received', a.state)
    ) AS t(place, at, kind, from_state, to_state) ORDER BY a.id, t.place
    """,
    "ALTER TABLE events DROP COLUMN archived",
    "DROP TABLE archive_sums",
    "DROP TABLE archive",
    "DROP FUNCTION payouts_archived_once()",
)


def upgrade() -> None:
    for statement in _UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in _DOWN:
        op.execute(statement)
