"""The core: takes a request, moves the money a moment later, and has the Result sent."""

import datetime as dt
import math
import secrets
import uuid
from collections.abc import Callable
from statistics import NormalDist
from sys import intern

from ops.simulator import codes
from ops.simulator.books import Books
from ops.simulator.checks import Verdicts, cents
from ops.simulator.faults import Plan
from ops.simulator.queries import rebuilt_request
from ops.simulator.records import MARKET_TIME, Conversation, State
from ops.simulator.results import Deliveries
from ops.simulator.script import chance
from ops.simulator.settings import SimulatorSettings
from ops.simulator.timetable import Timetable
from ops.simulator.wire import Inner

_NORMAL = NormalDist()
_SMALLEST = 1e-12


class Core:
    """Guarantees that what it accepts ends once: paid, declined, or expired in the broker."""

    def __init__(
        self,
        settings: SimulatorSettings,
        books: Books,
        verdicts: Verdicts,
        deliveries: Deliveries,
        timetable: Timetable,
    ) -> None:
        self._settings = settings
        self._books = books
        self._verdicts = verdicts
        self._deliveries = deliveries
        self._timetable = timetable

    def resume(self, owed: list[Conversation]) -> None:
        """Guarantees that requests a killed simulator left unfinished go on, well-behaved."""
        for conversation in owed:
            plan = Plan(results=conversation.results)
            if conversation.state is State.EXPIRED:
                self._deliveries.send_timeout(conversation, rebuilt_request(conversation))
                continue
            if conversation.state in (State.QUEUED, State.ACCEPTED):
                self._settle(conversation)
            self._timetable.after(0.0, self._deliveries.deliver, conversation, plan)

    def conversation(self, inner: Inner, moment: float) -> Conversation:
        """Guarantees a new conversation with an id of its own, not yet in the books.

        What is the same in most requests is kept in memory once.
        """
        return Conversation(
            originator_conversation_id=inner.get("OriginatorConversationID"),
            conversation_id=self._conversation_id(moment),
            command_id=intern(inner.get("CommandID")),
            msisdn=inner.get("ReceiverParty/Identifier"),
            amount=cents(inner.parameters.get("Amount", "")),
            short_code=intern(inner.get("PrimaryParty/Identifier")),
            result_url=intern(inner.get("Caller/ResultURL")),
            timeout_url=intern(inner.reference("QueueTimeoutURL")),
            references=[(intern(key), intern(value)) for key, value in inner.references],
            accepted_at=moment,
        )

    def accept(self, inner: Inner, plan: Plan, moment: float, early: Callable[[], None]) -> str:
        """Guarantees that the payment is in the books and under way; returns its ConversationID.

        With a plan of `early`, `early` is called after the first Result.
        """
        conversation = self.conversation(inner, moment)
        verdict = self._verdicts.payment(inner)
        if verdict == "0":
            verdict = plan.result_code or "0"
            conversation.pays = plan.pays
        conversation.verdict = verdict
        conversation.results = plan.results
        conversation.status = plan.status
        conversation.hidden_until = moment + plan.hidden_s if plan.hidden_s else 0.0
        conversation.faults = plan.kinds
        if plan.queue:
            conversation.state = State.QUEUED
        self._books.accept(conversation)
        if plan.queue == "deliver":
            self._timetable.after(plan.queue_s, self._begin, conversation, plan)
        elif plan.queue == "expire":
            self._timetable.after(plan.queue_s, self._expire, conversation)
        elif plan.early:
            self._settle(conversation)
            self._deliveries.deliver(conversation, plan, early)
        else:
            self._begin(conversation, plan)
        return conversation.conversation_id

    def delay_s(self, originator: str, plan: Plan) -> float:
        """Guarantees the same delay for the same seed and id; log-normal around the mean."""
        if plan.result_delay_s is not None:
            return plan.result_delay_s
        mean, spread = self._settings.result_delay_s, self._settings.result_delay_spread
        if not mean or not spread:
            return mean
        drawn = max(chance(self._settings.seed, "delay", originator), _SMALLEST)
        return mean * math.exp(spread * _NORMAL.inv_cdf(drawn) - spread * spread / 2)

    def _begin(self, conversation: Conversation, plan: Plan) -> None:
        conversation.state = State.ACCEPTED
        pay_s = self._settings.pay_delay_s
        wait_s = self.delay_s(conversation.originator_conversation_id, plan)
        if pay_s:
            self._timetable.after(pay_s, self._settle, conversation)
        else:
            self._settle(conversation)
        self._timetable.after(max(pay_s, wait_s), self._deliveries.deliver, conversation, plan)

    def _settle(self, conversation: Conversation) -> None:
        code = conversation.verdict
        moves = code == "0" or conversation.pays
        if moves and self._books.floats[conversation.short_code] < conversation.amount:
            code, conversation.pays = codes.FLOAT_EMPTY, False
        self._books.settle(conversation, code)
        if conversation.state is State.FAILED:
            self._deliveries.statistics.failed[code] += 1

    def _expire(self, conversation: Conversation) -> None:
        self._books.expire(conversation)
        self._deliveries.statistics.expired += 1
        self._deliveries.send_timeout(conversation, rebuilt_request(conversation))

    def _conversation_id(self, moment: float) -> str:
        if self._settings.core == "g1":
            return str(uuid.uuid4())
        day = dt.datetime.fromtimestamp(moment, MARKET_TIME)
        return f"AG_{day.year:04}{day.month:02}{day.day:02}_0000{secrets.token_hex(8)}"
