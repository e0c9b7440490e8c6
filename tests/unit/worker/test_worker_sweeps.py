import asyncio
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from payouts.domain.decisions import Policies
from payouts.domain.errors import StoreUnavailableError
from payouts.domain.payout import Payout, State
from payouts.domain.signals import Signal
from payouts.domain.values import (
    AccountName,
    OriginatorConversationId,
    PayoutId,
    WorkerId,
)
from payouts.ports import AccountStatus, Gateway, PayoutStore
from payouts.services.accounts import Accounts
from payouts.services.lease import Lease
from payouts.services.reconciliation import Reconciliation
from worker.pool import Pool
from worker.sweeps import WorkerSweeps

NOW = datetime(2026, 11, 30, tzinfo=UTC)
NAME = AccountName("default")


class _Clock:
    """Stands still."""

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        assert seconds >= 0


class _Silent:
    """Hears signals and forgets them."""

    def emit(self, signal: Signal, /, **fields: object) -> None:
        assert signal
        assert fields


class _Store:
    """Has doubts once, and remembers what a worker told of itself."""

    def __init__(self, doubts: list[Payout], *, paused: bool) -> None:
        self._doubts, self._paused = doubts, paused
        self.limits: list[int] = []
        self.served: list[AccountName] = []
        self.cut_off: list[AccountName] = []

    async def account_statuses(self, names: list[AccountName]) -> dict[AccountName, Any]:
        return {name: AccountStatus(name=name, paused=self._paused) for name in names}

    async def claim_doubts(
        self, accounts: list[AccountName], *, limit: int, **_: object
    ) -> list[Payout]:
        self.limits.append(limit)
        doubts, self._doubts = self._doubts, []
        return [one for one in doubts if one.account in accounts]

    def doubt(self, *doubts: Payout) -> None:
        """Have these doubts once more."""
        self._doubts += doubts

    async def enlist(self, name: str, *, accounts: list[AccountName]) -> WorkerId:
        assert name
        self.served = accounts
        return WorkerId(1)

    async def beat(self, owner: WorkerId, *, cut_off: list[AccountName]) -> Any:
        assert owner == 1
        self.cut_off = cut_off
        return type("Heartbeat", (), {"alive": True})


class _Settling:
    """Remembers what was to be settled; what is in `slow` is not answered before `answer`."""

    def __init__(self) -> None:
        self.settled: list[str] = []
        self.slow: set[str] = set()
        self.answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def settle(self, payout: Payout) -> None:
        self.settled.append(payout.payout_id)
        if payout.payout_id in self.slow:
            await asyncio.shield(self.answer)


class _Slots:
    """Has slots and turns for everybody."""

    closing = False

    async def take_slot(self, account: AccountName) -> None:
        assert account

    async def turn(self, account: AccountName) -> None:
        assert account

    def give_back(self, account: AccountName) -> None:
        assert account


def doubt(name: str, *, ask_now: bool) -> Payout:
    return Payout(
        payout_id=PayoutId(name),
        account=NAME,
        amount_minor=100,
        currency="KES",
        msisdn="254712345678",
        command_id="BusinessPayment",
        originator_conversation_id=OriginatorConversationId(f"600000_ORG_{name}"),
        state=State.IN_DOUBT,
        created_at=NOW,
        attempts=1,
        ask_now=ask_now,
    )


class Bed:
    """A worker's sweeps over a store that has two doubts."""

    def __init__(self, *, paused: bool) -> None:
        self.store = _Store(
            [doubt("plain", ask_now=False), doubt("wanted", ask_now=True)], paused=paused
        )
        store, clock, policies = cast("PayoutStore", self.store), _Clock(), Policies()
        self.accounts = Accounts([NAME], store, cast("Gateway", None), clock, _Silent(), policies)
        self.settling = _Settling()
        self.lease = Lease(store, clock, _Silent(), name="w", lease_s=15, accounts=[NAME])
        nothing: Any = None
        self.sweeps = WorkerSweeps(
            store=store,
            pool=cast("Pool", _Slots()),
            pace=cast("Any", _Slots()),
            reconciliation=cast("Reconciliation", self.settling),
            accounts=self.accounts,
            consumers={},
            funds=nothing,
            completions=nothing,
            upkeep=nothing,
            lease=self.lease,
            clock=clock,
            policies=policies,
            lease_s=15,
        )


@pytest.mark.parametrize(("paused", "asked"), [(False, ["plain", "wanted"]), (True, ["wanted"])])
async def test_while_an_account_is_paused_only_what_is_wanted_is_asked(
    asked: list[str], *, paused: bool
) -> None:
    """A person, or a restore, wants to know before anybody lets the account send again.

    Proved by leaving paused accounts out, and by asking about everything.
    """
    bed = Bed(paused=paused)
    await bed.sweeps.look_at_accounts()
    await bed.sweeps.ask_doubts()
    assert bed.settling.settled == asked


async def test_a_question_that_is_answered_late_holds_no_other_up() -> None:
    """It counts among those under way until it is answered; how it fails is told then.

    Proved by waiting for all questions of a turn: a gateway that lets one in ten wait made every
    payout wait for the time-out of a request, turn by turn.
    """
    bed = Bed(paused=False)
    bed.settling.slow = {"plain"}
    assert await bed.sweeps.ask_doubts() == 2
    bed.store.doubt(doubt("next", ask_now=False))
    assert await bed.sweeps.ask_doubts() == 1
    assert bed.settling.settled == ["plain", "wanted", "next"]
    bed.settling.answer.set_exception(StoreUnavailableError())
    await asyncio.wait(bed.sweeps.late[NAME])
    with pytest.raises(StoreUnavailableError):
        await bed.sweeps.ask_doubts()
    assert await bed.sweeps.ask_doubts() == 0
    assert bed.store.limits == [20, 19, 20, 20]


async def test_questions_that_are_still_unanswered_end_with_the_sweeps() -> None:
    """A worker that stops leaves no question behind; they are asked again.

    Proved by not cancelling them.
    """
    bed = Bed(paused=False)
    bed.settling.slow = {"plain", "wanted"}
    await bed.sweeps.ask_doubts()
    asked = list(bed.sweeps.late[NAME])
    await bed.sweeps.stop()
    assert [task.cancelled() for task in asked] == [True, True]


async def test_a_worker_tells_what_it_serves_and_what_it_cannot_reach() -> None:
    """Others can see which accounts nobody serves, and whose circuit is open.

    Proved by a heartbeat that tells nothing.
    """
    bed = Bed(paused=False)
    await bed.lease.enlist()
    await bed.sweeps.beat()
    assert (bed.store.served, bed.store.cut_off) == ([NAME], [])
    for _ in range(Policies().circuit_failures):
        bed.accounts._count_failure(NAME, bed.accounts._standings[NAME])
    await bed.sweeps.beat()
    assert bed.store.cut_off == [NAME]
    await bed.sweeps.ask_doubts()
    assert not bed.settling.settled
