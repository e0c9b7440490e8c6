"""The one table of both stacks, and the statements that are each a transaction of their own."""

from typing import Final

from sqlalchemy import (
    URL,
    Column,
    Connection,
    DateTime,
    MetaData,
    Numeric,
    String,
    Table,
    bindparam,
    func,
    make_url,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert

METADATA: Final = MetaData()
PAYOUTS: Final = Table(
    "payouts",
    METADATA,
    Column("payout_id", String(64), primary_key=True),
    Column("originator_conversation_id", String(128), nullable=False, unique=True),
    Column("amount", Numeric(14, 2), nullable=False),
    Column("msisdn", String(20), nullable=False),
    Column("state", String(16), nullable=False, server_default="submitting"),
    Column("conversation_id", String(128)),
    Column("transaction_id", String(64)),
    Column("code", String(16)),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

# No row where the payout is known already: the command came again.
INSERT: Final = (
    insert(PAYOUTS)
    .values(
        payout_id=bindparam("payout_id"),
        originator_conversation_id=bindparam("originator"),
        amount=bindparam("amount"),
        msisdn=bindparam("msisdn"),
    )
    .on_conflict_do_nothing()
)

# No row where the Result was quicker than the Response: the end stands.
ANSWERED: Final = (
    update(PAYOUTS)
    .where(PAYOUTS.c.payout_id == bindparam("of"), PAYOUTS.c.state == "submitting")
    .values(
        state=bindparam("to"),
        conversation_id=bindparam("conversation"),
        code=bindparam("answer"),
        updated_at=func.now(),
    )
)

# No row where the payout has ended, or is not known.
ENDED: Final = (
    update(PAYOUTS)
    .where(
        PAYOUTS.c.originator_conversation_id == bindparam("originator"),
        PAYOUTS.c.state != "succeeded",
        PAYOUTS.c.state != "failed",
    )
    .values(
        state=bindparam("to"),
        conversation_id=bindparam("conversation"),
        transaction_id=bindparam("transaction"),
        code=bindparam("answer"),
        updated_at=func.now(),
    )
    .returning(PAYOUTS.c.payout_id, PAYOUTS.c.amount, PAYOUTS.c.msisdn)
)


def address(database_url: str, driver: str) -> URL:
    """Returns the database's address for this driver of SQLAlchemy's."""
    return make_url(database_url).set(drivername=f"postgresql+{driver}")


def create(connection: Connection) -> None:
    """Makes the table, unless it is there; worker and callback server may both do it at once."""
    connection.execute(text("SELECT pg_advisory_xact_lock(1)"))
    METADATA.create_all(connection)
