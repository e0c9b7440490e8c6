"""The bare callback server: parse the Result, publish the event with a confirm, answer."""

import asyncio
import json
import os
import signal
from datetime import UTC, datetime
from urllib.parse import urlsplit
from uuid import uuid4

import aio_pika
import uvloop
from aio_pika.abc import AbstractExchange
from aiohttp import web
from lxml import etree

from ops.bench.bare.wire import ACKNOWLEDGEMENT, inner

BODY_LIMIT = 256 * 1024


def event_of(result: "etree._Element", prefix: str) -> tuple[str, aio_pika.Message]:
    """Returns the routing key and the message of a Result's event."""
    originator = (result.findtext("{*}OriginatorConversationID") or "").strip()
    code = (result.findtext("{*}ResultCode") or "").strip()
    payout_id = originator.removeprefix(prefix)
    kind = "payout.failed" if code.strip("0") else "payout.succeeded"
    now = datetime.now(UTC)
    event_id = str(uuid4())
    event = {
        "specversion": "1.0",
        "id": event_id,
        "source": "bare",
        "type": kind,
        "subject": payout_id,
        "time": now.isoformat(),
        "datacontenttype": "application/json",
        "data": {
            "payout_id": payout_id,
            "originator_conversation_id": originator,
            "conversation_id": result.findtext("{*}ConversationID"),
            "transaction_id": result.findtext("{*}TransactionID"),
            "result_code": code,
            "description": result.findtext("{*}ResultDesc"),
        },
    }
    return kind, aio_pika.Message(
        json.dumps(event).encode(),
        content_type="application/cloudevents+json",
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        message_id=event_id,
        correlation_id=payout_id,
        type=kind,
        timestamp=now,
    )


def application(exchange: AbstractExchange) -> web.Application:
    """Returns the server's one route."""
    prefix = f"{os.environ['BENCH_SHORTCODE']}_{os.environ['BENCH_ORGANISATION']}_"

    async def take(request: web.Request) -> web.Response:
        kind, message = event_of(inner(await request.read(), "ResultMsg"), prefix)
        await exchange.publish(message, routing_key=kind)
        return web.Response(body=ACKNOWLEDGEMENT, content_type="text/xml")

    app = web.Application(client_max_size=BODY_LIMIT)
    app.router.add_post(urlsplit(os.environ["BENCH_RESULT_URL"]).path, take)
    return app


async def main() -> None:
    """Serves until SIGTERM."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    async with await aio_pika.connect_robust(os.environ["BENCH_AMQP_URL"]) as connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        exchange = await channel.get_exchange(os.environ["BENCH_EVENTS_EXCHANGE"])
        runner = web.AppRunner(application(exchange), access_log=None)
        await runner.setup()
        host, port = os.environ["BENCH_CALLBACK_HOST"], int(os.environ["BENCH_CALLBACK_PORT"])
        await web.TCPSite(runner, host, port).start()
        print("ready", flush=True)
        await stopping.wait()
        await runner.cleanup()


if __name__ == "__main__":
    uvloop.run(main())
