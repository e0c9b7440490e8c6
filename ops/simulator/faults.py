"""The faults the simulator can commit: one table of kinds, and the plan they write for a request.

A plan is made before a request is served. Faults change it one after the other; the gateway then
carries it out.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ops.simulator import codes
from ops.simulator.settings import SimulatorSettings


class FaultError(ValueError):
    """This fault cannot be installed: its kind, its argument or its rule is not known."""


@dataclass(slots=True)
class Plan:
    """How one request will be treated. As it stands after making: well, as M-PESA would."""

    kinds: list[str] = field(default_factory=list)
    refusal: str = ""
    accepted: bool = True
    answer: str = ""
    answer_code: str = ""
    answer_delay_s: float = 0.0
    queue: str = ""
    queue_s: float = 0.0
    early: bool = False
    result_delay_s: float | None = None
    results: int = 1
    result_code: str = ""
    pays: bool = False
    contradiction: str = ""
    lost: bool = False
    other_amount: bool = False
    other_receiver: bool = False
    remembers: bool = True
    hidden_s: float = 0.0
    status: str = ""
    away_s: float | None = None
    response_shape: str = ""
    result_shape: str = ""


Change = Callable[[Plan, str, SimulatorSettings], None]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault: what it does to a plan, and what its argument means."""

    about: str
    change: Change
    argument: str = ""
    required: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind with its argument; written `kind` or `kind:argument`."""

    kind: str
    argument: str = ""

    def change(self, plan: Plan, settings: SimulatorSettings) -> None:
        """Guarantees that `plan` holds this fault and names its kind."""
        KINDS[self.kind].change(plan, self.argument, settings)
        plan.kinds.append(self.kind)


def read_fault(text: str) -> Fault:
    """Guarantees a fault of a known kind whose argument has the kind's form.

    Raises:
        FaultError: naming what is wrong.
    """
    name, _, argument = text.strip().partition(":")
    kind = KINDS.get(name)
    if kind is None:
        raise FaultError(f"there is no fault {name!r}")
    if kind.required and not argument:
        raise FaultError(f"{name} needs an argument, {name}:<{kind.argument}>")
    if argument and not kind.argument:
        raise FaultError(f"{name} takes no argument")
    if argument and not _fits(kind.argument, argument):
        raise FaultError(f"{argument!r} is no {kind.argument} for {name}")
    return Fault(name, argument)


def _fits(form: str, argument: str) -> bool:
    if form == "seconds":
        try:
            return 0 <= float(argument) < float("inf")
        except ValueError:
            return False
    if "|" in form:
        return argument in form.split("|")
    return argument.replace("_", "").isalnum()


def _nothing(_plan: Plan, _argument: str, _settings: SimulatorSettings) -> None:
    """A rule may do nothing, so that a later, wider rule leaves its requests alone."""


def _refuse(code: str = "") -> Change:
    def change(plan: Plan, argument: str, _settings: SimulatorSettings) -> None:
        plan.refusal = argument or code

    return change


def _spoil(answer: str, *, accepted: bool, code: str = "") -> Change:
    def change(plan: Plan, argument: str, _settings: SimulatorSettings) -> None:
        plan.answer = answer
        plan.accepted = accepted
        plan.answer_code = argument or code

    return change


def _slow(plan: Plan, argument: str, settings: SimulatorSettings) -> None:
    plan.answer_delay_s = float(argument or settings.slow_s)


def _queue(how: str) -> Change:
    def change(plan: Plan, argument: str, settings: SimulatorSettings) -> None:
        plan.queue = how
        plan.queue_s = float(argument or settings.queue_s)

    return change


def _early(plan: Plan, _argument: str, _settings: SimulatorSettings) -> None:
    plan.early = True
    plan.result_delay_s = 0.0


def _late(plan: Plan, argument: str, settings: SimulatorSettings) -> None:
    plan.result_delay_s = float(argument or settings.late_s)


def _times(results: int) -> Change:
    def change(plan: Plan, _argument: str, _settings: SimulatorSettings) -> None:
        plan.results = results

    return change


def _fail(code: str = "", *, pays: bool = False) -> Change:
    def change(plan: Plan, argument: str, _settings: SimulatorSettings) -> None:
        plan.result_code = argument or code
        plan.pays = pays

    return change


def _contradict(plan: Plan, argument: str, _settings: SimulatorSettings) -> None:
    plan.contradiction = argument or "success_first"


def _set(name: str, value: object) -> Change:
    def change(plan: Plan, argument: str, _settings: SimulatorSettings) -> None:
        setattr(plan, name, argument if value is None else value)

    return change


def _hide(plan: Plan, argument: str, settings: SimulatorSettings) -> None:
    plan.hidden_s = float(argument or settings.hidden_s)


def _away(plan: Plan, argument: str, settings: SimulatorSettings) -> None:
    plan.away_s = float(argument or settings.away_s)
    plan.answer, plan.accepted = "drop", False


RESPONSE_SHAPES = "g1|g2|padded|reordered"
RESULT_SHAPES = "g1|g2|raw_ampersand|nested|lowercase|escaped|padded|cps|sparse|unregistered"
STATUSES = "Completed|Cancelled|Declined|Expired|Initiated|Authorized|Pending Authorized"

KINDS: Mapping[str, Kind] = {
    "none": Kind("behaves well; shields from the rules after it", _nothing),
    "refuse_before": Kind("refuses with this Response code", _refuse(), "code", required=True),
    "throttle": Kind(
        "refuses with a rate code, 100000002 unless told", _refuse(codes.THROTTLED), "code"
    ),
    "overload": Kind("refuses with 100000001", _refuse(codes.OVERLOAD)),
    "system_busy": Kind("refuses with 26", _refuse(codes.CORE_BUSY)),
    "sp_locked": Kind("refuses with 100000006", _refuse(codes.SP_LOCKED)),
    "lost_request": Kind(
        "closes the connection; the request is not accepted", _spoil("drop", accepted=False)
    ),
    "drop_answer": Kind(
        "accepts and pays, closes the connection without an answer", _spoil("drop", accepted=True)
    ),
    "slow_answer": Kind("accepts at once, answers late", _slow, "seconds"),
    "http_500_before": Kind("HTTP 500, not accepted", _spoil("http_500", accepted=False)),
    "http_500_after": Kind("HTTP 500, yet accepted and paid", _spoil("http_500", accepted=True)),
    "html_page_before": Kind(
        "an HTML page with HTTP 200, not accepted", _spoil("html", accepted=False)
    ),
    "html_page_after": Kind(
        "an HTML page with HTTP 200, yet accepted and paid", _spoil("html", accepted=True)
    ),
    "empty_body_before": Kind(
        "HTTP 200 without a body, not accepted", _spoil("empty", accepted=False)
    ),
    "empty_body_after": Kind(
        "HTTP 200 without a body, yet accepted and paid", _spoil("empty", accepted=True)
    ),
    "soap_fault_before": Kind(
        "a SOAP fault with HTTP 500, not accepted", _spoil("fault", accepted=False)
    ),
    "soap_fault_after": Kind(
        "a SOAP fault with HTTP 500, yet accepted and paid", _spoil("fault", accepted=True)
    ),
    "code_17_before": Kind(
        "Response 17, not accepted", _spoil("code", accepted=False, code=codes.CORE_ERROR)
    ),
    "code_17_after": Kind(
        "Response 17, yet accepted and paid", _spoil("code", accepted=True, code=codes.CORE_ERROR)
    ),
    "internal_error_before": Kind(
        "Response 100000004, not accepted",
        _spoil("code", accepted=False, code=codes.BROKER_ERROR),
    ),
    "internal_error_after": Kind(
        "Response 100000004, yet accepted and paid",
        _spoil("code", accepted=True, code=codes.BROKER_ERROR),
    ),
    "code_after": Kind(
        "this Response code, yet accepted and paid",
        _spoil("code", accepted=True),
        "code",
        required=True,
    ),
    "cached_delivered": Kind(
        "Response 100000000; delivered to the core later, then paid", _queue("deliver"), "seconds"
    ),
    "cached_expired": Kind(
        "Response 100000000; expires later, with notifyQueueTimeout", _queue("expire"), "seconds"
    ),
    "result_early": Kind("the Result is sent before the Response", _early),
    "result_late": Kind("the Result comes late", _late, "seconds"),
    "result_twice": Kind("the Result is sent twice", _times(2)),
    "result_never": Kind("no Result is sent", _times(0)),
    "result_lost": Kind(
        "the Result is lost on its way; the broker's log has it", _set("lost", value=True)
    ),
    "result_failed": Kind("not paid; the Result has this code", _fail(), "code", required=True),
    "result_failed_paid": Kind(
        "paid, though the Result has this code", _fail(pays=True), "code", required=True
    ),
    "result_contradicting": Kind(
        "paid; one Result says success and another one failure",
        _contradict,
        "success_first|failure_first",
    ),
    "result_other_amount": Kind(
        "paid as asked; the Result names another amount", _set("other_amount", value=True)
    ),
    "result_other_receiver": Kind(
        "paid as asked; the Result names another receiver", _set("other_receiver", value=True)
    ),
    "initiator_locked": Kind("not paid; Result 8006", _fail(codes.INITIATOR_LOCKED)),
    "float_empty": Kind("not paid; Result 1", _fail(codes.FLOAT_EMPTY)),
    "away": Kind("the gateway goes away, this request is lost", _away, "seconds"),
    "forget_duplicates": Kind(
        "a known id is taken for a new one, and paid again", _set("remembers", value=False)
    ),
    "found_late": Kind(
        "queries do not find the request for a while after its acceptance", _hide, "seconds"
    ),
    "query_status": Kind(
        "queries report this TransactionStatus", _set("status", value=None), STATUSES, required=True
    ),
    "response_shape": Kind(
        "the Response in another shape",
        _set("response_shape", value=None),
        RESPONSE_SHAPES,
        required=True,
    ),
    "result_shape": Kind(
        "the Result in another shape",
        _set("result_shape", value=None),
        RESULT_SHAPES,
        required=True,
    ),
}
