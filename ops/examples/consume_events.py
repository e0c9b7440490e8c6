"""Takes payout events, each of them once; needs only aio-pika. Copy it into your own project.

Usage: AMQP_URL=amqp://user:password@host/ python consume_events.py books.sqlite
"""

import asyncio
import json
import os
import sqlite3
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import aio_pika

EXCHANGE = "payouts.events"
QUEUE = "accounting.payouts"  # Yours: each consumer has its own.
DEAD = "accounting.payouts.dead"
TYPES = ("payout.succeeded", "payout.failed", "payout.rejected")
PREFETCH = 100


class Books:
    """Downstream's own database: what was paid, and which events it has already taken."""

    def __init__(self, path: Path | str) -> None:
        """Opens or makes the database."""
        self._database = sqlite3.connect(path)
        self._database.executescript(
            "CREATE TABLE IF NOT EXISTS taken (event_id TEXT PRIMARY KEY);"
            "CREATE TABLE IF NOT EXISTS payouts (payout_id TEXT, type TEXT, amount TEXT);"
        )

    def take(self, event: dict[str, Any]) -> bool:
        """Applies an event and remembers its id in one transaction; False if it came before."""
        with self._database:
            fresh = self._database.execute(
                "INSERT OR IGNORE INTO taken VALUES (?)", (event["id"],)
            ).rowcount
            if fresh:
                self._database.execute(
                    "INSERT INTO payouts VALUES (?, ?, ?)",
                    (event["subject"], event["type"], event["data"]["amount"]),
                )
        return bool(fresh)

    def rows(self) -> list[tuple[str, str, str]]:
        """Returns payout id, type of event and amount of everything taken."""
        return self._database.execute("SELECT * FROM payouts").fetchall()

    def close(self) -> None:
        """Closes the database."""
        self._database.close()


async def declare(channel: aio_pika.abc.AbstractChannel) -> aio_pika.abc.AbstractQueue:
    """Makes the queue and its bindings; what cannot be taken goes to a queue of its own."""
    await channel.declare_queue(DEAD, durable=True, arguments={"x-queue-type": "quorum"})
    queue = await channel.declare_queue(
        QUEUE,
        durable=True,
        arguments={
            "x-queue-type": "quorum",
            "x-delivery-limit": 20,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": DEAD,
        },
    )
    for event_type in TYPES:
        await queue.bind(EXCHANGE, event_type)
    return queue


async def consume(amqp_url: str, books: Books, *, until: asyncio.Event) -> None:
    """Takes events until told to stop; an event is acknowledged only when the books have it."""
    connection = await aio_pika.connect_robust(amqp_url)
    async with connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=PREFETCH)
        queue = await declare(channel)

        async def take(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            # Acknowledged on return, given back on error: RabbitMQ then delivers it again.
            async with message.process(requeue=True):
                books.take(json.loads(message.body))

        tag = await queue.consume(take)
        await until.wait()
        await queue.cancel(tag)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):  # What is not acknowledged comes again.
        asyncio.run(
            consume(os.environ["AMQP_URL"], Books(Path(sys.argv[1])), until=asyncio.Event())
        )
