"""The pace: late requests move the slots of all workers on, once; accounts without a limit learn.

What was moved on is counted, so that several workers that were late at the same time move it on
once. The version before knows neither and may run beside this one.
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what the pace counts."""
    op.execute(
        "ALTER TABLE accounts ADD COLUMN slots_moved_s double precision DEFAULT 0 NOT NULL,"
        " ADD COLUMN pace_ceiling double precision,"
        " ADD CONSTRAINT accounts_ceiling_positive CHECK (pace_ceiling > 0)"
    )
    # Programs of that revision may run on this schema; each migration says so anew.
    op.execute("COMMENT ON TABLE alembic_version IS 'payouts since 0003'")


def downgrade() -> None:
    """Forget it: nothing but a learned pace is lost."""
    op.execute("COMMENT ON TABLE alembic_version IS NULL")
    op.execute("ALTER TABLE accounts DROP COLUMN pace_ceiling, DROP COLUMN slots_moved_s")
