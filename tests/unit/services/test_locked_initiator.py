from typing import cast

import pytest
from services_bed import NAME, Clock, Port, Signals

from payouts.domain.answers import Response
from payouts.domain.decisions import Policies
from payouts.domain.signals import Signal
from payouts.domain.values import AccountName
from payouts.ports import AccountStatus, Gateway, PayoutStore
from payouts.services.accounts import Accounts

PAUSED = AccountStatus(name=NAME, paused=True, paused_reason="why")
OPEN = AccountStatus(name=NAME)


def accounts(store: Port, signals: Signals) -> Accounts:
    return Accounts(
        [NAME],
        cast("PayoutStore", store),
        cast("Gateway", None),
        Clock(),
        signals,
        Policies(),
    )


@pytest.mark.parametrize("code", ["2001", "8006", "18"])
async def test_a_response_that_blames_the_initiator_pauses_at_once(code: str) -> None:
    """One wrong password may be the last before the lock: nothing more is sent.

    Proved by leaving such codes to the count of failures: the account stayed open.
    """
    store, signals = Port({"set_paused": PAUSED}), Signals()
    sick = accounts(store, signals)

    await sick.heed(NAME, Response(code=code))

    assert sick.is_paused(NAME)
    assert not sick.is_open(NAME)
    assert [call["paused"] for call in store.calls("set_paused")] == [True]
    assert code in store.calls("set_paused")[0]["reason"]
    assert len(signals.of(Signal.ACCOUNT_PAUSED)) == 1


async def test_an_account_that_is_paused_is_not_paused_again() -> None:
    """Answers that were on their way when the account was paused write nothing more."""
    store = Port({"set_paused": PAUSED})
    sick = accounts(store, Signals())

    for _ in range(5):
        await sick.heed(NAME, Response(code="8006"))

    assert store.names == ["set_paused"]


@pytest.mark.parametrize("code", ["0", "15", "26", "100000007", "999"])
async def test_other_codes_pause_nothing_at_once(code: str) -> None:
    """What does not blame the initiator is counted, or means the payout alone."""
    store = Port({"count_refusal": AccountStatus(name=NAME, refusals=1)})
    sick = accounts(store, Signals())

    await sick.heed(NAME, Response(code=code))

    assert sick.is_open(NAME)
    assert "set_paused" not in store.names


async def test_a_look_up_on_its_way_does_not_reopen_what_was_just_paused() -> None:
    """What the look-up read before the pause is out of date; the next one tells.

    Proved by applying it all the same: the account was open again for a second.
    """
    store = Port({"set_paused": PAUSED})
    sick = accounts(store, Signals())

    async def read_then_pause(_: object) -> dict[AccountName, AccountStatus]:
        await sick.heed(NAME, Response(code="8006"))
        return {NAME: OPEN}

    store.answers["account_statuses"] = read_then_pause
    assert await sick.refresh() == 1
    assert sick.is_paused(NAME)

    store.answers["account_statuses"] = {NAME: OPEN}
    assert await sick.refresh() == 0
    assert sick.is_open(NAME)
