from typing import cast

import pytest
from services_bed import NAME, Clock, Port, Signals

from payouts.domain.code_types import Side
from payouts.domain.signals import Signal
from payouts.ports import AccountStatus, PayoutStore
from payouts.services.pauses import Pauses

PAUSED = AccountStatus(name=NAME, paused=True)


class Bed:
    """Pauses over a store that remembers."""

    def __init__(self) -> None:
        self.store, self.clock, self.signals = Port({"set_paused": PAUSED}), Clock(), Signals()
        self.pauses = Pauses(cast("PayoutStore", self.store), self.clock, self.signals, limit=3)

    async def hear(self, *codes: str, side: Side = Side.RESULT) -> int:
        """Hear Results and give how often the account was paused."""
        for code in codes:
            await self.pauses.heed(NAME, side, code)
            self.clock.go(2)
        return len(self.store.calls("set_paused"))


@pytest.mark.parametrize("side", [Side.RESULT, Side.QUERY])
@pytest.mark.parametrize("code", ["2001", "8006", "18"])
async def test_a_result_that_blames_the_initiator_pauses_at_once(code: str, side: Side) -> None:
    """Whether of a payment or of a question: the same initiator sends both.

    Proved by counting it like other configuration: the account stayed open.
    """
    bed = Bed()
    assert await bed.hear(code, side=side) == 1
    assert code in bed.store.calls("set_paused")[0]["reason"]


@pytest.mark.parametrize("code", ["1", "6", "21"])
async def test_three_results_in_a_row_that_blame_the_account_pause_it(code: str) -> None:
    """Configuration and an empty float alike; another Result in between begins anew.

    Proved by never beginning anew: two, a success and one more paused.
    """
    assert await Bed().hear(code, code, "0", code, code) == 0
    assert await Bed().hear(code, code, code) == 1


async def test_what_is_blamed_counts_for_itself() -> None:
    """Two of the one and one of the other are no three of anything."""
    assert await Bed().hear("1", "1", "21", "21", "1") == 0


async def test_after_a_resume_the_same_blame_pauses_again() -> None:
    """A count that has paused begins anew.

    Proved by pausing at the limit only, without forgetting: later ones paused no more.
    """
    bed = Bed()
    assert await bed.hear("21", "21", "21") == 1
    assert await bed.hear("21", "21") == 1
    assert await bed.hear("21") == 2


async def test_hundreds_of_results_in_one_second_write_one_pause() -> None:
    """What was on its way says the same; it is written down once."""
    bed = Bed()
    for _ in range(300):
        await bed.pauses.heed(NAME, Side.RESULT, "8006")
    assert len(bed.store.calls("set_paused")) == 1
    assert len(bed.signals.of(Signal.ACCOUNT_PAUSED)) == 1


async def test_a_resume_is_told_where_the_pause_was_told() -> None:
    """The gauge of a callback server goes back; nobody is asked while nothing is paused."""
    bed = Bed()
    assert await bed.pauses.look() == 0
    assert not bed.store.asked
    await bed.hear("8006")
    bed.store.answers["account_statuses"] = {NAME: PAUSED}
    assert await bed.pauses.look() == 0
    bed.store.answers["account_statuses"] = {NAME: AccountStatus(name=NAME)}
    assert await bed.pauses.look() == 1
    assert len(bed.signals.of(Signal.ACCOUNT_RESUMED)) == 1
    assert await bed.pauses.look() == 0
