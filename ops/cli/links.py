"""Connections of one command: made when it begins, closed when it ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pydantic import SecretStr

from payouts.domain.payout import Payout
from payouts.domain.values import AccountName, PayoutId
from payouts.messaging.connection import BrokerConnection
from payouts.messaging.publisher import CommandPublisher, ConfirmedPublisher
from payouts.messaging.topology import Topology
from payouts.ports import AccountStatus
from payouts.runtime import SystemClock
from payouts.settings import SendSettings
from payouts.storage.accounts import Accounts
from payouts.storage.engine import Database, create_engine
from payouts.storage.migrate import check_schema
from payouts.storage.parts import Context
from payouts.storage.reading import PayoutsReader

CONNECT_WITHIN_S = 5.0
READ_WITHIN_S = 600.0  # Large books take their time to add up.
_CONFIRM_WITHIN_S = 30.0
_POOL = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """The database as the command line sees it."""

    reader: PayoutsReader
    accounts: Accounts

    async def existing(self, payout_ids: Sequence[PayoutId]) -> Mapping[PayoutId, Payout]:
        """Return the payouts that there are of these ids."""
        return await self.reader.existing(payout_ids)

    async def statuses(self, names: Sequence[AccountName]) -> Mapping[AccountName, AccountStatus]:
        """Return how these accounts stand."""
        return await self.accounts.account_statuses(names)


@asynccontextmanager
async def open_books(url: SecretStr) -> AsyncIterator[Books]:
    """Give the database, once its schema is the one that this version needs.

    Raises:
        StoreUnavailableError: it does not answer.
        SchemaError: `payouts db upgrade` is due.
    """
    database = Database(
        create_engine(url.get_secret_value(), pool_size=_POOL, command_timeout_s=READ_WITHIN_S)
    )
    try:
        await check_schema(database.engine)
        context = Context(database=database, clock=SystemClock())
        yield Books(reader=PayoutsReader(database.engine), accounts=Accounts(context))
    finally:
        await database.close()


@asynccontextmanager
async def open_publisher(settings: SendSettings) -> AsyncIterator[CommandPublisher]:
    """Give a publisher of commands whose queues exist.

    Raises:
        BrokerUnavailableError: RabbitMQ does not answer.
        TopologyError: the queues are declared differently.
    """
    topology = Topology(prefix=settings.prefix)
    connection = BrokerConnection(settings.amqp_url.get_secret_value(), name="payouts send")
    try:
        await connection.open(within_s=CONNECT_WITHIN_S)
        await topology.declare(connection, list(settings.accounts))
        publisher = ConfirmedPublisher(connection, timeout_s=_CONFIRM_WITHIN_S)
        try:
            yield CommandPublisher(publisher, topology)
        finally:
            await publisher.close()
    finally:
        await connection.close()
