"""The broker: authenticates, refuses, spoils answers as the plan says, and hands on to the core."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from ops.simulator import answers, codes
from ops.simulator.answers import Answer
from ops.simulator.books import Books
from ops.simulator.checks import (
    Objection,
    Verdicts,
    authenticate,
    broker_objection,
    core_objection,
)
from ops.simulator.core import Core
from ops.simulator.faults import Plan
from ops.simulator.queries import Queries, is_status_query
from ops.simulator.records import State
from ops.simulator.results import Deliveries
from ops.simulator.script import OPERATIONS, Arrival, Faults
from ops.simulator.server import Reply, Request
from ops.simulator.settings import SimulatorSettings
from ops.simulator.timetable import Timetable
from ops.simulator.wire import REQUEST, TRANSACTION, Inner, MalformedError, Message, Reader

_QUERIES: Final = (f"{{{TRANSACTION}}}queryTransaction", f"{{{TRANSACTION}}}queryTranscation")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the broker hands on to."""

    books: Books
    core: Core
    verdicts: Verdicts
    deliveries: Deliveries
    faults: Faults
    queries: Queries
    timetable: Timetable


@dataclass(slots=True)
class Exchange:
    """One GenericAPIRequest on its way through: what came, what was planned, where to answer."""

    request: Request
    reply: Reply
    inner: Inner
    plan: Plan
    originator: str
    shape: str


