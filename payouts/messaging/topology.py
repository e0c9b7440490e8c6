"""Exchanges and queues by name, and their declaration (contract.md §1, §2).

Legal on RabbitMQ 3.10 and on 4.x. The delivery limit is said explicitly, as 4.x would set 20
by itself; the worker decides about poison, RabbitMQ's limit only bounds what nobody decides.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final

from aiormq import Channel
from aiormq.exceptions import (
    ChannelAccessRefused,
    ChannelLockedResource,
    ChannelPreconditionFailed,
)
from pamqp.common import FieldTable

from payouts.domain.errors import BrokerUnavailableError, TopologyError
from payouts.domain.values import AccountName
from payouts.messaging.connection import (
    CHANNEL_TIMEOUT_S,
    BrokerConnection,
    broker_errors,
    cause_of,
)

DELIVERY_LIMIT: Final = 1000
DEAD_DELIVERY_LIMIT: Final = 1_000_000  # Beyond it a dead letter would be lost; a look counts one.
DECLARE_WITHIN_S: Final = 30.0

_REFUSALS: Final = (ChannelPreconditionFailed, ChannelAccessRefused, ChannelLockedResource)
_Declaration = Callable[[Channel], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """All names that begin with one prefix, such as `payouts`."""

    prefix: str = "payouts"

    @property
    def commands(self) -> str:
        """The direct exchange that takes commands; routing key: the account."""
        return f"{self.prefix}.commands"

    @property
    def dead_letters(self) -> str:
        """The direct exchange of dead letters, and the quorum queue that keeps them."""
        return f"{self.prefix}.dead-letters"

    @property
    def events(self) -> str:
        """The topic exchange of events; routing key: the event's type."""
        return f"{self.prefix}.events"

    def queue_of(self, account: AccountName) -> str:
        """Return the name of an account's queue of commands."""
        return f"{self.commands}.{account}"

    async def declare(
        self, connection: BrokerConnection, accounts: Iterable[AccountName] = ()
    ) -> None:
        """Make sure that all exchanges and queues exist as they should; may be called again.

        Raises:
            TopologyError: some exist otherwise, or may not be declared; all are named.
            BrokerUnavailableError: RabbitMQ is away.
        """
        problems: list[str] = []
        channel: Channel | None = None
        for declaration in self._declarations(tuple(accounts)):
            if channel is None:
                channel = await connection.channel(confirms=False, within_s=DECLARE_WITHIN_S)
            try:
                with broker_errors("declare the topology"):
                    await declaration(channel)
            except BrokerUnavailableError as error:
                if not isinstance(error.__cause__, _REFUSALS):
                    raise
                # RabbitMQ closes the channel with the refusal; the next one opens another.
                problems.append(cause_of(error.__cause__))
                channel = None
        if channel is not None:
            with broker_errors("close a channel"):
                await channel.close()
        if problems:
            raise TopologyError("; ".join(problems))

    def _declarations(self, accounts: tuple[AccountName, ...]) -> list[_Declaration]:
        dead = self.dead_letters
        wanted = [
            _exchange(self.commands, "direct"),
            _exchange(dead, "direct"),
            _exchange(self.events, "topic"),
            _queue(dead, {"x-queue-type": "quorum", "x-delivery-limit": DEAD_DELIVERY_LIMIT}),
            _binding(dead, queue=dead, key=dead),
        ]
        for account in accounts:
            queue = self.queue_of(account)
            wanted.append(_queue(queue, self._command_arguments()))
            wanted.append(_binding(self.commands, queue=queue, key=account))
        return wanted

    def _command_arguments(self) -> FieldTable:
        return {
            "x-queue-type": "quorum",
            "x-delivery-limit": DELIVERY_LIMIT,
            "x-dead-letter-exchange": self.dead_letters,
            "x-dead-letter-routing-key": self.dead_letters,
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }


def _exchange(name: str, kind: str) -> _Declaration:
    async def declare(channel: Channel) -> None:
        await channel.exchange_declare(
            name, exchange_type=kind, durable=True, timeout=CHANNEL_TIMEOUT_S
        )

    return declare


def _queue(name: str, arguments: FieldTable) -> _Declaration:
    async def declare(channel: Channel) -> None:
        await channel.queue_declare(
            name, durable=True, arguments=arguments, timeout=CHANNEL_TIMEOUT_S
        )

    return declare


def _binding(exchange: str, *, queue: str, key: str) -> _Declaration:
    async def declare(channel: Channel) -> None:
        await channel.queue_bind(queue, exchange, routing_key=key, timeout=CHANNEL_TIMEOUT_S)

    return declare
