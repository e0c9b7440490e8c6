"""Takes commands from one account's queue, for as long as it is told to."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from aio_pika.exceptions import ChannelNotFoundEntity
from tenacity import AsyncRetrying, retry_if_exception_type
from tenacity import wait_random_exponential as wait_growing

from payouts.domain.errors import BrokerUnavailableError, TopologyError
from payouts.domain.values import AccountName
from payouts.messaging.connection import LOST_PAUSE_S, BrokerConnection, Sleep, tell_if_failed
from payouts.messaging.delivery import Delivery
from payouts.messaging.session import Handler, OnFailure, Session
from payouts.messaging.topology import Topology

CONNECT_WITHIN_S: Final = 30.0
PAUSE_CAP_S: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where commands come from: one account's queue, and how many deliveries may be in hand."""

    topology: Topology
    account: AccountName
    prefetch: int


class CommandConsumer:
    """Hands deliveries to a handler, a bounded number at a time, whatever befalls RabbitMQ.

    A delivery is acknowledged when its handler returns and given back when it raises. When the
    channel is lost, what is in hand is finished first, then consuming begins anew; a queue that
    has gone with a broker's data is declared again.

    Args:
        connection: opened by its owner, who closes it after `stop`.
        source: which queue, and how many at a time.
        handler: called once per delivery, many at a time; must be idempotent.
        on_failure: told what a handler raised; must not raise.
        sleep: how to pause; tests hand in their own.
    """

    def __init__(
        self,
        connection: BrokerConnection,
        source: Source,
        handler: Handler,
        *,
        on_failure: OnFailure | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._connection = connection
        self._source = source
        self._handler = handler
        self._on_failure = on_failure or _ignore
        self._sleep = sleep
        self._wanted = True
        self._stopped = False
        self._lock = asyncio.Lock()
        self._session: Session | None = None
        self._supervisor: asyncio.Task[None] | None = None

    @property
    def consuming(self) -> bool:
        """Whether RabbitMQ delivers now; False also while paused."""
        return self._session is not None and self._session.consuming

    @property
    def in_hand(self) -> int:
        """How many deliveries are with their handlers."""
        return 0 if self._session is None else self._session.in_hand

    def start(self) -> None:
        """Begin to consume in the background, unless paused before."""
        if self._supervisor is None:
            name = f"consumer of {self._source.account}"
            self._supervisor = asyncio.create_task(self._run(), name=name)
            self._supervisor.add_done_callback(tell_if_failed)

    async def pause(self) -> None:
        """Take nothing more; deliveries in hand go on, the rest stays in the queue."""
        async with self._lock:
            self._wanted = False
            await self._align()

    async def resume(self) -> None:
        """Take deliveries again; nothing happens once it is told to stop."""
        async with self._lock:
            self._wanted = not self._stopped
            await self._align()

    async def stop(self, *, grace_s: float) -> int:
        """Take nothing more, wait for the handlers, give the rest back; return how many that is.

        Args:
            grace_s: how long handlers may take; then they are cancelled and their deliveries
                go back to the queue.
        """
        self._stopped = True
        await self.pause()
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
            self._supervisor = None
        session, self._session = self._session, None
        if session is None:
            return 0
        await self._cancel(session)
        abandoned = await session.drain(grace_s)
        await session.close()
        return abandoned

    async def _run(self) -> None:
        retrying = AsyncRetrying(
            retry=retry_if_exception_type((BrokerUnavailableError, TopologyError)),
            wait=wait_growing(multiplier=0.1, max=PAUSE_CAP_S),
            sleep=self._sleep,
        )
        while True:
            session: Session = await retrying(self._begin)
            await session.ended()
            await session.close()
            # Without this wait a flapping broker would pile up more than `prefetch` in hand.
            await session.drain(None)
            await self._sleep(LOST_PAUSE_S)

    async def _begin(self) -> Session:
        channel = await self._connection.channel(confirms=False, within_s=CONNECT_WITHIN_S)
        session = Session(
            channel,
            handler=self._handler,
            on_failure=self._on_failure,
            held=max(1, self._source.prefetch // 4),
            sleep=self._sleep,
        )
        async with self._lock:
            self._session = session
            if self._wanted:
                await self._consume(session)
        return session

    async def _consume(self, session: Session) -> None:
        source = self._source
        try:
            await session.consume(source.topology.queue_of(source.account), source.prefetch)
        except BrokerUnavailableError as error:
            await session.close()
            if isinstance(error.__cause__, ChannelNotFoundEntity):
                await source.topology.declare(self._connection, [source.account])
            raise

    async def _align(self) -> None:
        """Bring the present session in line with what is wanted; one that fails begins anew."""
        session = self._session
        if session is None or session.consuming == self._wanted:
            return
        if self._wanted:
            try:
                await self._consume(session)
            except (BrokerUnavailableError, TopologyError):
                return  # The session is closed; the supervisor opens another.
        else:
            await self._cancel(session)

    async def _cancel(self, session: Session) -> None:
        try:
            await session.cancel()
        except BrokerUnavailableError:
            await session.close()


def _ignore(_: Delivery, __: Exception) -> None:
    return
