"""The twin of the gateway's client: one per process, over one `Mpesa` for all.

    mpesa = Mpesa(far, faults, watch, tell_result, tell_timeout)
    gateway = TwinGateway(mpesa)

`may_send` is asked in the step in which the bytes leave; from then on the request goes its way,
whatever becomes of the sender. No method raises for what the other side does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

from payouts.domain.answers import (
    Answer,
    BrokerAnswer,
    NotSent,
    NotSentCause,
    OutcomeUnknown,
    UnknownCause,
)
from payouts.domain.payout import Payout
from payouts.domain.values import AccountName, OriginatorConversationId
from tests.simulation.twins.mpesa import Mpesa, Reply
from tests.simulation.twins.waiting import rest

__all__ = ["Mpesa", "TwinGateway", "TwinPace"]

_LOST: Final = OutcomeUnknown(cause=UnknownCause.CONNECTION_LOST, description="Reset.")
_LATE: Final = OutcomeUnknown(cause=UnknownCause.TIMEOUT, description="Timed out.")
_UNCONNECTED: Final = NotSent(cause=NotSentCause.CONNECT, description="Refused.")
_FENCED: Final = NotSent(
    cause=NotSentCause.FENCED, description="This worker may not send any more."
)

T = TypeVar("T")


class TwinGateway:
    """A `Gateway`."""

    def __init__(self, mpesa: Mpesa) -> None:
        self._mpesa = mpesa

    async def submit(self, payout: Payout, *, may_send: Callable[[], bool]) -> Answer:
        """Send the payment once, if `may_send` holds in the instant before its first byte."""
        mpesa, own_id = self._mpesa, payout.originator_conversation_id
        return await self._ask(
            lambda reply: mpesa.take_payment(payout, reply),
            may_send,
            lambda delay_s, act: mpesa.leave(own_id, delay_s, act),
        )

    async def ask_core(
        self, payout: Payout, query_id: OriginatorConversationId, *, may_send: Callable[[], bool]
    ) -> Answer:
        """Send a TransactionStatusQuery; what it finds comes later, as a Result of `query_id`."""
        mpesa = self._mpesa
        return await self._ask(
            lambda reply: mpesa.take_query(payout, query_id, reply), may_send, mpesa.later
        )

    async def ask_broker(self, payout: Payout) -> BrokerAnswer:
        """Look the payout up in the broker's log; it moves no money."""
        if not await self._connect():
            return _UNCONNECTED
        mpesa = self._mpesa
        answer: asyncio.Future[BrokerAnswer] = asyncio.get_running_loop().create_future()
        lost = mpesa.chance(mpesa.faults.lost_request) or mpesa.chance(mpesa.faults.lost_answer)

        def arrive() -> None:
            found = _LOST if lost or mpesa.faults.away else mpesa.look_up(payout)
            mpesa.later(mpesa.way_s(), lambda: _resolve(answer, found))

        mpesa.later(mpesa.way_s(), arrive)
        return await answer

    def can_ask_broker(self, account: AccountName) -> bool:  # noqa: ARG002 - all or none
        """Tell whether the broker's log can be asked for this account."""
        return self._mpesa.faults.can_ask_broker

    async def probe(self, account: AccountName) -> bool:  # noqa: ARG002 - one gateway for all
        """Tell whether the gateway can be connected to."""
        return await self._connect()

    async def _ask(
        self,
        take: Callable[[Reply], None],
        may_send: Callable[[], bool],
        leave: Callable[[float, Callable[[], None]], None],
    ) -> Answer:
        if not await self._connect():
            return _UNCONNECTED
        if not may_send():
            return _FENCED
        # From here on nothing waits until the request is on its way.
        mpesa, faults = self._mpesa, self._mpesa.faults
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        lost_request = mpesa.chance(faults.lost_request)
        lost_answer = mpesa.chance(faults.lost_answer)

        def reply(said: Answer) -> None:
            told = _LOST if lost_answer or mpesa.faults.away else said
            mpesa.later(mpesa.way_s(), lambda: _resolve(answer, told))

        def arrive() -> None:
            if lost_request or mpesa.faults.away:
                mpesa.later(mpesa.way_s(), lambda: _resolve(answer, _LOST))
            else:
                take(reply)

        if mpesa.chance(faults.slow):
            mpesa.later(faults.timeout_s, lambda: _resolve(answer, _LATE))
            late_s = faults.timeout_s + mpesa.far.random.random() * faults.slow_s
            leave(late_s, lambda: None if lost_request else take(_unheard))
        else:
            leave(mpesa.way_s(), arrive)
        return await answer

    async def _connect(self) -> bool:
        """Try to connect, which takes its time; tell whether it came about."""
        mpesa = self._mpesa
        connected: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        fails = mpesa.chance(mpesa.faults.unconnected)
        mpesa.later(mpesa.way_s(), lambda: _resolve(connected, not (fails or mpesa.faults.away)))
        return await connected


class TwinPace:
    """A `Pace` that all processes share: turns of an account are at least `spacing_s` apart.

    Args:
        mpesa: whose time it goes by.
        spacing_s: 0 lets everybody go at once, though not in the same step.
    """

    def __init__(self, mpesa: Mpesa, spacing_s: float = 0.0) -> None:
        self._far = mpesa.far
        self._spacing_s = spacing_s
        self._next: dict[AccountName, float] = {}

    async def turn(self, account: AccountName) -> None:
        """Return when the next request of this account may be sent."""
        now = self._far.now().timestamp()
        at = max(now, self._next.get(account, now))
        self._next[account] = at + self._spacing_s
        await rest(self._far, at - now)

    def slow_down(self, account: AccountName) -> None:
        """Let the account rest for ten turns."""
        now = self._far.now().timestamp()
        rested = max(now, self._next.get(account, now)) + 10 * self._spacing_s
        self._next[account] = rested


def _resolve(answer: asyncio.Future[T], said: T) -> None:
    if not answer.done():
        answer.set_result(said)


def _unheard(_: Answer) -> None:
    """The client has given up; nobody hears this answer."""
