"""A request leaves at its slot: it is ready by then, and asks once more whether it may."""

from __future__ import annotations

import asyncio

import pytest
from gateway_bed import (
    SHORT,
    RawGateway,
    accept,
    always,
    client,
    never,
    raw_gateway,
)

from payouts.domain.answers import NotSent, NotSentCause
from payouts.domain.values import AccountName, OriginatorConversationId
from payouts.mpesa import gate
from tests.fixtures.mpesa.messages import payout


class Slots:
    """Tells what happened at each slot; the test decides when it comes, and what it says."""

    def __init__(self, gateway: RawGateway, *, says: bool = True) -> None:
        self.gateway = gateway
        self.says = says
        self.asked: list[tuple[AccountName, int, int]] = []
        self.reached = asyncio.Event()
        self.comes = asyncio.Event()

    async def leave(self, account: AccountName) -> bool:
        """Wait for the slot; note how many connections and requests there are by then."""
        self.reached.set()
        await self.comes.wait()
        self.asked.append((account, self.gateway.connections, len(self.gateway.requests)))
        return self.says


async def test_a_request_waits_for_its_slot_on_a_connection_that_stands() -> None:
    """No byte of it is written before, and nothing but the writing is left to do.

    Proved by waiting before the connection is there, and by not waiting.
    """
    async with raw_gateway(accept) as gateway:
        slots = Slots(gateway)
        async with client(gateway.url(), leave=slots.leave) as soap:
            sending = asyncio.create_task(soap.submit(payout(), may_send=always))
            await slots.reached.wait()
            slots.comes.set()
            await sending
    assert slots.asked == [(AccountName("default"), 1, 0)]
    assert len(gateway.requests) == 1


async def test_without_a_slot_nothing_is_sent() -> None:
    """It is certain that nothing was: the payout is sent later, under the same id.

    Proved by sending all the same.
    """
    async with raw_gateway(accept) as gateway:
        slots = Slots(gateway, says=False)
        slots.comes.set()
        async with client(gateway.url(), leave=slots.leave) as soap:
            answer = await soap.submit(payout(), may_send=always)
    assert isinstance(answer, NotSent)
    assert answer.cause is NotSentCause.FENCED
    assert gateway.requests == []


async def test_who_may_not_send_any_more_is_found_out_after_the_wait() -> None:
    """The lease may lapse while a request waits for its slot.

    Proved by asking before the wait.
    """
    async with raw_gateway(accept) as gateway:
        slots = Slots(gateway)
        async with client(gateway.url(), leave=slots.leave) as soap:
            holds = True
            sending = asyncio.create_task(soap.submit(payout(), may_send=lambda: holds))
            await slots.reached.wait()
            holds = False
            slots.comes.set()
            answer = await sending
    assert isinstance(answer, NotSent)
    assert gateway.requests == []


async def test_questions_wait_for_a_slot_too() -> None:
    """What counts at the gateway is every request to the short code."""
    async with raw_gateway(accept) as gateway:
        slots = Slots(gateway)
        slots.comes.set()
        async with client(gateway.url(), leave=slots.leave) as soap:
            await soap.ask_broker(payout())
            await soap.ask_core(payout(), OriginatorConversationId("q-1"), may_send=always)
            await soap.ask_core(payout(), OriginatorConversationId("q-2"), may_send=never)
    assert len(slots.asked) == 3
    assert len(gateway.requests) == 2


async def test_a_request_whose_time_runs_out_at_the_gate_is_not_sent_later() -> None:
    """The slot that comes afterwards finds it given up.

    Proved by looking for that before the wait alone.
    """
    async with raw_gateway(accept) as gateway:
        slots = Slots(gateway)
        async with client(gateway.url(), leave=slots.leave, timeouts=SHORT) as soap:
            answer = await soap.submit(payout(), may_send=always)
            slots.comes.set()
            await asyncio.sleep(0)
    assert isinstance(answer, NotSent)
    assert gateway.requests == []


async def test_what_was_given_up_while_it_waited_is_not_written() -> None:
    """Also where its writer goes on."""
    comes = asyncio.Event()

    async def leave() -> bool:
        await comes.wait()
        return True

    body = gate.GatedBody(b"x", always, leave=leave)
    writing = asyncio.create_task(body.write(_Writer()))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    body.abandon()
    comes.set()
    with pytest.raises(gate.HeldBackError):
        await writing
    assert body.passage is gate.Passage.CLOSED


class _Transport:
    def is_closing(self) -> bool:
        return False


class _Writer:
    """As much of aiohttp's writer as the gate looks at."""

    transport = _Transport()

    async def write(self, chunk: bytes) -> None:
        raise AssertionError(chunk)
