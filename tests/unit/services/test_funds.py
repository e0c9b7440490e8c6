from typing import cast

import pytest
from services_bed import NAME, Clock, Port, Signals

from payouts.domain.decisions import Policies
from payouts.domain.signals import Signal
from payouts.ports import AccountStatus, Exposure, Gateway, PayoutStore
from payouts.services.accounts import Accounts
from payouts.services.funds import Funds

PAUSED = AccountStatus(name=NAME, paused=True, paused_reason="the float")
MINIMUM = 500_000


def funds(store: Port, signals: Signals) -> Funds:
    accounts = Accounts(
        [NAME],
        cast("PayoutStore", store),
        cast("Gateway", None),
        Clock(),
        signals,
        Policies(),
    )
    return Funds(store=cast("PayoutStore", store), accounts=accounts, minimums={NAME: MINIMUM})


def exposed(balance: int | None, at_risk: int) -> list[Exposure]:
    return [Exposure(name=NAME, utility_balance_minor=balance, at_risk_minor=at_risk)]


@pytest.mark.parametrize(
    ("balance", "at_risk", "pauses"),
    [
        (MINIMUM, 0, False),
        (MINIMUM - 1, 0, True),
        (1_200_000, 700_000, False),
        (1_200_000, 700_001, True),
        (-5, 0, True),
        (None, 9_000_000, False),
    ],
)
async def test_an_account_pauses_before_its_float_runs_dry(
    balance: int | None, at_risk: int, *, pauses: bool
) -> None:
    """What is on its way counts as gone; without a known balance nothing is done.

    Proved by looking at the balance alone, and by taking no balance for none.
    """
    store = Port({"exposures": exposed(balance, at_risk), "set_paused": PAUSED})
    signals = Signals()

    assert await funds(store, signals).look() == int(pauses)

    assert len(signals.of(Signal.ACCOUNT_PAUSED)) == int(pauses)
    assert len(store.calls("set_paused")) == int(pauses)


async def test_the_reason_names_the_figures_and_a_paused_account_is_left_alone() -> None:
    """A person can see why; the same account is not paused each second anew."""
    store = Port({"exposures": exposed(1_200_000, 800_000), "set_paused": PAUSED})
    keeper = funds(store, Signals())

    assert await keeper.look() == 1
    assert await keeper.look() == 0

    reason = store.calls("set_paused")[0]["reason"]
    assert all(figure in reason for figure in ("5000.00", "12000.00", "8000.00"))
    assert store.names == ["exposures", "set_paused"]
