"""What upstream publishes: payouts, the same again, the same id with another content, rubbish."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from payouts.domain.payout import Payout
from tests.simulation.clocks import BEGINNING
from tests.simulation.scenario import Scenario, stream

RUNS: Final = ("november", "december")
_RUBBISH: Final = (
    b"no json at all",
    b'{"payout_id": "",',
    b"[]",
    b'{"payout_id": "x", "amount": 5, "msisdn": "254700000000"}',
    b"\xff\xfe",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One message of upstream, and what a payout that comes of it must look like.

    Args:
        valid: whether it is a command that can be paid; only then the rest means something.
    """

    message_id: str
    body: bytes
    valid: bool
    payout_id: str = ""
    account: str = ""
    amount_minor: int = 0
    msisdn: str = ""
    run_id: str | None = None

    def is_of(self, row: Payout) -> bool:
        """Tell whether a payout is just what this message asks for."""
        return (row.payout_id, row.account, row.amount_minor, row.msisdn, row.run_id) == (
            self.payout_id,
            self.account,
            self.amount_minor,
            self.msisdn,
            self.run_id,
        )


def plan(scenario: Scenario) -> list[tuple[float, str, Wanted]]:
    """Return when which message is published to which account's queue, in order of time."""
    draw = stream(scenario.seed, "upstream")
    messages: list[tuple[float, str, Wanted]] = []
    for number in range(scenario.size.payouts):
        at_s = draw.uniform(0.0, scenario.busy_s)
        account = "second" if scenario.two_accounts and draw.random() < 0.5 else "default"
        fields = _fields(draw, number, at_s)
        if messages and draw.random() < 0.1:  # Another payout, to the same receiver.
            like = draw.choice(messages)[2]
            if like.valid:
                fields["msisdn"] = like.msisdn
                fields["amount"] = f"{like.amount_minor / 100:.2f}"
        messages.append((at_s, account, _wanted(f"m{number}", account, fields)))
        if "commands" in scenario.kinds:
            messages += _odd(scenario, draw, fields, (f"m{number}", account, at_s))
    return sorted(messages, key=lambda one: (one[0], one[2].message_id))


def _fields(draw: random.Random, number: int, at_s: float) -> dict[str, str]:
    fields = {
        "payout_id": f"p{number}",
        "amount": f"{draw.randrange(1, 90)}.{draw.randrange(100):02d}",
        "msisdn": f"2547000{draw.randrange(100):05d}",
    }
    if draw.random() < 0.5:
        fields["run_id"] = draw.choice(RUNS)
    if draw.random() < 0.1:
        at = BEGINNING + timedelta(seconds=at_s + draw.uniform(-2.0, 6.0))
        fields["not_after"] = at.isoformat()
    return fields


def _wanted(message_id: str, account: str, fields: dict[str, str]) -> Wanted:
    return Wanted(
        message_id=message_id,
        body=json.dumps(fields).encode(),
        valid=True,
        payout_id=fields["payout_id"],
        account=account,
        amount_minor=round(float(fields["amount"]) * 100),
        msisdn=fields["msisdn"],
        run_id=fields.get("run_id"),
    )


def _odd(
    scenario: Scenario,
    draw: random.Random,
    fields: dict[str, str],
    first: tuple[str, str, float],
) -> list[tuple[float, str, Wanted]]:
    """Return what else comes with a payout: repeats, conflicts, rubbish."""
    name, account, at_s = first
    odd: list[tuple[float, str, Wanted]] = []
    if draw.random() < 0.4:
        for again in range(draw.choice([1, 1, 3])):
            later_s = at_s + draw.choice([0.0, draw.uniform(0.0, 30.0)])
            odd.append((later_s, account, _wanted(f"{name}r{again}", account, fields)))
    # After a restore the other content might win, and upstream would be to blame.
    if draw.random() < 0.2 and "restore" not in scenario.kinds:
        other = {**fields, draw.choice(["amount", "msisdn"]): "254711111111"}
        if other["amount"] == "254711111111":
            other["amount"] = f"{float(fields['amount']) + 1:.2f}"
        later_s = at_s + draw.uniform(0.0, 10.0)
        odd.append((later_s, account, _wanted(f"{name}c", account, other)))
    if draw.random() < 0.2:
        body = draw.choice(_RUBBISH)
        odd.append((at_s, account, Wanted(message_id=f"{name}x", body=body, valid=False)))
    return odd
