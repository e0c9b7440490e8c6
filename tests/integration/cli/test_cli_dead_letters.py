"""Dead letters by command, on a real broker: looked at, published again, discarded, audited."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aio_pika
import pytest
from cli_bed import RECEIVER, commands_in_queue, left_in_queue

from payouts.domain.values import AccountName
from payouts.messaging import (
    BrokerConnection,
    CommandConsumer,
    ConfirmedPublisher,
    DeadLetters,
    Delivery,
    Source,
    Topology,
)
from tests.command_line import Ran, payouts

pytestmark = pytest.mark.servers

WHY = ("--reason", "upstream was mended", "--operator", "jane")
YES = (*WHY, "--yes")
TOPOLOGY = Topology()
DEAD = "payouts.dead-letters"


class Queues:
    """Puts commands aside as a worker does, and looks into queues as anybody could."""

    def __init__(self, connection: BrokerConnection, channel: aio_pika.abc.AbstractChannel) -> None:
        self._connection = connection
        self._channel = channel
        self._publisher = ConfirmedPublisher(connection)
        self._dead = DeadLetters(self._publisher, TOPOLOGY)

    async def put_aside(self, *bodies: bytes, reason: str = "invalid", detail: str = "x") -> None:
        """Returns once these came to the default account and were put aside."""
        exchange = await self._channel.get_exchange("payouts.commands", ensure=False)
        done = asyncio.Event()
        left = len(bodies)

        async def handle(delivery: Delivery) -> None:
            nonlocal left
            await self._dead.put(delivery, reason=reason, detail=detail)
            left -= 1
            if not left:
                done.set()

        source = Source(topology=TOPOLOGY, account=AccountName("default"), prefetch=10)
        consumer = CommandConsumer(self._connection, source, handle)
        consumer.start()
        for body in bodies:
            headers: dict[str, Any] = {"x-trace": "abc"}
            message = aio_pika.Message(body, content_type="application/json", headers=headers)
            await exchange.publish(message, routing_key="default")
        async with asyncio.timeout(30):
            await done.wait()
        await consumer.stop(grace_s=5)

    async def bare(self, body: bytes) -> None:
        """Puts a message among the dead letters that does not tell where it came from."""
        exchange = await self._channel.get_exchange(DEAD, ensure=False)
        await exchange.publish(aio_pika.Message(body, message_id="m-1"), routing_key=DEAD)

    async def left(self) -> int:
        """Counts the dead letters that are ready, once none is in anybody's hands."""
        queue = await self._channel.get_queue(DEAD, ensure=False)
        found = []
        while (message := await queue.get(fail=False)) is not None:
            found.append(message)
        for message in found:
            await message.nack(requeue=True)
        return len(found)

    async def close(self) -> None:
        """Closes what is open."""
        await self._publisher.close()


@pytest.fixture
async def queues(amqp_url: str) -> AsyncIterator[Queues]:
    """Gives declared queues."""
    connection = BrokerConnection(amqp_url, name="test")
    await connection.open(within_s=10)
    await TOPOLOGY.declare(connection, [AccountName("default")])
    looking = await aio_pika.connect(amqp_url)
    async with looking:
        queues = Queues(connection, await looking.channel())
        yield queues
        await queues.close()
    await connection.close()


def body(payout_id: str, **fields: object) -> bytes:
    """Gives a command's body."""
    return json.dumps(
        {"payout_id": payout_id, "amount": "12.50", "msisdn": RECEIVER, **fields}
    ).encode()


async def listed(environ: dict[str, str], *arguments: str) -> list[dict[str, Any]]:
    """Gives the dead letters that a list tells."""
    ran = await payouts("dead-letters", "list", "--json", *arguments, environ=environ)
    assert ran.status == 0, ran
    found: list[dict[str, Any]] = ran.json
    return found


async def work(what: str, *arguments: str, environ: dict[str, str]) -> Ran:
    """Runs `payouts dead-letters`."""
    return await payouts("dead-letters", what, *arguments, environ=environ)


async def test_a_list_tells_why_and_leaves_everything_where_it_is(
    queues: Queues, sending: dict[str, str]
) -> None:
    """By reason and by payout; the id is the same at every look; a bound says that it cut."""
    await queues.put_aside(body("a-1"), body("a-2", amount=7), detail="amount: must be a text")
    await queues.put_aside(body("a-3"), reason="conflict", detail="another amount")
    first = await listed(sending)
    assert {one["id"] for one in await listed(sending)} == {one["id"] for one in first}
    by_payout = {one["payout_id"]: one["id"] for one in first}
    assert set(by_payout) == {"a-1", "a-2", "a-3"}
    assert {one["account"] for one in first} == {"default"}
    assert all(one["at"] for one in first)
    assert [one["id"] for one in await listed(sending, "--why", "conflict")] == [by_payout["a-3"]]
    assert [one["id"] for one in await listed(sending, "--payout-id", "a-2")] == [by_payout["a-2"]]
    cut = await work("list", "--limit", "2", environ=sending)
    assert len(cut.out.splitlines()) == 4
    assert "There may be more" in cut.err
    assert await queues.left() == 3


