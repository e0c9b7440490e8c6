"""Connections of one command: made when it begins, closed when it ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pydantic import SecretStr

from payouts.domain.payout import Payout
from payouts.domain.values import AccountName, PayoutId
from payouts.messaging.connection import BrokerConnection
from payouts.messaging.publisher import ConfirmedPublisher
from payouts.messaging.stream import CommandStream
from payouts.messaging.topology import Topology
from payouts.ports import AccountStatus, Clock, Orders
from payouts.runtime import SystemClock
from payouts.settings import DeadLetterOrderSettings, DeadLetterSettings, SendSettings
from payouts.storage.accounts import Accounts
from payouts.storage.clock import BooksClock
from payouts.storage.engine import Database, create_engine
from payouts.storage.orders import PostgresOrders
from payouts.storage.oversight import Oversight
from payouts.storage.parts import Context
from payouts.storage.reading import PayoutsReader
from payouts.storage.retention import Retention
from payouts.storage.schema import check_schema

CONNECT_WITHIN_S = 5.0
READ_WITHIN_S = 600.0  # Large books take their time to add up.
_CONFIRM_WITHIN_S = 30.0
_POOL = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """The database as the command line sees it, and the time of day as it has it."""

    clock: Clock
    reader: PayoutsReader
    oversight: Oversight
    accounts: Accounts
    orders: Orders
    retention: Retention

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
        clock = BooksClock(SystemClock())
        await clock.look(database)
        context = Context(database=database, clock=clock)
        yield Books(
            clock=clock,
            reader=PayoutsReader(database.engine),
            oversight=Oversight(database.engine),
            accounts=Accounts(context),
            orders=PostgresOrders(context),
            retention=Retention(database),
        )
    finally:
        await database.close()


@asynccontextmanager
async def open_stream(settings: SendSettings) -> AsyncIterator[CommandStream]:
    """Give a stream of commands whose queues exist.

    Raises:
        BrokerUnavailableError: RabbitMQ does not answer.
        TopologyError: the queues are declared differently.
    """
    topology = Topology(prefix=settings.prefix)
    connection = BrokerConnection(settings.amqp_url.get_secret_value(), name="payouts send")
    try:
        await connection.open(within_s=CONNECT_WITHIN_S)
        await topology.declare(connection, list(settings.accounts))
        stream = CommandStream(connection, topology, timeout_s=_CONFIRM_WITHIN_S)
        try:
            yield stream
        finally:
            await stream.close()
    finally:
        await connection.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """RabbitMQ as whoever works through dead letters sees it."""

    connection: BrokerConnection
    topology: Topology
    publisher: ConfirmedPublisher


@asynccontextmanager
async def open_broker(
    settings: DeadLetterSettings | DeadLetterOrderSettings,
) -> AsyncIterator[Broker]:
    """Give a connection to RabbitMQ; nothing is declared.

    Raises:
        BrokerUnavailableError: RabbitMQ does not answer.
    """
    connection = BrokerConnection(settings.amqp_url.get_secret_value(), name="payouts dead-letters")
    try:
        await connection.open(within_s=CONNECT_WITHIN_S)
        publisher = ConfirmedPublisher(connection, timeout_s=_CONFIRM_WITHIN_S)
        try:
            yield Broker(
                connection=connection,
                topology=Topology(prefix=settings.prefix),
                publisher=publisher,
            )
        finally:
            await publisher.close()
    finally:
        await connection.close()
