"""One connection to RabbitMQ that is made anew whenever it is lost.

aio-pika's robust connection is not used: it declares and consumes again by itself, at a fixed
interval and without jitter, while what was published or delivered on the lost channel is not
made good. Here a lost channel stays lost; its owner opens another and knows what that means.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, TypeVar

import aio_pika
from aio_pika.exceptions import CONNECTION_EXCEPTIONS
from aiormq import Channel
from aiormq.abc import AbstractConnection as Wire
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type
from tenacity import wait_random_exponential as wait_growing
from yarl import URL

from payouts.domain.errors import BrokerUnavailableError

CHANNEL_TIMEOUT_S: Final = 10.0
LOST_PAUSE_S: Final = 0.2
HEARTBEAT_S: Final = 10
CLOSE_WITHIN_S: Final = 5.0
MAX_CAUSE: Final = 300

Sleep = Callable[[float], Awaitable[None]]
C = TypeVar("C", bound=Channel)


@contextmanager
def broker_errors(doing: str) -> Iterator[None]:
    """Turn whatever aio-pika raises into BrokerUnavailableError that says what was being done.

    The library also ends waiting calls by a CancelledError when it loses the connection; only
    one that this task was really sent is passed on. That one is passed on also where the library
    swallows it, as it does while a channel is being opened: the task would go on for ever.
    """
    try:
        yield
    except asyncio.CancelledError:
        if _is_cancelled():
            raise
        raise BrokerUnavailableError(f"The connection was lost: {doing}.") from None
    except TimeoutError as error:
        raise BrokerUnavailableError(f"It took too long: {doing}.") from error
    except CONNECTION_EXCEPTIONS as error:
        if _is_cancelled():
            raise asyncio.CancelledError from error
        raise BrokerUnavailableError(f"{cause_of(error)}: {doing}.") from error
    if _is_cancelled():
        raise asyncio.CancelledError


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def cause_of(error: BaseException) -> str:
    """Return what RabbitMQ or the network said, bounded; it never holds the password."""
    said = " ".join(str(part) for part in error.args if part) or type(error).__name__
    return said[:MAX_CAUSE]


async def close_channel(channel: Channel) -> None:
    """Close a channel if that can be done, in bounded time."""
    with suppress(BrokerUnavailableError), broker_errors("close a channel"):
        async with asyncio.timeout(CHANNEL_TIMEOUT_S):
            await channel.close()


def tell_if_failed(task: asyncio.Task[None]) -> None:
    """Report a background task that ended by a mistake of ours instead of losing it."""
    if not task.cancelled() and (error := task.exception()) is not None:
        task.get_loop().call_exception_handler(
            {"message": f"{task.get_name()} has ended", "exception": error, "task": task}
        )


def _with_heartbeat(url: str) -> URL:
    """Return the address with our heartbeat, unless it names one itself.

    Three missed ones end a connection of which nobody has told that it is dead, as when a firewall
    forgets it. With the library's 60 s its deliveries lay for three minutes.
    """
    address = URL(url)
    given = "heartbeat" in address.query
    return address if given else address.update_query(heartbeat=HEARTBEAT_S)


class BrokerConnection:
    """Keeps one connection, reconnecting with growing, jittered pauses until closed.

    Publishers and consumers had better have one each: RabbitMQ stops reading from a connection
    that publishes when its memory or disk runs short, and acknowledgements would wait behind.

    Args:
        url: `amqp://` or `amqps://`, with user, password and virtual host; `?heartbeat=` names
            seconds other than HEARTBEAT_S.
        name: shown in RabbitMQ's list of connections.
        connect_timeout_s: bound of one attempt.
        pause_cap_s: longest pause between attempts.
        sleep: how to pause; tests hand in their own.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        connect_timeout_s: float = 10.0,
        pause_cap_s: float = 5.0,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._url = _with_heartbeat(url)
        self._name = name
        self._connect_timeout_s = connect_timeout_s
        self._pause_cap_s = pause_cap_s
        self._sleep = sleep
        self._connection: aio_pika.abc.AbstractConnection | None = None
        self._connected = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._lost_at = 0.0
        self._cause = "not opened"

    @property
    def connected(self) -> bool:
        """Whether RabbitMQ can be talked to now."""
        return self._connected.is_set()

    async def open(self, *, within_s: float) -> None:
        """Return once connected; from then on losses are made good in the background.

        Raises:
            BrokerUnavailableError: not connected in time; it names the last cause.
        """
        if self._keeper is None:
            self._lose("not connected yet")
            self._keeper = asyncio.create_task(self._keep(), name=f"connection {self._name}")
            self._keeper.add_done_callback(tell_if_failed)
        await self._wait(within_s)

    async def close(self) -> None:
        """Close for good; open channels end with it."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None
        self._lose("closed")
        await self._drop()

    async def channel(self, *, confirms: bool, within_s: float) -> Channel:
        """Return a new channel; with `confirms`, unroutable messages raise at their publisher.

        Raises:
            BrokerUnavailableError: there has been no connection for `within_s` seconds.
        """
        await self._wait(within_s)
        wire = self._wire()
        with broker_errors("open a channel"):
            channel = await wire.channel(
                publisher_confirms=confirms, on_return_raises=confirms, timeout=CHANNEL_TIMEOUT_S
            )
        if not isinstance(channel, Channel):
            raise TypeError("The AMQP library opened an unknown kind of channel.")
        return channel

    async def channel_made_by(self, make: Callable[[Wire, int], C], *, within_s: float) -> C:
        """Return a new channel of the caller's own kind, made for its connection and number.

        Raises:
            BrokerUnavailableError: there has been no connection for `within_s` seconds.
        """
        await self._wait(within_s)
        wire = self._wire()
        number = max(wire.channels, default=0) + 1
        wire.channels[number] = channel = make(wire, number)
        with broker_errors("open a channel"):
            await channel.open(timeout=CHANNEL_TIMEOUT_S)
        return channel

    def _wire(self) -> Wire:
        connection = self._connection
        if connection is None or connection.transport is None:
            raise BrokerUnavailableError(self._cause)
        return connection.transport.connection

    async def _wait(self, within_s: float) -> None:
        """Wait for a connection that is being made; one long lost is not waited for again."""
        if self._connected.is_set():
            return
        try:
            async with asyncio.timeout_at(self._lost_at + within_s):
                await self._connected.wait()
        except TimeoutError:
            raise BrokerUnavailableError(self._cause) from None

    def _lose(self, cause: str) -> None:
        self._connected.clear()
        self._lost_at = asyncio.get_running_loop().time()
        self._cause = cause

    async def _keep(self) -> None:
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(BrokerUnavailableError),
            wait=wait_growing(multiplier=0.1, max=self._pause_cap_s),
            sleep=self._sleep,
            before_sleep=self._remember,
        )
        while True:
            self._connection = await retrying(self._connect)
            closing = self._wire().closing
            self._connected.set()
            await asyncio.wait([closing])
            self._lose("the connection was lost")
            await self._drop()
            # All processes lose it at once; and a broker that hangs up at once is left in peace.
            await self._sleep(LOST_PAUSE_S * (0.5 + random.random()))  # noqa: S311 - no secret

    def _remember(self, attempt: RetryCallState) -> None:
        error = attempt.outcome.exception() if attempt.outcome is not None else None
        if isinstance(error, BrokerUnavailableError):
            self._cause = error.detail

    async def _connect(self) -> aio_pika.abc.AbstractConnection:
        with broker_errors("connect"):
            return await aio_pika.connect(
                self._url,
                timeout=self._connect_timeout_s,
                client_properties={"connection_name": self._name},
            )

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            # The library waits for what it has still to write, for minutes where nobody reads.
            with suppress(BrokerUnavailableError), broker_errors("close the connection"):
                async with asyncio.timeout(CLOSE_WITHIN_S):
                    await connection.close()
