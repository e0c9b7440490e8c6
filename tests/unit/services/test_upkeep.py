from datetime import timedelta
from typing import cast

import pytest
from services_bed import (
    NOW,
    Clock,
    Port,
    Signals,
    completions,
    in_doubt,
    payout,
    relay,
    result,
)

from payouts.domain.decisions import Policies
from payouts.domain.errors import StoreRefusedError
from payouts.domain.events import event_of
from payouts.domain.payout import State
from payouts.domain.signals import Signal
from payouts.ports import CompletionOutcome, Incident, IncidentKind, PayoutStore, Returned
from payouts.services.incidents import evidence_of
from payouts.services.upkeep import Upkeep


def upkeep(store: Port, signals: Signals) -> Upkeep:
    clock = Clock()
    return Upkeep(
        store=cast("PayoutStore", store),
        completions=completions(store, clock, signals),
        relay=relay(store, clock, signals),
        clock=clock,
        telemetry=signals,
        policies=Policies(),
        lease_s=15,
        actor=lambda: "callback server",
    )


async def test_what_expires_is_told_and_published() -> None:
    """The events of what expired are offered to the relay at once."""
    late = payout(state=State.FAILED, completed_at=NOW)
    store, signals = Port({"expire_unsent": [event_of(late)]}), Signals()
    keeping = upkeep(store, signals)
    assert await keeping.expire_unsent() == 1
    await keeping.relay.drain()
    assert [told["code"] for told in signals.of(Signal.PAYOUT_ENDED)] == ["expired"]
    assert len(signals.of(Signal.EVENT_PUBLISHED)) == 1
    assert len(store.calls("mark_published")) == 1


async def test_what_stands_still_is_told_once_for_each_that_the_store_has_kept() -> None:
    """The store says which are new; those are told, as stuck and as incidents."""
    store, signals = Port({"record_stuck": [in_doubt("a"), payout("b", held="x")]}), Signals()
    assert await upkeep(store, signals).find_stuck() == 2
    assert [told["payout_id"] for told in signals.of(Signal.PAYOUT_STUCK)] == ["a", "b"]
    assert len(signals.of(Signal.INCIDENT_RECORDED)) == 2
    before = store.calls("record_stuck")[0]["before"]
    assert before == NOW - timedelta(seconds=Policies().stuck_after_s)


def returned(name: str) -> Returned:
    told = result(name=name)
    return Returned(
        payout=payout(name, state=State.RECEIVED),
        incident=Incident(
            kind=IncidentKind.UNMATCHED,
            at=NOW,
            originator_conversation_id=told.originator_conversation_id,
            code=told.code,
            evidence=evidence_of(told),
        ),
    )


async def test_one_returned_result_that_is_refused_keeps_no_other_from_being_applied() -> None:
    """The defect is told, the incident stays, and the rest ends.

    Proved by stopping at the first refusal.
    """
    tried: list[object] = []

    def complete(completion: object) -> CompletionOutcome:
        tried.append(completion)
        if len(tried) == 1:
            raise StoreRefusedError("(odd)")
        return CompletionOutcome(applied=True, payout=payout())

    store = Port({"find_returned": [returned("a"), returned("b")], "complete": complete})
    with pytest.raises(StoreRefusedError, match="1 of"):
        await upkeep(store, Signals()).apply_returned()
    assert len(tried) == 2
    assert not store.calls("record_incident")