async def test_show_masks_receivers_unless_asked(queues: Queues, sending: dict[str, str]) -> None:
    """In bodies that can be read and in those that cannot; headers and detail are told."""
    odd = f'{{"payout_id": "a-2", "msisdn": "{RECEIVER}"'.encode()
    await queues.put_aside(body("a-1", remark=f"for {RECEIVER}"), odd, detail="why it is")
    found = {one["payout_id"]: one for one in await listed(sending)}
    readable, broken = found["a-1"], found[None]
    shown = await work("show", readable["id"], environ=sending)
    assert shown.status == 0
    for said in ("2547****5678", "why it is", "x-trace", '"amount": "12.50"'):
        assert said in shown.out
    told = (await work("show", broken["id"], "--json", environ=sending)).json
    assert told["payout_id"] is None
    assert '"msisdn": "****"' in told["body"]
    assert (await work("show", "0" * 12, environ=sending)).status == 1
    assert await queues.left() == 2


async def test_numbers_are_shown_when_asked_for(queues: Queues, sending: dict[str, str]) -> None:
    """With --show-numbers the body is told as it came."""
    number = "254700000001"
    await queues.put_aside(body("a-1", msisdn=number))
    (letter,) = await listed(sending)
    shown = await work("show", letter["id"], "--show-numbers", environ=sending)
    assert number in shown.out


async def test_a_replay_publishes_first_and_then_lets_go(
    queues: Queues, sending: dict[str, str]
) -> None:
    """Count and sum are asked; the command comes as it was, without what it gained among the dead.

    The audit names who ordered it.
    """
    await queues.put_aside(body("a-1"), body("a-2"), b"not json")
    asked = await work("replay", "--all", *WHY, environ=sending)
    assert asked.status == 2
    assert (
        "Publish again 3 dead letters (2 payouts, 25.00, 1 without a readable amount)?" in asked.err
    )
    assert await queues.left() == 3
    ran = await work("replay", "--payout-id", "a-2", "--json", *YES, environ=sending)
    assert ran.status == 0
    assert json.loads(ran.out)["payout_id"] == "a-2"
    assert await commands_in_queue(sending["PAYOUTS_AMQP_URL"], 1) == [json.loads(body("a-2"))]
    assert {one["payout_id"] for one in await listed(sending)} == {"a-1", None}
    line = (await payouts("audit", "list", "--json", environ=sending)).json[0]
    assert (line["action"], line["operator"]) == ("replay-dead-letter", "jane")
    assert line["details"] == {
        "account": "default",
        "payout": "a-2",
        "why it was put aside": "invalid",
    }


async def test_a_replayed_command_has_its_own_headers_only(
    queues: Queues, sending: dict[str, str]
) -> None:
    """Else a second burial would tell the first one's reason."""
    await queues.put_aside(body("a-1"))
    assert (await work("replay", "--all", *YES, environ=sending)).status == 0
    connection = await aio_pika.connect(sending["PAYOUTS_AMQP_URL"])
    async with connection:
        channel = await connection.channel()
        queue = await channel.get_queue("payouts.commands.default", ensure=False)
        message = await queue.get()
        assert message is not None
        assert {name for name in message.headers if name.startswith("x-payouts")} == set()
        assert message.headers["x-trace"] == "abc"
        await message.ack()


async def test_what_cannot_be_published_stays_a_dead_letter(
    queues: Queues, sending: dict[str, str]
) -> None:
    """An account without a queue; one that nobody knows, until --account says it.

    Proved by acknowledging before publishing: the dead letter was gone.
    """
    await queues.bare(body("a-1"))
    refused = await work("replay", "--all", *YES, environ=sending)
    assert refused.status == 1
    assert "--account NAME says it" in refused.out
    nowhere = await work("replay", "--all", "--account", "other", *YES, environ=sending)
    assert nowhere.status == 1
    assert "has no queue" in nowhere.out
    assert await queues.left() == 1
    done = await work("replay", "--all", "--account", "default", *YES, environ=sending)
    assert done.status == 0
    assert await queues.left() == 0
    assert await left_in_queue(sending["PAYOUTS_AMQP_URL"]) == 1


async def test_discard_takes_just_what_was_shown(queues: Queues, sending: dict[str, str]) -> None:
    """By id; equal messages are told as two and go together; the others stay."""
    await queues.put_aside(body("a-1"), body("a-2"))
    for _ in range(2):
        await queues.bare(b"the same twice")
    same = next(one["id"] for one in await listed(sending) if one["payout_id"] is None)
    assert (await work("discard", same, *WHY, environ=sending)).status == 2
    ran = await work("discard", same, *YES, environ=sending)
    assert ran.status == 0
    assert "2 dead letters discarded." in ran.err
    assert {one["payout_id"] for one in await listed(sending)} == {"a-1", "a-2"}
    assert (await work("discard", same, *YES, environ=sending)).status == 1


async def test_limits_bound_what_is_done_at_once(queues: Queues, sending: dict[str, str]) -> None:
    """So many go, and it is said that there is more."""
    await queues.put_aside(*(body(f"a-{number}") for number in range(5)))
    ran = await work("discard", "--all", "--limit", "3", *YES, environ=sending)
    assert ran.status == 0
    assert "There may be more" in ran.err
    assert len(await listed(sending)) == 2


async def test_without_a_worker_ever_there_is_no_queue(sending: dict[str, str]) -> None:
    """Exit 1, and what to do."""
    ran = await work("list", environ=sending)
    assert ran.status == 1
    assert "a worker declares it" in ran.err
