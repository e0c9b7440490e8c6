"""Whatever is asked of the twin and of PostgreSQL, they answer alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest

from payouts.domain.errors import PayoutsError
from tests.conformance.calls import Call
from tests.conformance.scripts import Scribe
from tests.conformance.stores import NOON, Bed, open_bed

pytestmark = pytest.mark.servers
SCRIPTS = 8
CALLS = 80


async def test_random_calls_are_answered_alike(database_url: str) -> None:
    """The same calls have the same outcomes, refusals and payouts at both, script after script."""
    async with open_bed(database_url) as real, open_bed(None) as twin:
        for seed in range(SCRIPTS):
            await _play(seed, real, twin)


async def test_random_calls_with_repeats_watched_are_answered_alike(database_url: str) -> None:
    """So too where repeats are looked for and progress is told."""
    settings = {"repeat_window_s": 300.0, "show_msisdn": True}
    async with open_bed(database_url, **settings) as real, open_bed(None, **settings) as twin:
        for seed in range(1000, 1000 + SCRIPTS // 4):
            await _play(seed, real, twin)


async def _play(seed: int, real: Bed, twin: Bed) -> None:
    books = twin.store.books  # type: ignore[union-attr]
    at = max([NOON, twin.clock.instant])
    scribe = Scribe(seed, books.payouts.get, at)
    for number, call in enumerate(scribe.calls(CALLS)):
        real.clock.instant = twin.clock.instant = scribe.at
        said, ours = await _said(real, call), await _said(twin, call)
        assert ours == said, f"seed {seed}, call {number}: {call}"
        scribe.hear(ours)
    for payout_id in [one for one in books.payouts if one.startswith(f"s{seed}-")]:
        assert await twin.now(payout_id) == await real.now(payout_id), f"seed {seed}"


async def _said(bed: Bed, call: Call) -> object:
    """Return what a call brings, or the name of the error that it raises; order is free."""
    try:
        port = bed.store if hasattr(bed.store, call.method) else bed.orders
        outcome = await getattr(port, call.method)(*call.positional, **call.named)
    except PayoutsError as error:
        return type(error).__name__
    if isinstance(outcome, Sequence) and call.method != "audit_lines":
        return sorted(outcome, key=repr)
    if dataclasses.is_dataclass(outcome) and getattr(outcome, "refusal", None) is not None:
        return dataclasses.replace(outcome, refusal="refused")  # type: ignore[type-var]
    return outcome