class Gateway:
    """Guarantees one answer, or one deliberate silence, for every request it is given."""

    def __init__(
        self,
        settings: SimulatorSettings,
        parts: Parts,
        *,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        leave: Callable[[float], None],
    ) -> None:
        """`leave(seconds)` takes the gateway away; `monotonic` paces and ages the script."""
        self.sp_locked = False
        self._settings = settings
        self._books = parts.books
        self._core = parts.core
        self._verdicts = parts.verdicts
        self._deliveries = parts.deliveries
        self._faults = parts.faults
        self._queries = parts.queries
        self._timetable = parts.timetable
        self._clock = clock
        self._monotonic = monotonic
        self._leave = leave
        self._reader = Reader(strict_order=settings.strict_order)
        self.forget()

    def forget(self) -> None:
        """Guarantees that no id, send or second is remembered; locks are opened."""
        self.sp_locked = False
        self._verdicts.unlock()
        self._sends: dict[str, dict[str, int]] = {name: {} for name in OPERATIONS}
        self._asking: set[str] = set()
        self._second = (0, 0)
        self.restart_script()

    def restart_script(self) -> None:
        """Guarantees that rules count requests and time from now."""
        self._numbers = dict.fromkeys(OPERATIONS, 0)
        self._installed_at = self._monotonic()

    def submit(self, request: Request, reply: Reply) -> None:
        """Guarantees the treatment of one GenericAPIRequest (protocol §1, §3)."""
        statistics = self._deliveries.statistics
        try:
            message = self._reader.envelope(request.body)
        except MalformedError as error:
            statistics.malformed += 1
            reply(answers.fault(str(error), who="Client"))
            return
        objection = self._entrance(message)
        if objection is None and message.operation != f"{{{REQUEST}}}RequestMsg":
            objection = (codes.MISSING_INPUT, "RequestMsg")
        inner = Inner()
        if objection is None:
            try:
                inner = self._reader.request(message.content)
            except MalformedError:
                objection = (codes.BAD_STRUCTURE, "")
        querying = is_status_query(inner)
        if querying:
            statistics.queries["status"] += 1
        else:
            statistics.requests += 1
        exchange = self._exchange(request, reply, inner, querying=querying)
        if objection is not None:
            self._refuse(exchange, objection)
            return
        self._serve(exchange, querying=querying)

    def query(self, request: Request, reply: Reply) -> None:
        """Guarantees the treatment of one queryTransaction (protocol §5.2)."""
        statistics = self._deliveries.statistics
        statistics.queries["transaction"] += 1
        try:
            message = self._reader.envelope(request.body)
        except MalformedError as error:
            statistics.malformed += 1
            reply(answers.fault(str(error), who="Client"))
            return
        objection = self._entrance(message)
        originator = ""
        if objection is None:
            try:
                originator = self._reader.query(message) if message.operation in _QUERIES else ""
            except MalformedError:
                originator = ""
            objection = None if originator else (codes.MISSING_INPUT, "originatorConversationID")
        if objection is not None:
            statistics.refused[objection[0]] += 1
            reply(Answer(body=answers.query_refusal(*objection)))
            return
        self._look_up(originator, reply)

    def _entrance(self, message: Message) -> Objection | None:
        objection = authenticate(message.header, self._settings)
        if objection is not None:
            return objection
        if self.sp_locked:
            return codes.SP_LOCKED, ""
        return (codes.THROTTLED, "") if self._too_fast() else None

    def _too_fast(self) -> bool:
        if not self._settings.tps:
            return False
        second = int(self._monotonic())
        count = self._second[1] + 1 if second == self._second[0] else 1
        self._second = (second, count)
        return count > self._settings.tps

    def _exchange(
        self, request: Request, reply: Reply, inner: Inner, *, querying: bool
    ) -> Exchange:
        originator = inner.get("OriginatorConversationID")
        plan = Plan()
        if inner.fields:
            operation = "query" if querying else "payment"
            plan = self._plan(operation, originator, inner.get("ReceiverParty/Identifier"))
        shape = plan.response_shape or self._settings.core
        return Exchange(request, reply, inner, plan, originator, shape)

    def _plan(self, operation: str, originator: str, msisdn: str = "") -> Plan:
        self._numbers[operation] += 1
        sends = self._sends[operation]
        send = sends[originator] = sends.get(originator, 0) + 1
        plan = self._faults.plan(
            Arrival(
                operation=operation,
                identifier=originator,
                msisdn=msisdn,
                send=send,
                number=self._numbers[operation],
                age_s=self._monotonic() - self._installed_at,
            )
        )
        self._deliveries.statistics.faults.update(plan.kinds)
        return plan

    def _serve(self, exchange: Exchange, *, querying: bool) -> None:
        plan = exchange.plan
        if plan.away_s is not None:
            self._leave(plan.away_s)
        if not plan.accepted:
            if plan.answer == "code":
                self._answer(exchange, plan.answer_code, "")
            else:
                exchange.reply(answers.spoiled(plan.answer))
            return
        if plan.refusal:
            self._refuse(exchange, (plan.refusal, ""))
            return
        objection = broker_objection(exchange.inner) or core_objection(exchange.inner)
        if objection is not None:
            self._refuse(exchange, objection)
        elif self._is_duplicate(exchange):
            self._deliveries.statistics.duplicates += 1
            self._answer(exchange, codes.DUPLICATE, "")
        elif querying:
            self._ask(exchange)
        else:
            self._accept(exchange)

    def _is_duplicate(self, exchange: Exchange) -> bool:
        """A refused id stays free, and so does an expired one: the core never saw it."""
        if not exchange.plan.remembers:
            return False
        known = self._books.known(exchange.originator)
        taken = known is not None and known.state is not State.EXPIRED
        return taken or exchange.originator in self._asking

    def _accept(self, exchange: Exchange) -> None:
        plan = exchange.plan
        statistics = self._deliveries.statistics
        code = codes.CACHED if plan.queue else codes.ACCEPTED
        if plan.queue:
            statistics.queued += 1
        else:
            statistics.accepted += 1
        waiting: list[Callable[[], None]] = []

        def early() -> None:
            for answer in waiting:
                answer()

        conversation_id = self._core.accept(exchange.inner, plan, self._clock(), early)
        if plan.early and plan.results:
            waiting.append(partial(self._answer, exchange, code, conversation_id))
        else:
            self._answer(exchange, code, conversation_id)

    def _ask(self, exchange: Exchange) -> None:
        plan = exchange.plan
        self._asking.add(exchange.originator)
        asking = self._core.conversation(exchange.inner, self._clock())
        verdict = self._verdicts.initiator(exchange.inner)
        code = verdict if verdict != "0" else plan.result_code or "0"
        shape = plan.result_shape or self._settings.core

        def tell() -> None:
            body = self._queries.status_result(asking, exchange.inner, code, shape)
            for _ in range(plan.results):
                self._deliveries.send_result(asking, body)

        self._timetable.after(self._core.delay_s(exchange.originator, plan), tell)
        self._answer(exchange, codes.ACCEPTED, asking.conversation_id)

    def _look_up(self, originator: str, reply: Reply) -> None:
        plan = self._plan("transaction", originator)
        if plan.away_s is not None:
            self._leave(plan.away_s)
        code = plan.refusal or (plan.answer_code if plan.answer == "code" else "")
        if code:
            answer = Answer(body=answers.query_refusal(code))
        elif plan.answer:
            answer = answers.spoiled(plan.answer)
        else:
            logged = self._queries.logged(originator)
            code = _found_code(self._settings, known=bool(logged))
            answer = Answer(body=answers.query_answer(code, logged))
        self._send(reply, answer, plan)

    def _refuse(self, exchange: Exchange, objection: Objection) -> None:
        code, name = objection
        self._deliveries.statistics.refused[code] += 1
        self._answer(exchange, code, "", name)

    def _answer(self, exchange: Exchange, code: str, conversation_id: str, name: str = "") -> None:
        """Logs the Response that is due, then sends it, or what the plan makes of it."""
        plan = exchange.plan
        shown = plan.answer_code if plan.answer == "code" else code
        body = answers.response(
            shown, exchange.originator, conversation_id, name=name, shape=exchange.shape
        )
        if exchange.originator:
            log = self._deliveries.log
            log.add(exchange.originator, "submitApiRequest", exchange.request.raw)
            log.add(exchange.originator, "submitApiResponse", body)
        spoiled = plan.answer and plan.answer != "code" and plan.accepted
        answer = answers.spoiled(plan.answer) if spoiled else Answer(body=body)
        self._send(exchange.reply, answer, plan)

    def _send(self, reply: Reply, answer: Answer, plan: Plan) -> None:
        if plan.answer_delay_s:
            self._timetable.after(plan.answer_delay_s, reply, answer)
        else:
            reply(answer)


def _found_code(settings: SimulatorSettings, *, known: bool) -> str:
    """Guarantees the code of a queryTransaction that found its id, or did not."""
    return "00000000" if known else settings.query_unknown
