"""The gateway misbehaves: all its faults at once, each alone, forgetful, and away.

Receivers tell the simulator which fault a payment meets, so that the judge knows what may become
of each payout: `2547KK……` meets fault number KK.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tests.faults.arena import Arena
from tests.faults.evidence import PAID, UNPAID, May, Published
from tests.faults.killing import Order, Outcome
from tests.faults.rounds.stage import LONG, Form, Stage, chosen, operator, staged

FIRST: Final = 10
AWAY_S: Final = 60.0
AWAY_SHORT_S: Final = 3.0
REALISTIC: Final = 0.1
HIGH: Final = 0.5
LOAD_S: Final = 1.0
UNDECIDED: Final = "never decided"
_UNSURE: Final = frozenset({May.SUCCEED, May.STAY_IN_DOUBT})
_CONTRADICTED: Final = frozenset({May.SUCCEED, May.BE_LIED_TO})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What a payment meets.

    Args:
        do: the simulator's faults, all at the same request.
        sends: at which sends of one id; every send where not given.
        may: what may become of the payout.
    """

    name: str
    do: tuple[str, ...]
    sends: tuple[int, ...] = ()
    may: frozenset[May] = PAID

    def rule(self, number: int, *, forgets: bool) -> dict[str, Any]:
        """Give the simulator's rule for receivers of that number."""
        when: dict[str, Any] = {"msisdn": f"^2547{number}"}
        if self.sends:
            when["send"] = list(self.sends)
        return {"name": self.name, "when": when, "do": [*self.do, *_forgetting(forgets)]}


def _once(*kinds: str) -> Iterator[Fault]:
    """What spoils the first send, after which the gateway has come to its senses."""
    return (Fault(name=kind, do=(kind,), sends=(1,)) for kind in kinds)


def _paid(*kinds: str) -> Iterator[Fault]:
    """What spoils every send, and pays all the same."""
    return (Fault(name=kind, do=(kind,)) for kind in kinds)


def _unpaid(*kinds: str) -> Iterator[Fault]:
    return (Fault(name=kind, do=(kind,), may=UNPAID) for kind in kinds)


FAULTS: Final = {
    fault.name: fault
    for fault in (
        *_once(
            "lost_request",
            "http_500_before",
            "html_page_before",
            "empty_body_before",
            "soap_fault_before",
            "code_17_before",
            "internal_error_before",
            "throttle",
            "throttle:100000011",
            "overload",
            "system_busy",
            "refuse_before:100000003",
            "refuse_before:100000008",
            "refuse_before:100000013",
            "refuse_before:99",
            "refuse_before:100000007",
            "sp_locked",
            "cached_expired:0.5",
        ),
        *_paid(
            "drop_answer",
            "slow_answer:3",
            "http_500_after",
            "html_page_after",
            "empty_body_after",
            "soap_fault_after",
            "code_17_after",
            "internal_error_after",
            "code_after:99",
            "cached_delivered:0.5",
            "result_early",
            "result_late:3",
            "result_twice",
            "result_never",
            "result_lost",
            *(f"response_shape:{shape}" for shape in ("g1", "padded", "reordered")),
            *(
                f"result_shape:{shape}"
                for shape in ("g1", "raw_ampersand", "nested", "lowercase", "escaped", "padded")
            ),
            "result_shape:cps",
            "result_shape:unregistered",
        ),
        *_unpaid(
            "refuse_before:100000005",
            "refuse_before:23",
            "result_failed:1",
            "result_failed:17",
            "result_failed:2006",
            "result_failed:2040",
            "float_empty",
            "initiator_locked",
        ),
        Fault(name="dropped and untold", do=("drop_answer", "result_never")),
        Fault(name="untold and found late", do=("drop_answer", "result_never", "found_late:2.5")),
        Fault(name="lost twice", do=("lost_request",), sends=(1, 2)),
        Fault(
            name="cancelled, untold",
            do=("result_failed:17", "result_never", "query_status:Cancelled"),
            may=UNPAID,
        ),
        Fault(
            name="no receipt",
            do=("result_shape:sparse",),
            may=frozenset({May.SUCCEED, May.LACK_RECEIPT}),
        ),
        Fault(name="another amount", do=("result_other_amount",), may=_UNSURE),
        Fault(name="another receiver", do=("result_other_receiver",), may=_UNSURE),
        Fault(
            name="contradicted, success first",
            do=("result_contradicting:success_first",),
            may=_CONTRADICTED,
        ),
        Fault(
            name="contradicted, failure first",
            do=("result_contradicting:failure_first",),
            may=_CONTRADICTED,
        ),
        Fault(
            name="failed, yet paid",
            do=("result_failed_paid:17",),
            may=_CONTRADICTED,
        ),
        Fault(
            name=UNDECIDED,
            do=("result_never", "query_status:Pending Authorized"),
            may=_UNSURE,
        ),
    )
}
NUMBERS: Final = {name: FIRST + place for place, name in enumerate(FAULTS)}

