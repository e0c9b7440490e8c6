"""The books: payouts, timeline, events, queries, incidents, workers, accounts.

What the rows of `payouts` may become is kept by triggers whose WHEN clause is all that an ordinary
transition pays for; their functions run only to refuse.
"""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TABLES = (
    """
    CREATE TABLE payouts (
        id bigint GENERATED ALWAYS AS IDENTITY,
        payout_id text NOT NULL,
        account text NOT NULL,
        run_id text,
        amount_minor bigint NOT NULL,
        currency text NOT NULL,
        msisdn text NOT NULL,
        command_id text NOT NULL,
        remark text,
        occasion text,
        not_after timestamptz,
        metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
        originator_conversation_id text NOT NULL,
        conversation_id text,
        transaction_id text,
        state text NOT NULL,
        came_from text,
        attempts integer DEFAULT 0 NOT NULL,
        owner bigint,
        claimed_at timestamptz,
        next_action_at timestamptz,
        queued boolean DEFAULT false NOT NULL,
        reason_source text,
        reason_code text,
        reason_class text,
        reason_description text,
        created_at timestamptz NOT NULL,
        submitted_at timestamptz,
        last_sent_at timestamptz,
        doubt_since timestamptz,
        queries integer DEFAULT 0 NOT NULL,
        not_found_count smallint DEFAULT 0 NOT NULL,
        first_not_found_at timestamptz,
        last_not_found_at timestamptz,
        completed_at timestamptz,
        PRIMARY KEY (id),
        CONSTRAINT payouts_payout_id_key UNIQUE (payout_id),
        CONSTRAINT payouts_originator_conversation_id_key UNIQUE (originator_conversation_id),
        CONSTRAINT payouts_amount_positive CHECK (amount_minor > 0),
        CONSTRAINT payouts_state_known
            CHECK (state IN ('received', 'submitting', 'waiting', 'accepted', 'in_doubt',
                'succeeded', 'failed')),
        CONSTRAINT payouts_ended_is_dated
            CHECK ((state IN ('succeeded', 'failed')) = (completed_at IS NOT NULL)),
        CONSTRAINT payouts_failed_has_reason
            CHECK (state <> 'failed' OR reason_code IS NOT NULL),
        CONSTRAINT payouts_reason_whole
            CHECK (num_nonnulls(reason_source, reason_code, reason_class, reason_description) IN
                (0, 4)),
        CONSTRAINT payouts_begins_unsent
            CHECK (came_from IS NOT NULL OR state IN ('received', 'submitting') OR (state =
                'failed' AND attempts = 0)),
        CONSTRAINT payouts_submitting_is_owned
            CHECK ((state = 'submitting') = (owner IS NOT NULL) AND (owner IS NULL) =
                (claimed_at IS NULL)),
        CONSTRAINT payouts_attempts_counted
            CHECK (attempts >= 0 AND (state <> 'submitting' OR attempts > 0) AND (state <>
                'received' OR (attempts = 0 AND submitted_at IS NULL))),
        CONSTRAINT payouts_next_action_planned
            CHECK (CASE WHEN state IN ('received', 'waiting', 'accepted') THEN next_action_at IS
                NOT NULL ELSE state = 'in_doubt' OR next_action_at IS NULL END),
        CONSTRAINT payouts_sent_is_dated
            CHECK (state NOT IN ('accepted', 'in_doubt') OR (submitted_at IS NOT NULL AND
                last_sent_at IS NOT NULL)),
        CONSTRAINT payouts_doubt_is_dated
            CHECK (state <> 'in_doubt' OR doubt_since IS NOT NULL),
        CONSTRAINT payouts_not_found_counted
            CHECK (queries >= 0 AND not_found_count >= 0 AND (not_found_count > 0) =
                (first_not_found_at IS NOT NULL) AND (not_found_count > 0) = (last_not_found_at
                IS NOT NULL))
    )
    """,
    """
    CREATE TABLE timeline (
        payout bigint NOT NULL,
        id bigint GENERATED ALWAYS AS IDENTITY,
        at timestamptz NOT NULL,
        actor text NOT NULL,
        kind text NOT NULL,
        from_state text,
        to_state text,
        attempt integer NOT NULL,
        source text,
        code text,
        detail text,
        originator_conversation_id text,
        conversation_id text,
        transaction_id text,
        CONSTRAINT timeline_pkey PRIMARY KEY (payout, id)
    )
    """,
    """
    CREATE TABLE events (
        event_id uuid NOT NULL,
        payout_id text NOT NULL,
        type text NOT NULL,
        created_at timestamptz NOT NULL,
        published_at timestamptz,
        hidden_until timestamptz,
        data jsonb,
        PRIMARY KEY (event_id),
        CONSTRAINT events_completion_is_derived
            CHECK ((type IN ('payout.succeeded', 'payout.failed')) = (data IS NULL))
    )
    """,
    """
    CREATE TABLE queries (
        query_id text NOT NULL,
        payout_id text NOT NULL,
        asked_at timestamptz NOT NULL,
        conversation_id text,
        PRIMARY KEY (query_id)
    )
    """,
    """
    CREATE TABLE incidents (
        incident_id uuid NOT NULL,
        kind text NOT NULL,
        at timestamptz NOT NULL,
        payout_id text,
        originator_conversation_id text,
        conversation_id text,
        transaction_id text,
        code text,
        detail text NOT NULL,
        evidence jsonb NOT NULL,
        PRIMARY KEY (incident_id),
        CONSTRAINT incidents_kind_known
            CHECK (kind IN ('contradiction', 'mismatch', 'unmatched', 'stuck'))
    )
    """,
    """
    CREATE TABLE workers (
        id bigint GENERATED ALWAYS AS IDENTITY,
        name text NOT NULL,
        started_at timestamptz NOT NULL,
        heartbeat_at timestamptz NOT NULL,
        dead_at timestamptz,
        retired_at timestamptz,
        PRIMARY KEY (id)
    )
    """,
    """
    CREATE TABLE accounts (
        name text NOT NULL,
        paused boolean DEFAULT false NOT NULL,
        paused_reason text,
        paused_at timestamptz,
        refusals integer DEFAULT 0 NOT NULL,
        refused_at timestamptz,
        pace double precision,
        next_slot_at timestamptz,
        lowered_at timestamptz,
        raised_at timestamptz,
        utility_balance_minor bigint,
        balance_at timestamptz,
        PRIMARY KEY (name),
        CONSTRAINT accounts_refusals_counted CHECK (refusals >= 0),
        CONSTRAINT accounts_pace_positive CHECK (pace > 0),
        CONSTRAINT accounts_pause_is_dated CHECK (paused = (paused_at IS NOT NULL))
    )
    """,
)

