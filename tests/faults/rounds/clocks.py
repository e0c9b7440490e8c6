"""Clocks that are wrong: a worker and a callback server whose time of day jumps by hours.

The gateway of this round loses answers, hides for a while what it has taken, and pays an id as
often as it is sent: whoever counts a *not found* before its time pays twice.
"""

from __future__ import annotations

import json
from typing import Final

from tests.faults.arena import Arena
from tests.faults.killing import Order, Outcome
from tests.faults.points import Process
from tests.faults.rounds.stage import LONG, Form, Stage, staged
from tests.faults.rounds.zombies import APART, born, end

HOURS_S: Final = 3 * 3600.0
HIDDEN_S: Final = 1.5
GRACE_S: Final = 3.0
STAYS_S: Final = 4.0
STAYS_SHORT_S: Final = 1.5
HIDING: Final = "25472{:07}"
LOSING: Final = "25473{:07}"
SCRIPT: Final = json.dumps(
    {
        "rule": [
            {
                "when": {"msisdn": "^25472"},
                "do": [
                    "drop_answer",
                    "result_never",
                    f"found_late:{HIDDEN_S}",
                    "forget_duplicates",
                ],
            },
            {
                "when": {"msisdn": "^25473", "send": 1},
                "do": ["lost_request", "forget_duplicates"],
            },
            {"when": {}, "do": "forget_duplicates"},
        ]
    }
)
SETTINGS: Final = {"PAYOUTS_NOT_FOUND_GRACE_S": str(GRACE_S)}


async def clocks(arena: Arena, order: Order, form: Form = LONG) -> Outcome:
    """Hold a round: one worker is right, one hours ahead and then behind, one the reverse."""
    times = 1 if form.short else max(1, order.payouts // 400)
    async with staged(
        arena, order, form, script=SCRIPT, workers=1, callback_servers=1, settings=SETTINGS
    ) as stage:
        for _ in range(times):
            await _jump(stage, order.payouts // times, STAYS_SHORT_S if form.short else STAYS_S)
        return await stage.judged()


async def _jump(stage: Stage, payouts: int, stays_s: float) -> None:
    ahead, behind = jumps(HOURS_S, stays_s), jumps(-HOURS_S, stays_s)
    wrong = [
        await born(stage, Process.WORKER, jumps=ahead),
        await born(stage, Process.WORKER, jumps=behind),
        await born(stage, Process.CALLBACK_SERVER, APART, jumps=ahead),
    ]
    stage.faults["clock jumps"] += sum(len(child.birth.jumps) for child in wrong)
    try:
        commands = [
            *stage.commands(payouts // 2),
            *stage.commands(payouts // 4, receiver=HIDING),
            *stage.commands(payouts // 4, receiver=LOSING),
        ]
        stage.draws.shuffle(commands)
        await stage.feed(commands, over_s=2 * stays_s)
        await stage.recovered("clocks right again")
    finally:
        await end(wrong)


def jumps(first_s: float, stays_s: float) -> tuple[tuple[float, float], ...]:
    """Give a clock that jumps so far, then as far to the other side, and is right in the end."""
    return (0.5, first_s), (0.5 + stays_s, -first_s), (0.5 + 2 * stays_s, 0.0)
