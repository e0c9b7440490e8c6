"""The bare worker: consume, build the envelope, POST, parse, acknowledge."""

import asyncio
import json
import os
import signal

import aio_pika
import aiohttp
import uvloop
from aio_pika.abc import AbstractIncomingMessage

from ops.bench.bare.wire import Requests, inner

HEADERS = {"Content-Type": "text/xml;charset=UTF-8", "SOAPAction": '""'}


async def main() -> None:
    """Works until SIGTERM."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    concurrency = int(os.environ["BENCH_CONCURRENCY"])
    url = os.environ["BENCH_GATEWAY_URL"]
    requests = Requests()

    async def pay(message: AbstractIncomingMessage) -> None:
        async with message.process():
            command = json.loads(message.body)
            body = requests.build(command["payout_id"], command["amount"], command["msisdn"])
            async with session.post(url, data=body, headers=HEADERS) as answer:
                response = inner(await answer.read(), "ResponseMsg")
            code = response.findtext("{*}ResponseCode") or ""
            if not code or code.strip("0"):
                raise ValueError(f"refused: {code}")

    connector = aiohttp.TCPConnector(limit=concurrency)
    timeout = aiohttp.ClientTimeout(total=30)
    async with (
        aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
        await aio_pika.connect_robust(os.environ["BENCH_AMQP_URL"]) as connection,
    ):
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=concurrency)
        queue = await channel.get_queue(os.environ["BENCH_QUEUE"], ensure=False)
        tag = await queue.consume(pay)
        print("ready", flush=True)
        await stopping.wait()
        await queue.cancel(tag)


if __name__ == "__main__":
    uvloop.run(main())
