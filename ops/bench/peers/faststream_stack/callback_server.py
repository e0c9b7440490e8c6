"""The callback server beside FastStream's worker: UPDATE, publish with a confirm, answer."""

import asyncio
import os
import signal
from datetime import UTC, datetime
from urllib.parse import urlsplit
from uuid import uuid4

import uvloop
from aiohttp import web
from faststream.rabbit import Channel, ExchangeType, RabbitBroker, RabbitExchange
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from ops.bench.bare.wire import ACKNOWLEDGEMENT
from ops.bench.peers.results import event_of, result_of
from ops.bench.peers.table import ENDED, address, create

BODY_LIMIT = 256 * 1024
DATABASE_CONNECTIONS = 20


def application(engine: AsyncEngine, broker: RabbitBroker) -> web.Application:
    """Returns the server's one route."""
    events = RabbitExchange(
        os.environ["BENCH_EVENTS_EXCHANGE"], type=ExchangeType.TOPIC, declare=False
    )

    async def take(request: web.Request) -> web.Response:
        result = result_of(await request.read())
        async with engine.begin() as connection:
            payout = (await connection.execute(ENDED, result.row())).one_or_none()
        if payout is not None:
            event_id, now = str(uuid4()), datetime.now(UTC)
            await broker.publish(
                event_of(result, payout, event_id=event_id, now=now),
                exchange=events,
                routing_key=result.kind,
                mandatory=True,
                persist=True,
                message_id=event_id,
                correlation_id=payout[0],
                message_type=result.kind,
                timestamp=now,
                content_type="application/cloudevents+json",
            )
        return web.Response(body=ACKNOWLEDGEMENT, content_type="text/xml")

    app = web.Application(client_max_size=BODY_LIMIT)
    app.router.add_post(urlsplit(os.environ["BENCH_RESULT_URL"]).path, take)
    return app


async def main() -> None:
    """Serves until SIGTERM."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    engine = create_async_engine(
        address(os.environ["BENCH_DATABASE_URL"], "asyncpg"),
        pool_size=DATABASE_CONNECTIONS,
        max_overflow=0,
    )
    async with engine.begin() as connection:
        await connection.run_sync(create)
    confirmed = Channel(publisher_confirms=True, on_return_raises=True)
    async with RabbitBroker(
        os.environ["BENCH_AMQP_URL"], default_channel=confirmed, logger=None
    ) as broker:
        await broker.start()
        runner = web.AppRunner(application(engine, broker), access_log=None)
        await runner.setup()
        host, port = os.environ["BENCH_CALLBACK_HOST"], int(os.environ["BENCH_CALLBACK_PORT"])
        await web.TCPSite(runner, host, port).start()
        print("ready", flush=True)
        await stopping.wait()
        await runner.cleanup()
    await engine.dispose()


if __name__ == "__main__":
    uvloop.run(main())
