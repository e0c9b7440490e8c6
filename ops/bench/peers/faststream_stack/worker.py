"""FastStream's worker: INSERT, POST, UPDATE, acknowledge; many commands at once in one process."""

import os
from collections.abc import Awaitable, Callable
from decimal import Decimal

import aiohttp
import uvloop
from faststream import AckPolicy, FastStream
from faststream.rabbit import Channel, QueueType, RabbitBroker, RabbitQueue
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from ops.bench.bare.wire import Requests, inner
from ops.bench.peers.table import ANSWERED, INSERT, address, create

HEADERS = {"Content-Type": "text/xml;charset=UTF-8", "SOAPAction": '""'}
DATABASE_CONNECTIONS = 20


class Command(BaseModel):
    """What a message asks for."""

    payout_id: str
    amount: Decimal
    msisdn: str


def payment(
    engine: AsyncEngine, session: aiohttp.ClientSession
) -> Callable[[Command], Awaitable[None]]:
    """Returns what pays a command: once it returns, the gateway's answer is written down."""
    url = os.environ["BENCH_GATEWAY_URL"]
    prefix = f"{os.environ['BENCH_SHORTCODE']}_{os.environ['BENCH_ORGANISATION']}_"
    requests = Requests()

    async def pay(command: Command) -> None:
        intent = {**command.model_dump(), "originator": prefix + command.payout_id}
        async with engine.begin() as connection:
            if (await connection.execute(INSERT, intent)).rowcount == 0:
                return
        body = requests.build(command.payout_id, str(command.amount), command.msisdn)
        async with session.post(url, data=body) as answer:
            response = inner(await answer.read(), "ResponseMsg")
        code = (response.findtext("{*}ResponseCode") or "").strip()
        outcome = {
            "of": command.payout_id,
            "to": "accepted" if code and not code.strip("0") else "refused",
            "conversation": response.findtext("{*}ConversationID"),
            "answer": code,
        }
        async with engine.begin() as connection:
            await connection.execute(ANSWERED, outcome)

    return pay


async def announce() -> None:
    """Says that commands are consumed from now on."""
    print("ready", flush=True)


async def main() -> None:
    """Works until SIGTERM."""
    concurrency = int(os.environ["BENCH_CONCURRENCY"])
    engine = create_async_engine(
        address(os.environ["BENCH_DATABASE_URL"], "asyncpg"),
        pool_size=DATABASE_CONNECTIONS,
        max_overflow=0,
    )
    async with engine.begin() as connection:
        await connection.run_sync(create)
    # Unless told otherwise, FastStream logs each message twice; in production it is told.
    broker = RabbitBroker(os.environ["BENCH_AMQP_URL"], logger=None)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=concurrency),
        timeout=aiohttp.ClientTimeout(total=30),
        headers=HEADERS,
    ) as session:
        pay = payment(engine, session)

        @broker.subscriber(
            RabbitQueue(os.environ["BENCH_QUEUE"], queue_type=QueueType.QUORUM, declare=False),
            channel=Channel(prefetch_count=concurrency),
            # Acknowledged once it returns. Doing it by hand wants the message injected, which costs
            # a way through a thread for each; the outcome is the same.
            ack_policy=AckPolicy.NACK_ON_ERROR,
        )
        async def consume(command: Command) -> None:
            await pay(command)

        await FastStream(broker, logger=None, after_startup=[announce]).run()
    await engine.dispose()


if __name__ == "__main__":
    uvloop.run(main())
