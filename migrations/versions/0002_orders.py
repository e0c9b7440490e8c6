"""What people order: second submissions, holds, paused runs, the audit; and what a restore needs.

The audit is added to and never changed: its triggers refuse everything else, also for retention.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_UP = (
    """
    ALTER TABLE payouts ADD COLUMN held text, ADD COLUMN ask_now boolean DEFAULT false NOT NULL,
        ADD COLUMN retry_of text, ADD COLUMN repeat_watched boolean DEFAULT false NOT NULL,
        ADD CONSTRAINT payouts_ended_is_not_held
            CHECK (completed_at IS NULL OR (held IS NULL AND NOT ask_now))
    """,
    """
    ALTER TABLE workers ADD COLUMN accounts text[] DEFAULT '{}'::text[] NOT NULL,
        ADD COLUMN cut_off text[] DEFAULT '{}'::text[] NOT NULL
    """,
    "ALTER TABLE accounts ADD COLUMN ask_first_until timestamptz",
    """
    CREATE TABLE paused_runs (
        run_id text NOT NULL,
        reason text NOT NULL,
        paused_at timestamptz NOT NULL,
        PRIMARY KEY (run_id)
    )
    """,
    """
    CREATE TABLE suspects (
        key text NOT NULL,
        begun integer NOT NULL,
        begun_at timestamptz NOT NULL,
        PRIMARY KEY (key),
        CONSTRAINT suspects_begun_counted CHECK (begun > 0)
    )
    """,
    """
    CREATE TABLE audit (
        number bigint NOT NULL,
        at timestamptz NOT NULL,
        operator text NOT NULL,
        action text NOT NULL,
        subject text NOT NULL,
        reason text NOT NULL,
        details jsonb NOT NULL,
        hash text NOT NULL,
        PRIMARY KEY (number),
        CONSTRAINT audit_number_counted CHECK (number > 0),
        CONSTRAINT audit_names_somebody CHECK (operator <> '' AND reason <> '')
    )
    """,
    "CREATE INDEX audit_subject_idx ON audit (subject)",
    "DROP INDEX events_unpublished_idx",
    """
    CREATE INDEX events_unpublished_idx ON events (hidden_until NULLS FIRST, created_at)
        WHERE published_at IS NULL
    """,
    "DROP INDEX payouts_due_idx",
    """
    CREATE INDEX payouts_due_idx ON payouts (account, next_action_at) WHERE state IN
            ('received', 'waiting') AND held IS NULL AND NOT ask_now
    """,
    """
    CREATE INDEX payouts_ask_first_idx ON payouts (next_action_at) WHERE state IN
            ('received', 'waiting') AND ask_now
    """,
    """
    CREATE INDEX payouts_held_idx ON payouts (run_id, id) WHERE held IS NOT NULL
    """,
    """
    CREATE UNIQUE INDEX payouts_retry_of_key ON payouts (retry_of) WHERE retry_of IS NOT NULL
    """,
    """
    CREATE INDEX payouts_repeat_idx ON payouts (msisdn, amount_minor, created_at) WHERE
            repeat_watched
    """,
    """
    CREATE FUNCTION payouts_retry_of_failed() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM FROM payouts p WHERE p.payout_id = NEW.retry_of AND p.state = 'failed'
            AND (p.account, p.amount_minor, p.currency, p.msisdn)
                = (NEW.account, NEW.amount_minor, NEW.currency, NEW.msisdn)
            AND p.originator_conversation_id <> NEW.originator_conversation_id;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'only what has failed is submitted again, as it was'
                USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = TG_NAME;
        END IF;
        RETURN NEW;
    END $$
    """,
    """
    CREATE TRIGGER payouts_retry_of_failed BEFORE INSERT ON payouts FOR EACH ROW
        WHEN (NEW.retry_of IS NOT NULL) EXECUTE FUNCTION payouts_retry_of_failed()
    """,
    """
    CREATE TRIGGER payouts_submission_stays BEFORE UPDATE OF retry_of, repeat_watched
        ON payouts FOR EACH ROW
        EXECUTE FUNCTION payouts_refuse('which submission a row is, is for life')
    """,
    """
    CREATE TRIGGER audit_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON audit FOR EACH STATEMENT
        EXECUTE FUNCTION payouts_refuse('the audit is only added to')
    """,
    "CREATE INDEX audit_restored_idx ON audit (number) WHERE action = 'restored'",
    """
    CREATE FUNCTION accounts_ask_first() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        NEW.ask_first_until := coalesce(NEW.ask_first_until, (
            SELECT CAST(details ->> 'new ones until' AS timestamptz) FROM audit
            WHERE action = 'restored' ORDER BY number DESC LIMIT 1
        ));
        RETURN NEW;
    END $$
    """,
    """
    CREATE TRIGGER accounts_ask_first BEFORE INSERT ON accounts FOR EACH ROW
        EXECUTE FUNCTION accounts_ask_first()
    """,
)
_DOWN = (
    "DROP TRIGGER accounts_ask_first ON accounts",
    "DROP FUNCTION accounts_ask_first()",
    "DROP TABLE audit",
    "DROP TABLE suspects",
    "DROP TABLE paused_runs",
    "ALTER TABLE accounts DROP COLUMN ask_first_until",
    "ALTER TABLE workers DROP COLUMN accounts, DROP COLUMN cut_off",
    "DROP TRIGGER payouts_submission_stays ON payouts",
    "DROP TRIGGER payouts_retry_of_failed ON payouts",
    "DROP FUNCTION payouts_retry_of_failed()",
    "DROP INDEX events_unpublished_idx",
    "CREATE INDEX events_unpublished_idx ON events (created_at) WHERE published_at IS NULL",
    "DROP INDEX payouts_due_idx",
    """
    ALTER TABLE payouts DROP COLUMN held, DROP COLUMN ask_now, DROP COLUMN retry_of,
        DROP COLUMN repeat_watched
    """,
    """
    CREATE INDEX payouts_due_idx ON payouts (account, next_action_at) WHERE state IN
            ('received', 'waiting')
    """,
)


def upgrade() -> None:
    for statement in _UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in _DOWN:
        op.execute(statement)