_INDEXES = (
    """
    CREATE INDEX payouts_conversation_id_idx ON payouts (conversation_id) WHERE conversation_id
            IS NOT NULL
    """,
    """
    CREATE INDEX payouts_created_idx ON payouts (created_at)
    """,
    """
    CREATE INDEX payouts_doubts_idx ON payouts (account, next_action_at) WHERE state =
            'in_doubt' AND next_action_at IS NOT NULL
    """,
    """
    CREATE INDEX payouts_due_idx ON payouts (account, next_action_at) WHERE state IN
            ('received', 'waiting')
    """,
    """
    CREATE INDEX payouts_expiring_idx ON payouts (not_after) WHERE state IN ('received',
            'waiting') AND submitted_at IS NULL AND not_after IS NOT NULL
    """,
    """
    CREATE INDEX payouts_open_idx ON payouts (created_at) WHERE state NOT IN ('succeeded',
            'failed')
    """,
    """
    CREATE INDEX payouts_overdue_idx ON payouts (next_action_at) WHERE state = 'accepted'
    """,
    """
    CREATE INDEX payouts_owner_idx ON payouts (owner) WHERE state = 'submitting'
    """,
    """
    CREATE INDEX payouts_run_idx ON payouts (run_id, created_at) WHERE run_id IS NOT NULL
    """,
    """
    CREATE UNIQUE INDEX events_completion_key ON events (payout_id) WHERE type IN
            ('payout.succeeded', 'payout.failed')
    """,
    """
    CREATE INDEX events_other_idx ON events (payout_id) WHERE data IS NOT NULL
    """,
    """
    CREATE INDEX events_unpublished_idx ON events (created_at) WHERE published_at IS NULL
    """,
    """
    CREATE INDEX queries_conversation_id_idx ON queries (conversation_id) WHERE conversation_id
            IS NOT NULL
    """,
    """
    CREATE INDEX queries_payout_idx ON queries (payout_id, asked_at)
    """,
    """
    CREATE INDEX incidents_at_idx ON incidents (at)
    """,
    """
    CREATE INDEX incidents_payout_idx ON incidents (payout_id) WHERE payout_id IS NOT NULL
    """,
    """
    CREATE INDEX incidents_unmatched_idx ON incidents (originator_conversation_id) WHERE kind =
            'unmatched' AND originator_conversation_id IS NOT NULL
    """,
    """
    CREATE INDEX workers_living_idx ON workers (heartbeat_at) WHERE dead_at IS NULL AND
            retired_at IS NULL
    """,
)

