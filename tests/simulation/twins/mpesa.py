"""M-PESA's side of the twin: takes or refuses, pays once per id, and tells Results as it likes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final

from payouts.domain.answers import (
    Answer,
    BrokerAnswer,
    BrokerRecord,
    QueueTimeout,
    Response,
    Result,
    TransactionStatus,
)
from payouts.domain.payout import Payout
from payouts.domain.values import OriginatorConversationId, TransactionId
from tests.simulation.seams import Far, GatewayFaults, GatewayWatch, TellResult, TellTimeout
from tests.simulation.twins.ledger import FLOAT_MINOR, Conversation, Ledger, Stand
from tests.simulation.twins.sayings import (
    AMBIGUOUS_CODES,
    BROKER_CODE_LENGTH,
    CACHED,
    CONFIGURATION_CODES,
    CORE_ERROR,
    DUPLICATE,
    FAILED_CODES,
    FINAL_CODES,
    FLOAT_EMPTY,
    NOT_FOUND,
    RETRY_CODES,
    contrary,
    http_error,
)
from tests.simulation.twins.waiting import rest

RESENDS: Final = 3
QUEUE_S: Final = 20.0
LIE_S: Final = 1.0
_UNDER_WAY: Final = frozenset({Stand.ACCEPTED, Stand.QUEUED})

Reply = Callable[[Answer], None]


class Mpesa(Ledger):
    """The far side: its ledger is the truth.

    Args:
        far: true time and chance.
        faults: what it does wrong at this moment.
        watch: hears what truly happens.
        tell_result, tell_timeout: bring a Result or a notice to some callback server, and tell
            whether it was acknowledged; if not, it is sent again a few times.
        float_minor: what each short code has to begin with.
    """

    def __init__(
        self,
        far: Far,
        faults: GatewayFaults,
        watch: GatewayWatch,
        tell_result: TellResult,
        tell_timeout: TellTimeout,
        *,
        float_minor: int = FLOAT_MINOR,
    ) -> None:
        super().__init__(float_minor)
        self.far = far
        self.faults = faults
        self._watch = watch
        self._tell_result = tell_result
        self._tell_timeout = tell_timeout
        self._telling: dict[asyncio.Task[None], None] = {}
        self._on_the_way: Counter[str] = Counter()
        self._pending = 0
        self._queries: set[str] = set()
        self._acknowledged: list[Result] = []

    def is_alive(self, own_id: str) -> bool:
        """Tell whether a request of this id is on its way, is worked on, or was paid."""
        if self._on_the_way.get(own_id):
            return True
        return any(
            one.stand in {Stand.QUEUED, Stand.ACCEPTED, Stand.PAID}
            for one in self.taken.get(own_id, ())
        )

    def busy(self) -> bool:
        """Tell whether something is on its way or has to be told yet."""
        return self._pending > 0 or bool(self._telling)

    def later(self, delay_s: float, act: Callable[[], None]) -> None:
        """Do something after a delay; until then it is busy."""
        self._pending += 1

        def done() -> None:
            self._pending -= 1
            act()

        self.far.after(delay_s, done)

    def leave(self, own_id: str, delay_s: float, arrive: Callable[[], None]) -> None:
        """Let a payment request go its way; it is alive until it has arrived, or is lost."""
        self._on_the_way[own_id] += 1

        def arrived() -> None:
            self._on_the_way[own_id] -= 1
            arrive()

        self.later(delay_s, arrived)

    def way_s(self) -> float:
        """Return how long a message takes to arrive."""
        return self.far.random.random() * self.faults.latency_s

    def chance(self, share: float) -> bool:
        """Draw whether something happens that happens in this share of the cases."""
        return share > 0.0 and self.far.random.random() < share

    def pick(self, codes: Sequence[str]) -> str:
        """Draw one of some codes."""
        return codes[int(self.far.random.random() * len(codes))]

    def take_payment(self, payout: Payout, reply: Reply) -> None:
        """Treat a payment request that has arrived; `reply` is called at most once."""
        faults = self.faults
        own_id = payout.originator_conversation_id
        self._watch.arrived(own_id, amount_minor=payout.amount_minor, receiver=payout.msisdn)
        if self.chance(faults.error_before):
            reply(http_error())
            return
        refusal = self._refusal()
        if refusal:
            self._answer(own_id, refusal, None, reply)
        elif self.chance(faults.ambiguous):
            self._be_ambiguous(payout, reply)
        elif not faults.forgets and self.known(own_id) is not None:
            self._answer(own_id, DUPLICATE, None, reply)
        elif self.chance(faults.queued):
            self._queue(payout, reply)
        else:
            self._accept(payout, reply)

    def take_query(self, payout: Payout, query_id: OriginatorConversationId, reply: Reply) -> None:
        """Treat a TransactionStatusQuery: answered at once, its Result comes later."""
        if self.chance(self.faults.error_before):
            reply(http_error())
            return
        if query_id in self._queries:
            self._answer(query_id, DUPLICATE, None, reply)
            return
        self._queries.add(query_id)
        conversation_id = self.next_conversation_id()
        reply(
            Response(
                code="0",
                description="Accepted.",
                conversation_id=conversation_id,
                originator_conversation_id=query_id,
            )
        )
        fails = self.chance(self.faults.asks_fail)
        if fails and self.chance(0.5):
            return  # Nothing is ever heard of it.

        def tell() -> None:
            found = self._status(payout)
            if fails:
                found = Result(code=CORE_ERROR, description="System internal error.")
            told = replace(
                found, originator_conversation_id=query_id, conversation_id=conversation_id
            )
            self._tell(told)

        self.later(self.way_s() + self._delay_s(), tell)

    def look_up(self, payout: Payout) -> BrokerAnswer:
        """Return what the broker has logged of a payout's id."""
        if self.chance(self.faults.asks_fail):
            if self.chance(0.5):
                return http_error()
            return BrokerRecord(response=Response(code="100000004", description="Error."))
        own_id = payout.originator_conversation_id
        found = self.conversations.get(own_id)
        log = self.logs.get(own_id)
        success = Response(code="00000000", description="Success.")
        hidden = found is not None and found.stand in _UNDER_WAY
        if log is None or (hidden and self.chance(self.faults.not_found_wrongly)):
            return BrokerRecord(response=success)
        return BrokerRecord(
            response=success,
            requests=log.requests,
            responses=tuple(log.responses),
            results=tuple(log.results),
            queue_timeouts=log.queue_timeouts,
        )

    def _refusal(self) -> str:
        faults = self.faults
        if self.chance(faults.refuse_final):
            return self.pick(FINAL_CODES)
        if self.chance(faults.refuse_retry):
            return self.pick(RETRY_CODES)
        return self.pick(CONFIGURATION_CODES) if self.chance(faults.refuse_configuration) else ""

    def _be_ambiguous(self, payout: Payout, reply: Reply) -> None:
        code = self.pick(AMBIGUOUS_CODES)
        own_id = payout.originator_conversation_id
        if self.chance(0.5) and (self.faults.forgets or self.known(own_id) is None):
            conversation = self.open(payout, Stand.ACCEPTED)
            self._begin(conversation)
        # A code that stands for another answer is logged as it was said.
        self._answer(own_id, code, None, reply)

    def _accept(self, payout: Payout, reply: Reply) -> None:
        conversation = self.open(payout, Stand.ACCEPTED)
        if self.chance(self.faults.result_early):
            self._end(conversation, early=True)
            self.later(
                self.faults.latency_s + self.way_s(),
                lambda: self._answer(conversation.own_id, "0", conversation, reply),
            )
            return
        self._begin(conversation)
        self._answer(conversation.own_id, "0", conversation, reply)

    def _queue(self, payout: Payout, reply: Reply) -> None:
        conversation = self.open(payout, Stand.QUEUED)
        self._answer(conversation.own_id, CACHED, conversation, reply)
        expires = self.chance(self.faults.queue_timeout)

        def leave_queue() -> None:
            if not expires:
                conversation.stand = Stand.ACCEPTED
                self._begin(conversation)
                return
            conversation.stand = Stand.EXPIRED
            self._watch.declined(conversation.own_id)
            self.log(conversation.own_id).queue_timeouts += 1
            notice = QueueTimeout(originator_conversation_id=conversation.own_id)
            self._spawn(self._until_acknowledged(lambda: self._tell_timeout(notice)))

        self.later(self.far.random.random() * QUEUE_S, leave_queue)

    def _answer(
        self,
        own_id: OriginatorConversationId,
        code: str,
        conversation: Conversation | None,
        reply: Reply,
    ) -> None:
        """Log the Response that is due, then send it, or what becomes of it on its way."""
        by_core = len(code) < BROKER_CODE_LENGTH
        response = Response(
            code=code,
            description=f"Code {code}.",
            conversation_id=conversation.conversation_id if conversation else None,
            originator_conversation_id=own_id if by_core or conversation else None,
        )
        self.log(own_id).answered(response)
        if conversation is not None and self.chance(self.faults.error_after):
            reply(http_error())
        else:
            reply(response)

    def _begin(self, conversation: Conversation) -> None:
        lag_s = self.far.random.random() * self.faults.lag_s if self.faults.lag_s else 0.0
        self.later(lag_s + self.way_s(), lambda: self._end(conversation, early=False))

    def _end(self, conversation: Conversation, *, early: bool) -> None:
        """Pay or decline, for good; then tell, or not."""
        unclear = self.chance(self.faults.result_ambiguous)
        if self.chance(self.faults.result_failed) or (unclear and self.chance(0.5)):
            self.decline(conversation, self.pick(FAILED_CODES))
        elif not self.pay(conversation, self.far.now()):
            self.decline(conversation, FLOAT_EMPTY)
        if conversation.stand is Stand.PAID:
            self._watch.paid(
                conversation.own_id,
                amount_minor=conversation.amount_minor,
                receiver=conversation.receiver,
                receipt=conversation.receipt or "",
            )
        else:
            self._watch.declined(conversation.own_id)
        first_s = 0.0 if early else self._delay_s()
        told = self._results(conversation, unclear=unclear)
        for later_s, result in told:
            self._tell_after(first_s + later_s, result)
        true = self.result_of(conversation)
        if told == [(0.0, true)] and self.chance(self.faults.result_contradicts):
            self._lie_later(true)

    def _results(self, conversation: Conversation, *, unclear: bool) -> list[tuple[float, Result]]:
        """Return what is told of an end, each with how long after the first."""
        faults = self.faults
        true = self.result_of(conversation)
        if self.chance(faults.result_never):
            return []
        told = [(0.0, true)]
        if unclear:
            vague = replace(true, code=CORE_ERROR, amount_minor=None, transaction_id=None)
            told = [(0.0, vague)]
            if self.chance(0.5):
                told.append((self._delay_s(), true))
        elif self.chance(faults.result_mismatch) and true.code == "0":
            told = [(0.0, replace(true, amount_minor=conversation.amount_minor + 100))]
        if self.chance(faults.result_twice):
            told.append((self._delay_s(), told[-1][1]))
        return told

    def _lie_later(self, true: Result) -> None:
        """Say the contrary, but only once the truth was acknowledged: it always comes first."""

        def lie() -> None:
            if true in self._acknowledged:
                self._tell(contrary(true))

        self.later(self.faults.result_late_s + self._delay_s() + LIE_S, lie)

    def result_of(self, conversation: Conversation) -> Result:
        """Return the true Result of a request that has ended."""
        paid = conversation.stand is Stand.PAID
        return Result(
            code="0" if paid else conversation.code,
            description="Processed." if paid else "Declined.",
            originator_conversation_id=conversation.own_id,
            conversation_id=conversation.conversation_id,
            transaction_id=conversation.receipt or TransactionId("UKU0000000"),
            amount_minor=conversation.amount_minor if paid else None,
            receiver=conversation.receiver if paid else None,
            utility_balance_minor=conversation.balance_minor if paid else None,
        )

    def _status(self, payout: Payout) -> Result:
        """Return what the core knows of a payment at this moment."""
        own_id = payout.originator_conversation_id
        found = self.conversations.get(own_id)
        unknown = found is None or found.stand in {Stand.QUEUED, Stand.EXPIRED}
        if found is not None and found.stand is Stand.ACCEPTED:
            unknown = self.chance(max(self.faults.not_found_wrongly, self.faults.lag_unseen))
        if found is None or unknown:
            return Result(code=NOT_FOUND, description="The transaction does not exist.")
        status = {
            Stand.PAID: TransactionStatus.COMPLETED,
            Stand.DECLINED: TransactionStatus.DECLINED,
        }.get(found.stand, TransactionStatus.UNDER_WAY)
        return Result(
            code="0",
            description="Processed.",
            transaction_id=found.receipt,
            amount_minor=found.amount_minor,
            receiver=found.receiver,
            status=status,
            subject_originator_conversation_id=own_id,
        )

    def _delay_s(self) -> float:
        return self.far.random.random() * self.faults.result_late_s

    def _tell_after(self, delay_s: float, result: Result) -> None:
        def tell() -> None:
            log = self.log(result.originator_conversation_id or "")
            if result not in log.results:
                log.results.append(result)
            self._tell(result)

        self.later(delay_s + self.way_s(), tell)

    def _tell(self, result: Result) -> None:
        async def told() -> bool:
            acknowledged = await self._tell_result(result)
            if acknowledged:
                self._acknowledged.append(result)
            return acknowledged

        self._spawn(self._until_acknowledged(told))

    def _spawn(self, telling: Awaitable[None]) -> None:
        task = asyncio.ensure_future(telling)
        self._telling[task] = None
        task.add_done_callback(lambda done: self._telling.pop(done, None))

    async def _until_acknowledged(self, tell: Callable[[], Awaitable[bool]]) -> None:
        """Send a callback until it is acknowledged, a few times, then give it up."""
        for repeat in range(RESENDS + 1):
            if await tell():
                return
            if repeat < RESENDS:
                await rest(self.far, 2.0**repeat)
