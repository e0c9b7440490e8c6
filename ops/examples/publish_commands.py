"""Publishes payout commands; needs only aio-pika. Copy it into your own project.

Usage: AMQP_URL=amqp://user:password@host/ python publish_commands.py < commands.jsonl
"""

import asyncio
import json
import os
import sys
from collections import deque
from collections.abc import Iterable
from typing import Any

import aio_pika
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, DeliveryError, PublishError

EXCHANGE = "payouts.commands"
CONFIRMED_WITHIN_S = 10
TRIES = 5


async def publish_all(amqp_url: str, commands: Iterable[dict[str, Any]]) -> int:
    """Returns how many commands lie durably in their account's queue: all of them.

    A command whose confirm is lost may lie in the queue or not. It is published again as it is:
    its `payout_id` sees to it that it is paid once.
    """
    waiting = deque(commands)
    count = len(waiting)
    for attempt in range(1, TRIES + 1):
        try:
            connection = await aio_pika.connect(amqp_url)
            async with connection:
                # Confirms are on by default; a message that no queue takes raises.
                channel = await connection.channel(on_return_raises=True)
                exchange = await channel.get_exchange(EXCHANGE)
                while waiting:
                    await _publish(exchange, waiting[0])
                    waiting.popleft()  # Only now has RabbitMQ said that it has it.
        except PublishError:
            raise  # No queue for this account: trying again does not help.
        except (DeliveryError, TimeoutError, *CONNECTION_EXCEPTIONS):
            if attempt == TRIES:
                raise
            await asyncio.sleep(attempt)
        else:
            break
    return count


async def _publish(exchange: aio_pika.abc.AbstractExchange, command: dict[str, Any]) -> None:
    message = aio_pika.Message(
        json.dumps(command).encode(),
        content_type="application/json",
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        message_id=command["payout_id"],
    )
    # The routing key is the account that pays.
    await exchange.publish(
        message, command.get("account") or "default", mandatory=True, timeout=CONFIRMED_WITHIN_S
    )


if __name__ == "__main__":
    lines = [json.loads(line) for line in sys.stdin if line.strip()]
    print(asyncio.run(publish_all(os.environ["AMQP_URL"], lines)), "published")