_LEGAL = """
    'received>submitting', 'received>succeeded', 'received>failed',
    'received>in_doubt', 'submitting>accepted', 'submitting>waiting',
    'submitting>in_doubt', 'submitting>succeeded', 'submitting>failed',
    'waiting>submitting', 'waiting>succeeded', 'waiting>failed', 'waiting>in_doubt',
    'accepted>succeeded', 'accepted>failed', 'accepted>in_doubt',
    'in_doubt>accepted', 'in_doubt>submitting', 'in_doubt>waiting',
    'in_doubt>succeeded', 'in_doubt>failed'
"""

_GUARDS = (
    """
    CREATE FUNCTION payouts_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'integrity_constraint_violation',
            CONSTRAINT = TG_NAME;
    END $$
    """,
    """
    CREATE FUNCTION payouts_refuse_unless_retention() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF current_setting('payouts.retention', true) IS DISTINCT FROM 'on' THEN
            RAISE EXCEPTION '% of % is for retention only', TG_OP, TG_TABLE_NAME
                USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = TG_NAME;
        END IF;
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER payouts_ended_stays BEFORE UPDATE ON payouts FOR EACH ROW
        WHEN (OLD.completed_at IS NOT NULL AND OLD.* IS DISTINCT FROM NEW.*)
        EXECUTE FUNCTION payouts_refuse('a payout that has ended never changes')
    """,
    f"""
    CREATE TRIGGER payouts_transition_legal BEFORE UPDATE OF state ON payouts FOR EACH ROW
        WHEN (OLD.state IS DISTINCT FROM NEW.state
            AND (OLD.state || '>' || NEW.state) <> ALL (ARRAY[{_LEGAL}]))
        EXECUTE FUNCTION payouts_refuse('this transition is not in the table')
    """,
    """
    CREATE TRIGGER payouts_content_stays BEFORE UPDATE OF
        id, payout_id, account, run_id, amount_minor, currency, msisdn, command_id, remark,
        occasion, not_after, metadata, originator_conversation_id, created_at
        ON payouts FOR EACH ROW
        EXECUTE FUNCTION payouts_refuse('what a payout pays, and to whom, is for life')
    """,
    """
    CREATE TRIGGER events_content_stays BEFORE UPDATE OF
        event_id, payout_id, type, created_at, data ON events FOR EACH ROW
        EXECUTE FUNCTION payouts_refuse('an event never changes')
    """,
    """
    CREATE TRIGGER timeline_stays BEFORE UPDATE ON timeline FOR EACH STATEMENT
        EXECUTE FUNCTION payouts_refuse('the timeline is only added to')
    """,
    """
    CREATE TRIGGER incidents_stay BEFORE UPDATE ON incidents FOR EACH STATEMENT
        EXECUTE FUNCTION payouts_refuse('incidents are only added to')
    """,
)
_KEPT = ("payouts", "timeline", "events", "queries", "incidents")


def upgrade() -> None:
    for statement in (*_TABLES, *_INDEXES, *_GUARDS):
        op.execute(statement)
    for table in _KEPT:
        op.execute(
            f"CREATE TRIGGER {table}_kept BEFORE DELETE OR TRUNCATE ON {table} FOR EACH STATEMENT"
            " EXECUTE FUNCTION payouts_refuse_unless_retention()"
        )


def downgrade() -> None:
    for table in ("accounts", "workers", *reversed(_KEPT)):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP FUNCTION payouts_refuse()")
    op.execute("DROP FUNCTION payouts_refuse_unless_retention()")