# Questions are spoiled too, by chance: the next one is answered.
_QUESTIONS: Final = tuple(
    {
        "name": f"{operation} {kind}",
        "when": {"operation": operation, "probability": 0.1},
        "do": kind,
    }
    for operation, kinds in {
        "query": ("lost_request", "drop_answer", "result_never", "http_500_before"),
        "transaction": ("lost_request", "http_500_before", "html_page_before", "slow_answer:3"),
    }.items()
    for kind in kinds
)


async def gateway(arena: Arena, order: Order, form: Form = LONG) -> Outcome:
    """Hold a round: every fault at once, at realistic rates, questions spoiled as well."""
    return await _at_once(arena, order, form, {})


async def gateway_resending(arena: Arena, order: Order, form: Form = LONG) -> Outcome:
    """Hold the same round where the same id is sent again before anybody is asked."""
    return await _at_once(arena, order, form, {"PAYOUTS_AMBIGUOUS": "resend"})


async def gateway_forgetful(arena: Arena, order: Order, form: Form = LONG) -> Outcome:
    """Hold the same round at a gateway that pays each id as often as it is sent."""
    # The grace is longer than the gateway hides what it knows: that is what it is for.
    return await _at_once(arena, order, form, {"PAYOUTS_NOT_FOUND_GRACE_S": "3.5"}, forgets=True)


async def gateway_each(arena: Arena, order: Order, form: Form = LONG) -> Outcome:
    """Hold a round: each fault alone, at every second payment; recovered from before the next."""
    async with staged(arena, order, form, script=_script()) as stage, operator(stage):
        steps = chosen(stage, FAULTS)
        for step in steps:
            stage.faults[step] += 1
            share = max(6, order.payouts // len(steps))
            await stage.feed(_mixed(stage, share, HIGH, [step]), over_s=LOAD_S)
            await stage.recovered(step)
        return await stage.judged()


async def gateway_away(arena: Arena, order: Order, form: Form = LONG) -> Outcome:
    """Hold a round: nobody listens at the gateway for a minute, under load."""
    away_s = AWAY_SHORT_S if form.short else AWAY_S
    async with staged(arena, order, form) as stage:
        async with stage.under_load(order.payouts, over_s=away_s + LOAD_S):
            await stage.under_way()
            stage.faults["away"] += 1
            await _send_away(arena, away_s)
            await stage.last(away_s)
        await stage.recovered("gateway away")
        return await stage.judged()


async def _at_once(
    arena: Arena, order: Order, form: Form, settings: dict[str, str], *, forgets: bool = False
) -> Outcome:
    script = _script(*_QUESTIONS, forgets=forgets)
    async with (
        staged(arena, order, form, script=script, settings=settings) as stage,
        operator(stage),
    ):
        # Nobody is told of what is never decided, so the short form does not wait for it.
        names = [one for one in chosen(stage, FAULTS) if not form.short or one != UNDECIDED]
        # In the short form every fault is met, by one in two; else as rarely as in real life.
        rate = HIGH if form.short else REALISTIC
        commands = _mixed(stage, order.payouts, rate, names)
        await stage.feed(commands, over_s=order.payouts / 200)
        await stage.recovered("all faults of the gateway")
        return await stage.judged()


async def _send_away(arena: Arena, seconds: float) -> None:
    url, body = f"{arena.gateway.admin_url}/away", {"seconds": seconds}
    async with arena.gateway.session.post(url, json=body) as answer:
        answer.raise_for_status()


def _mixed(stage: Stage, count: int, rate: float, names: Sequence[str]) -> list[Published]:
    """Make commands of which a share meets faults, each of the names as often as any other."""
    turn = itertools.cycle(names)
    commands = []
    for _ in range(count):
        if stage.draws.random() >= rate:
            commands += stage.commands(1)
            continue
        fault = FAULTS[next(turn)]
        stage.faults[f"gateway {fault.name}"] += 1
        receiver = f"2547{NUMBERS[fault.name]}{{:06}}"
        commands += stage.commands(1, fault.may, receiver=receiver)
    return commands


def _script(*rules: dict[str, Any], forgets: bool = False) -> str:
    found = [
        *rules,
        *(FAULTS[name].rule(number, forgets=forgets) for name, number in NUMBERS.items()),
    ]
    if forgets:
        found.append({"name": "forgets", "when": {}, "do": _forgetting(forgets)})
    return json.dumps({"rule": found})


def _forgetting(forgets: bool) -> list[str]:
    return ["forget_duplicates"] if forgets else []
