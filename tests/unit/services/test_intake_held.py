from dataclasses import replace
from typing import Any, cast

import pytest
from services_bed import NAME, OWNER, Clock, Port, Signals, relay

from payouts.domain.commands import AccountRules
from payouts.domain.payout import State
from payouts.domain.signals import Signal
from payouts.ports import Intent, IntentOutcome, PayoutStore, Recorded
from payouts.services.intake import Intake, Taken
from payouts.services.lease import Lease
from payouts.services.patience import Patience

RULES = AccountRules(name=NAME, shortcode="600000", organisation="ORG")
COMMAND = {"payout_id": "one", "amount": "100.00", "msisdn": "254712345678"}


async def taken(*, send: bool = True, **rests: Any) -> tuple[Taken, Signals]:
    """Take a command whose intent the store writes down with these changes."""
    store, clock, signals = Port({"enlist": OWNER}), Clock(), Signals()
    lease = Lease(cast("PayoutStore", store), clock, signals, name="w", lease_s=15)
    await lease.enlist()

    def write(intent: Intent) -> IntentOutcome:
        return IntentOutcome(recorded=Recorded.NEW, payout=replace(intent.payout, **rests))

    store.answers["record_intent"] = write
    intake = Intake(
        store=cast("PayoutStore", store),
        relay=relay(store, clock, signals),
        lease=lease,
        clock=clock,
        telemetry=signals,
        patience=Patience(clock, signals),
    )
    outcome = await intake.take(intake.read(COMMAND, RULES), RULES, send=send)
    assert isinstance(outcome, Taken)
    return outcome, signals


@pytest.mark.parametrize(
    ("rests", "reason"),
    [
        ({"state": State.RECEIVED}, "its account or its run is paused"),
        ({"state": State.RECEIVED, "held": "its run is paused"}, "its run is paused"),
        ({"state": State.RECEIVED, "ask_now": True}, "after a restore"),
    ],
)
async def test_what_the_store_lets_rest_is_not_sent_and_is_told(
    rests: dict[str, Any], reason: str
) -> None:
    """The row decides, not the intent: a paused run, a hold, a restore.

    Proved by sending what was meant to be sent.
    """
    outcome, signals = await taken(**rests)
    assert not outcome.submit
    [told] = signals.of(Signal.COMMAND_HELD)
    assert str(told["reason"]).startswith(reason)


async def test_what_is_about_to_be_sent_is_not_told_as_held() -> None:
    """Nor is what this worker did not mean to send, as its account is closed."""
    outcome, signals = await taken()
    assert outcome.submit
    assert not signals.of(Signal.COMMAND_HELD)
    outcome, signals = await taken(send=False)
    assert not outcome.submit
    assert not signals.of(Signal.COMMAND_HELD)
